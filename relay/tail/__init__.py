"""Live transcripts of sessions: the events of sessions under way, for readers on this machine.

Owns the values that are told (`event`), which of them a reader wants (`wanted`), and both ends of the sockets
in `data_dir/tail`, one for each receiver: `server` in the receiver, `client` for whoever reads. Never knows
SMTP: `relay.smtp.tap` makes the events. Nothing is kept on a disk.
"""
