"""The local spool: SQLite through apsw, large mails in files. Only `relay.spool` imports it."""
