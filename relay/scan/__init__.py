"""The scanners: clamd and rspamd are asked about a mail, and each answer becomes a value."""
