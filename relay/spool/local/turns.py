"""Turns within the queue: by routes, then replies and new mail, then networks of peers, then domains of
reverse-paths.

Owns the order among ready entries, so that a flood delays only the flooder: each of its many mails waits for
the turn of its own network, and within that of its own domain. The turns are kept in memory by the one
deliverer and stored with each claim (table `turns`), so that a restart continues them and gives nobody an
advantage. Each step is a seek in one index (`entries_turn`): a long queue makes no step longer.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import apsw

from relay.spool.groups import KEY_BITS, PRIORITIES, REPLY
from relay.spool.local.database import query

#: At least one claim in four of a route is new mail while some waits.
_REPLIES_IN_A_ROW = 3
#: Networks whose last domain is remembered; in any other network the turn begins at a random domain.
_REMEMBERED = 10_000

_WAITING = (
    "FROM entries INDEXED BY entries_turn WHERE state = 'queued' AND ready = 1 AND route = ? AND priority = ?"
)
_NEXT_NETWORK = f"SELECT network {_WAITING} AND network > ? ORDER BY network LIMIT 1"
_NEXT_DOMAIN = f"SELECT domain {_WAITING} AND network = ? AND domain > ? ORDER BY domain LIMIT 1"
_FIRST = (
    f"SELECT entry_id, due_at {_WAITING} AND network = ? AND domain = ? ORDER BY due_at, entry_id LIMIT 1"
)
#: After the clock was set back, entries that were due are not due any more, and have no turns until they are.
_UNRIPEN = f"""
UPDATE entries SET ready = 0 WHERE entry_id IN (
    SELECT entry_id {_WAITING} AND network = ? AND domain = ? AND due_at > ? LIMIT 200
)
"""  # noqa: S608 - constants of ours
_SAVE = (
    "INSERT INTO turns VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET domain = excluded.domain, served = excluded.served"
)
_FORGET = "DELETE FROM turns WHERE route = ? AND priority = ? AND network = ?"
#: Groups without a due entry that a claim passes over before it gives up.
_LOOKS = 32


class Turns:
    """The turns, as the one deliverer keeps them."""

    def __init__(self) -> None:
        self._loaded = False
        #: By route: the number of the last time it was served; a higher number is later.
        self._served: dict[str, int] = {}
        self._count = 0
        #: By route: replies claimed since the last new mail. After a start the limit counts as reached.
        self._replies: dict[str, int] = {}
        #: By route and priority: the network that was served last.
        self._networks: dict[tuple[str, int], int] = {}
        #: By route, priority and network: the domain that was served last. The network not used for longest
        #: comes first.
        self._domains: dict[tuple[str, int, int], int] = {}

    def load(self, connection: apsw.Connection) -> None:
        """Continue the turns of the deliverer before this one; only the first call does something."""
        if self._loaded:
            return
        self._loaded = True
        for route, priority, network, domain, served in query(
            connection, "SELECT * FROM turns ORDER BY served"
        ):
            self._networks[route, priority] = network
            self._domains[route, priority, network] = domain
            self._served[route] = self._count = served

    def order(self, routes: Iterable[str]) -> list[str]:
        """The routes in the order in which each is to get one entry: the route served longest ago first."""
        return sorted(routes, key=lambda route: (self._served.get(route, 0), route))

    def serve(self, route: str) -> None:
        """Note that a route got an entry."""
        self._count += 1
        self._served[route] = self._count

    def next_entry(self, connection: apsw.Connection, route: str, *, at: int) -> int | None:
        """The ready entry of a route whose turn it is; it counts as served. Returns None if no entry is
        ready.
        """
        replies = self._replies.get(route, _REPLIES_IN_A_ROW)
        for priority in PRIORITIES if replies < _REPLIES_IN_A_ROW else PRIORITIES[::-1]:
            entry_id = self._next_of(connection, (route, priority), at=at)
            if entry_id is not None:
                self._replies[route] = replies + 1 if priority == REPLY else 0
                return entry_id
        return None

    def _next_of(self, connection: apsw.Connection, lane: tuple[str, int], *, at: int) -> int | None:
        for _ in range(_LOOKS):
            group = self._next_group(connection, lane)
            if group is None:
                break
            entry_id, due_at = query(connection, _FIRST, group)[0]
            if due_at <= at:
                self._save(connection, group)
                return int(entry_id)
            connection.execute(_UNRIPEN, (*group, at))
        return None

    def _next_group(
        self, connection: apsw.Connection, lane: tuple[str, int]
    ) -> tuple[str, int, int, int] | None:
        """The network after the last one served, and in it the domain after its last. They become the last
        ones served.
        """
        network = _after(connection, _NEXT_NETWORK, lane, self._networks.get(lane))
        if network is None:
            return None
        within = (*lane, network)
        domain = _after(connection, _NEXT_DOMAIN, within, self._domains.pop(within, None))
        assert domain is not None, "a network that was found has an entry, and that a domain"
        self._networks[lane], self._domains[within] = network, domain
        return (*within, domain)

    def _save(self, connection: apsw.Connection, group: tuple[str, int, int, int]) -> None:
        connection.execute(_SAVE, (*group, self._count + 1))
        if len(self._domains) > _REMEMBERED:
            oldest = next(iter(self._domains))
            del self._domains[oldest]
            connection.execute(_FORGET, oldest)


def _after(
    connection: apsw.Connection, sql: str, within: tuple[str | int, ...], last: int | None
) -> int | None:
    """The next key after the last one, cyclically. If the last one is not known, the search begins at a
    random key.
    """
    place = secrets.randbits(KEY_BITS) if last is None else last
    rows = query(connection, sql, (*within, place)) or query(connection, sql, (*within, -1))
    return rows[0][0] if rows else None
