"""The figures of the page over a fleet: what is owed by state and reason, its mark, and the pace.

Owns how often the index is read for them. One look reads every entry that is owed, some 200 octets each; it
is remembered for a millisecond for each of them, so that an open page reads a thousand of them a second at
most, which is 25 units. Never changes an item.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.spool.fleet import audit, control, queue, tables
from relay.spool.fleet.control import Control
from relay.spool.fleet.listing import MOST
from relay.spool.fleet.store import Store
from relay.spool.fleet.turns import Waiting
from relay.spool.fleet.walk import Walk, unless_away
from relay.spool.model import BY_POLICY, State
from relay.spool.records import from_microseconds

#: Microseconds for which a look is remembered, for each entry in it.
_REMEMBERED: Final = 1_000
#: Entries at each end of a queue by which a change of it is seen.
_ENDS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One look at what is owed: its entries by shown state, each with its shown reason."""

    entries: tuple[tuple[State, str, Waiting], ...]

    def counts(self) -> dict[State, int]:
        """The number of entries in each state. Those that are done have no number that is cheap."""
        found = Counter(state for state, _, _ in self.entries)
        return {state: found[state] for state in State if state is not State.DONE}

    def reasons(self) -> dict[State, Mapping[str, int]]:
        """The numbers by state and reason; entries without a reason are left out."""
        found: dict[State, Counter[str]] = {state: Counter() for state in State if state is not State.DONE}
        for state, reason, _ in self.entries:
            if reason:
                found[state][reason] += 1
        return {state: dict(numbers) for state, numbers in found.items()}

    def oldest_at(self) -> datetime | None:
        """The acceptance of the first entry queued, leased or held, but not by the policy."""
        waiting = [
            each
            for state, reason, each in self.entries
            if state is not State.DEAD and not (state is State.HELD and reason.startswith(BY_POLICY))
        ]
        # Keys sort by the time of acceptance, which no clock changes afterwards.
        return from_microseconds(min(waiting, key=lambda each: each.key).accepted_at) if waiting else None


class Figures:
    """The figures as one desk gives them."""

    def __init__(self, store: Store, walk: Walk) -> None:
        self._store = store
        self._walk = walk
        self._owed: Owed | None = None
        self._until = 0
        self._last = ""

    async def look(self) -> Owed:
        """A look at what is owed, a moment old."""
        now = self._store.clock.steady()
        if self._owed is None or now >= self._until:
            self._owed = await read_owed(self._store)
            self._until = now + _REMEMBERED * len(self._owed.entries)
        return self._owed

    def forget(self) -> None:
        """Look anew the next time: this desk has changed something."""
        self._owed = None

    async def mark(self) -> str:
        """A mark of the spool: another one after new mail, after an operator's change, and after a change
        near an end of a queue, which each outcome is.
        """
        looked, rows, self._last = await asyncio.gather(
            control.look(self._store),
            audit.find_last(self._store),
            unless_away(self._find_last(), self._last),
        )
        ends = await asyncio.gather(*(self._ends(name) for name in _list_queues(looked)))
        told = repr((looked.paused, sorted(looked.routes), rows, self._last, ends))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    async def _find_last(self) -> str:
        """The newest mail: some thousand mails are passed at a time."""
        if self._last:
            return await self._walk.find_last(after=self._last)
        async for stretch in self._walk.back():
            if stretch.ids:
                return stretch.ids[0]
        return ""

    async def _ends(self, name: str) -> list[tuple[tuple[str, str], int, int]]:
        first, last = await asyncio.gather(
            queue.look(self._store, name, limit=_ENDS),
            queue.look(self._store, name, limit=_ENDS, backwards=True),
        )
        return [(each.key, each.due_at, each.attempts) for each in (*first, *last)]


def _list_queues(looked: Control) -> list[str]:
    lanes = [tables.queue_of(route, priority) for route in sorted(looked.routes) for priority in (0, 1)]
    return [*lanes, tables.LEASED_QUEUE, tables.HELD_QUEUE, tables.DEAD_QUEUE]


async def read_owed(store: Store) -> Owed:
    """Every entry that is owed, as the index shows it; 100,000 of each queue at most."""
    looked = await control.look(store)
    holds = {hold.route: hold for hold in looked.paused.holds}
    by_route, leased, held, dead = await asyncio.gather(
        queue.look_at_routes(store, sorted(looked.routes), limit=MOST),
        queue.look(store, tables.LEASED_QUEUE, limit=MOST),
        queue.look(store, tables.HELD_QUEUE, limit=MOST),
        queue.look(store, tables.DEAD_QUEUE, limit=MOST),
    )
    found: list[tuple[State, str, Waiting]] = []
    for route, entries in by_route.items():
        hold = holds.get(route)
        state = State.HELD if hold else State.QUEUED
        found += [(state, each.reason or (hold.reason if hold else ""), each) for each in entries]
    aside = ((State.LEASED, leased), (State.HELD, held), (State.DEAD, dead))
    found += [(state, each.reason, each) for state, entries in aside for each in entries]
    return Owed(entries=tuple(found))
