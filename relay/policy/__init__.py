"""Policy: which mail is refused, held or taken, and why; one pure decision for the wire and for `relay explain`."""
