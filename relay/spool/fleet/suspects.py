"""Suspects in a fleet: entries that were under way when a leader's runner hung, each now leased alone.

Owns which entries these are. An entry that hangs the runner while it is leased alone is certain to be the
cause; any outcome clears an entry of suspicion.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime

from relay.spool.fleet import outcomes, queue
from relay.spool.fleet.encoding import parse_entry
from relay.spool.fleet.records import EntryRecord
from relay.spool.fleet.store import Store
from relay.spool.model import State
from relay.spool.records import to_microseconds


class FleetSuspects:
    """The suspects of one leader; read from the table at its start, and only removed after that."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: frozenset[tuple[str, str]] = frozenset()
        #: True if due entries must be left alone until the entries under way have ended.
        self.keep_waiting = False

    async def load(self, routes: Iterable[str]) -> None:
        """Find the suspects: one look at the entries that were tried, at a start."""
        found = await queue.look_at_routes(self._store, sorted(routes))
        tried = [each.key for entries in found.values() for each in entries if each.attempts]
        async with self._store.asked() as (database, _):
            items = await database.get_all(tried)
        self._keys = frozenset(key for key, item in items.items() if item.get("reason") == outcomes.HUNG)

    async def next_entry(
        self, *, now: datetime, stopped: Container[str], is_busy: bool
    ) -> EntryRecord | None:
        """The suspect to lease alone, now. Returns None if there is none, or if nothing may be leased yet
        (`keep_waiting`).

        `stopped`: routes that are held or paused; their suspects wait with them. `is_busy`: entries are under
        way.
        """
        self.keep_waiting = False
        if not self._keys:
            return None
        async with self._store.asked() as (database, _):
            items = await database.get_all(sorted(self._keys))
        entries = [parse_entry(item) for item in items.values() if item.get("reason") == outcomes.HUNG]
        entries = [each for each in entries if each.state in (State.QUEUED, State.LEASED)]
        self._keys = frozenset(each.key for each in entries)
        at = to_microseconds(now)
        due = [
            each
            for each in sorted(entries, key=lambda each: (each.due_at, each.key))
            if each.state is State.QUEUED and each.due_at <= at and each.destination.route not in stopped
        ]
        leased = any(each.state is State.LEASED for each in entries)
        busy = leased or (is_busy and bool(due))
        self.keep_waiting = busy and bool(due or leased)
        return due[0] if due and not busy else None
