"""Turns within the queue of a fleet: by routes, then replies and new mail, then networks of peers, then
domains of reverse-paths.

Owns the order among the waiting entries that the leader has seen, so that a flood delays only the flooder. It
is kept in the leader's memory: a new leader begins at a random place. Never does I/O; chance is an argument.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from relay.spool.groups import PRIORITIES, REPLY

#: At least one claim in four of a route is new mail while some waits.
_REPLIES_IN_A_ROW = 3
#: Networks whose last domain is remembered; in any other network the turn begins at a random domain.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An entry that is due, as an index showed it: a hint, which the entry itself confirms or not."""

    key: tuple[str, str]
    route: str
    priority: int
    network: int
    domain: int
    due_at: int
    address: str
    accepted_at: int
    epoch: int
    attempts: int
    reason: str = ""


class Line:
    """The waiting entries of one route, by priority, network and domain."""

    def __init__(self, entries: Iterable[Waiting]) -> None:
        self._lanes: dict[int, dict[int, dict[int, list[Waiting]]]] = {}
        for each in sorted(entries, key=lambda each: (each.due_at, each.key), reverse=True):
            domains = self._lanes.setdefault(each.priority, {}).setdefault(each.network, {})
            domains.setdefault(each.domain, []).append(each)

    def networks(self, priority: int) -> Mapping[int, dict[int, list[Waiting]]]:
        """The networks with waiting entries of this priority."""
        return self._lanes.get(priority, {})

    def take(self, priority: int, network: int, domain: int) -> Waiting:
        """The first due entry of a group, which is then gone."""
        lane = self._lanes[priority]
        domains = lane[network]
        entry = domains[domain].pop()
        if not domains[domain]:
            del domains[domain]
        if not domains:
            del lane[network]
        return entry


class FleetTurns:
    """The turns, as the one leader keeps them."""

    def __init__(self, chance: Callable[[], int]) -> None:
        """`chance` gives numbers in the range of groups."""
        self._chance = chance
        #: By route: the number of the last time it was served; a higher number is later.
        self._served: dict[str, int] = {}
        self._count = 0
        #: By route: replies claimed since the last new mail. After a start the limit counts as reached.
        self._replies: dict[str, int] = {}
        #: By route and priority: the network that was served last.
        self._networks: dict[tuple[str, int], int] = {}
        #: By route, priority and network: the domain that was served last.
        self._domains: dict[tuple[str, int, int], int] = {}

    def choose(
        self, lines: Mapping[str, Line], probes: Mapping[str, list[Waiting]], *, limit: int
    ) -> list[Waiting]:
        """At most `limit` entries, one of each route in turn: of `lines` in their turns, and the probes of
        held routes in their order.
        """
        left = {route: list(entries) for route, entries in probes.items()}
        waiting = sorted({*lines, *left}, key=lambda route: (self._served.get(route, 0), route))
        chosen: list[Waiting] = []
        while waiting and len(chosen) < limit:
            for route in tuple(waiting)[: limit - len(chosen)]:
                entry = left[route].pop(0) if left.get(route) else None
                if entry is None and route in lines:
                    entry = self._next(route, lines[route])
                if entry is None:
                    waiting.remove(route)
                    continue
                self._count += 1
                self._served[route] = self._count
                chosen.append(entry)
        return chosen

    def _next(self, route: str, line: Line) -> Waiting | None:
        replies = self._replies.get(route, _REPLIES_IN_A_ROW)
        for priority in PRIORITIES if replies < _REPLIES_IN_A_ROW else PRIORITIES[::-1]:
            if networks := line.networks(priority):
                self._replies[route] = replies + 1 if priority == REPLY else 0
                network = self._after(networks, self._networks.get((route, priority)))
                within = (route, priority, network)
                domain = self._after(networks[network], self._domains.pop(within, None))
                self._networks[route, priority], self._domains[within] = network, domain
                if len(self._domains) > _REMEMBERED:
                    del self._domains[next(iter(self._domains))]
                return line.take(priority, network, domain)
        return None

    def _after(self, groups: Iterable[int], last: int | None) -> int:
        """The group after the last one, cyclically."""
        ordered = sorted(groups)
        at = bisect_right(ordered, self._chance() if last is None else last)
        return ordered[at % len(ordered)]
