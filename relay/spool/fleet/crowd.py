"""The crowd before one leader: who waits in a queue that is longer than a look.

Owns what the leader remembers of such a queue, page by page, so that the networks behind a flood have their
turn, too. A queue that fits a look needs no memory. All of it are hints: whoever is claimed is asked again.
Never does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from relay.spool.fleet.tables import Key
from relay.spool.fleet.turns import Waiting

#: Entries of one network that are remembered of a queue: more than it has turns before the next walk ends.
_OF_A_NETWORK: Final = 50
#: Entries that are remembered of one queue.
_MOST: Final = 20_000


class Crowd:
    """The entries of one queue that the leader has seen beyond its first look."""

    def __init__(self) -> None:
        self._by_network: dict[int, dict[Key, Waiting]] = {}
        self._count = 0
        #: The entry behind which the next page begins; None: behind the look.
        self.last: Waiting | None = None

    def add(self, page: Sequence[Waiting], *, is_last: bool) -> None:
        """Remember a page of the queue, and where the next one begins: behind the look again after the
        last.
        """
        for each in page:
            known = self._by_network.setdefault(each.network, {})
            if each.key not in known and len(known) < _OF_A_NETWORK and self._count < _MOST:
                known[each.key] = each
                self._count += 1
        self.last = None if is_last or not page else page[-1]

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget entries whose turn has come, whether they could be claimed or not."""
        wanted = {*keys}
        for network in [*self._by_network]:
            known = self._by_network[network]
            for key in wanted & known.keys():
                del known[key]
                self._count -= 1
            if not known:
                del self._by_network[network]

    def merge(self, first: Iterable[Waiting], *, until: int) -> list[Waiting]:
        """The entries of a look, which are newer, and those remembered that are due."""
        merged = {
            key: each
            for known in self._by_network.values()
            for key, each in known.items()
            if each.due_at <= until
        }
        merged.update((each.key, each) for each in first)
        return [*merged.values()]
