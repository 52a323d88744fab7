"""The receiving half: listeners, sessions, and the protocol between the wire and the spool."""
