"""The queue of a fleet as the leader sees it: what is due, by the index of due entries.

Owns the questions to that index. What it shows is a hint, a moment old: the entry itself decides, under the
condition of each change (`relay.spool.fleet.fence`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from relay.aws.database import Condition
from relay.aws.values import Item
from relay.errors import SpoolCorruptError
from relay.spool.fleet import tables
from relay.spool.fleet.crowd import Crowd
from relay.spool.fleet.encoding import build_instant, parse_instant
from relay.spool.fleet.items import Reader
from relay.spool.fleet.store import Store
from relay.spool.fleet.tables import queue_of
from relay.spool.fleet.turns import Waiting
from relay.spool.groups import PRIORITIES

#: Due entries of a route and priority that one claim looks at; of more, `Lanes` remembers some.
LOOK: Final = 400
#: Entries of a page of a queue that is longer, of which one is read in a second at most.
_PAGE: Final = 1_000
_PAGE_MICROSECONDS: Final = 1_000_000
_ALL: Final = 100_000
_EVER: Final = 10**17 - 1


def read_hint(item: Item) -> Waiting | None:
    """The entry that an index shows. Returns None for one that cannot be read."""
    try:
        with Reader(item) as read:
            return Waiting(
                key=(read.text(tables.PARTITION), read.text(tables.SORT)),
                route=read.text("route"),
                priority=read.number("prio"),
                network=read.number("net"),
                domain=read.number("dom"),
                due_at=parse_instant(read.text(tables.DUE_AT)),
                address=read.text("to"),
                accepted_at=read.number("at"),
                epoch=read.number("epoch"),
                attempts=read.number("att"),
                reason=read.maybe_text("reason") or "",
            )
    except SpoolCorruptError:
        return None


async def look(
    store: Store,
    queue: str,
    *,
    until: int = _EVER,
    limit: int = LOOK,
    since: int = 0,
    backwards: bool = False,
    behind: Waiting | None = None,
) -> list[Waiting]:
    """The first entries of a queue that are due between these instants, the first due first; `backwards` the
    last ones. Those that come `behind` one, if it is given.
    """
    wanted = Condition(
        text="#q = :q AND #due BETWEEN :since AND :until",
        values={"q": queue, "since": build_instant(since), "until": build_instant(until)},
    )
    async with store.asked() as (database, _):
        items = await database.query_all(
            wanted,
            index=tables.DUE_INDEX,
            limit=limit,
            backwards=backwards,
            behind=None if behind is None else _place_of(behind, queue),
        )
    return [hint for item in items if (hint := read_hint(item))]


def _place_of(hint: Waiting, queue: str) -> Item:
    """The keys of an entry in the index."""
    return {
        tables.PARTITION: hint.key[0],
        tables.SORT: hint.key[1],
        tables.DUE_QUEUE: queue,
        tables.DUE_AT: build_instant(hint.due_at),
    }


async def look_at_routes(
    store: Store, routes: Iterable[str], *, until: int = _EVER, limit: int = LOOK
) -> dict[str, list[Waiting]]:
    """The first due entries of each of these routes, of each priority."""
    lanes = [(route, priority) for route in routes for priority in PRIORITIES]
    found = await asyncio.gather(
        *(look(store, queue_of(route, priority), until=until, limit=limit) for route, priority in lanes)
    )
    by_route: dict[str, list[Waiting]] = {}
    for (route, _), entries in zip(lanes, found, strict=True):
        if entries:
            by_route.setdefault(route, []).extend(entries)
    return by_route


class Lanes:
    """The queues of routes and priorities as a leader claims from them: the first due of each and, where a
    queue is longer than a look, those that it has seen behind them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._crowds: dict[str, Crowd] = {}
        self._read_at: dict[str, int] = {}

    async def look(self, routes: Iterable[str], *, until: int, limit: int) -> dict[str, list[Waiting]]:
        """The due entries of these routes among which turns are chosen."""
        lanes = [(route, priority) for route in routes for priority in PRIORITIES]
        found = await asyncio.gather(
            *(self._look(queue_of(route, priority), until=until, limit=limit) for route, priority in lanes)
        )
        by_route: dict[str, list[Waiting]] = {}
        for (route, _), entries in zip(lanes, found, strict=True):
            if entries:
                by_route.setdefault(route, []).extend(entries)
        return by_route

    async def _look(self, name: str, *, until: int, limit: int) -> list[Waiting]:
        first = await look(self._store, name, until=until, limit=limit)
        if len(first) < limit:
            self._crowds.pop(name, None)
            return first
        crowd = self._crowds.setdefault(name, Crowd())
        now = self._store.clock.steady()
        if now - self._read_at.get(name, -_PAGE_MICROSECONDS) >= _PAGE_MICROSECONDS:
            self._read_at[name] = now
            # A place beyond the question is refused: the clock may have gone back since.
            behind = crowd.last if crowd.last and crowd.last.due_at <= until else first[-1]
            page = await look(self._store, name, until=until, limit=_PAGE, behind=behind)
            crowd.add(page, is_last=len(page) < _PAGE)
        return crowd.merge(first, until=until)

    def forget(self, chosen: Iterable[Waiting]) -> None:
        """Forget entries whose turn has come."""
        keys = [each.key for each in chosen]
        for crowd in self._crowds.values():
            crowd.forget(keys)


async def look_at_leased(store: Store) -> Sequence[Waiting]:
    """Every entry that is leased."""
    return await look(store, tables.LEASED_QUEUE, limit=_ALL)


async def count(store: Store, queue: str) -> int:
    """The number of entries in a queue."""
    async with store.asked() as (database, _):
        wanted = Condition(text="#q = :q", values={"q": queue})
        return await database.count(wanted, index=tables.DUE_INDEX)
