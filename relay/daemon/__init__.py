"""The daemon: a supervisor, N receivers and one deliverer, which know each other only through the spool.

    supervisor   binds the sockets, starts the others, restarts what crashes, hands on signals
    receiver     accepts mail and commits it to the spool (one event loop each, sharing the listening sockets)
    deliverer    turns what is due in the spool into contacts

A child is told its configuration over a socket pair (`link`), and stops by itself when that pair closes: a
supervisor that was killed leaves no orphans.
"""
