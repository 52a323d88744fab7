"""An SMTP daemon that turns every accepted mail into an Amazon Connect e-mail contact."""

__version__ = "0.1.0"
#: The name of the program, as it gives it to AWS and in the header of its own pages.
PROGRAM = "connect-mail-relay"
