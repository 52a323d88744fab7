"""Suspects: entries that were under way when the deliverer hung, each of which is now leased alone.

Owns which entries these are, and which is next; they go before all other due entries. An entry that hangs the
deliverer while it is leased alone is certain to be the cause and is counted (`blame_leases`); any outcome
clears an entry of suspicion. Runs within the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Container

import apsw

from relay.spool.local.database import query

#: The reason word of a suspect until its next outcome.
HUNG = "hung"


class Suspects:
    """The suspects of one deliverer; read from the spool at its start, and only removed after that."""

    def __init__(self) -> None:
        self._ids: frozenset[int] = frozenset()
        #: True if the last claim left due entries alone until the entries under way have ended.
        self.keep_waiting = False

    def load(self, connection: apsw.Connection) -> None:
        """Find the suspects: one look at every entry, at a start."""
        rows = query(
            connection, "SELECT entry_id FROM entries WHERE state = 'queued' AND reason = ?", (HUNG,)
        )
        self._ids = frozenset(row[0] for row in rows)

    def next_entry(self, connection: apsw.Connection, *, at: int, stopped: Container[str]) -> int | None:
        """The suspect to lease alone, now. Returns None if there is none, or if nothing may be leased yet
        (`keep_waiting`).

        `stopped`: routes that are held or paused; their suspects wait with them.
        """
        self.keep_waiting = False
        if not self._ids:
            return None
        # CROSS JOIN: by the few ids. SQLite itself would walk over all entries that are queued.
        rows = query(
            connection,
            "SELECT entry_id, state, due_at, route FROM json_each(?) AS j CROSS JOIN entries ON entry_id = j.value "
            "WHERE state IN ('queued', 'leased') AND reason = ? ORDER BY due_at, entry_id",
            (json.dumps(sorted(self._ids)), HUNG),
        )
        self._ids = frozenset(row[0] for row in rows)
        due = [row[0] for row in rows if row[1] == "queued" and row[2] <= at and row[3] not in stopped]
        leased = any(row[1] == "leased" for row in rows)
        if due and not leased:
            leased = bool(
                query(
                    connection,
                    "SELECT 1 FROM entries INDEXED BY entries_leased WHERE state = 'leased' LIMIT 1",
                )
            )
        self.keep_waiting = leased and bool(due or any(row[1] == "leased" for row in rows))
        return due[0] if due and not leased else None
