"""The receiving half: listeners, sessions, and everything between a socket and the spool."""
