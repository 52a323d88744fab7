"""The spool: accepted mail is stored here until it is a contact."""
