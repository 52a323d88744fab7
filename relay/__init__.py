"""An SMTP daemon that turns every accepted mail into an Amazon Connect e-mail contact."""

__version__ = "0.1.0"
