"""The spool: where a mail is accepted, and where it lies until it is a contact."""
