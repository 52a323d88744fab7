"""Policy: one pure decision over a mail, for the wire and for `relay explain`."""
