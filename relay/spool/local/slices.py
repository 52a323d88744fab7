"""Long readings of the spool, in slices: a listing of a hundred thousand entries must not hold the log.

Owns for how long a reading sees the spool as it was at one instant. While it does, the log of the database
cannot begin anew, and grows with all that comes in. So a reading that takes longer goes on with the spool as
it is by then: an entry that moves meanwhile may be shown as it was before, or be left out. Never changes a
row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Self, cast

import apsw

from relay.spool.local.database import query

#: Seconds for which a reading sees the spool as it was at one instant, at least.
VIEW_SECONDS = 0.5
#: Rows of a slice: a hundredth of a second.
_ROWS = 1_000
#: Above the number of every entry.
EVER = 1 << 62


class View:
    """The spool as it is at one instant; where a reading takes longer, at several, one after the other."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        seconds: float = VIEW_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._seconds = seconds
        self._monotonic = monotonic
        self._began = monotonic()

    def __enter__(self) -> Self:
        self.connection.execute("BEGIN")
        self._began = self._monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection.in_transaction:  # an error of the disk may have ended it
            self.connection.execute("COMMIT")

    def breathe(self) -> None:
        """Go on with the spool as it is now, if the reading has taken long; called between two slices."""
        if self._monotonic() - self._began >= self._seconds:
            self.connection.execute("COMMIT")
            self.connection.execute("BEGIN")
            self._began = self._monotonic()

    def spans(self, condition: str) -> Iterator[tuple[int, int]]:
        """The rows of `entries AS e` that meet a condition, oldest first, in slices: the number before the
        first and the last number of each.
        """
        before = -1
        while (last := self._end(condition, "> ?1 ORDER BY e.entry_id LIMIT ?2", "max", before)) is not None:
            yield before, last
            before = last
            self.breathe()

    def spans_back(self, condition: str, *, last: int = EVER) -> Iterator[tuple[int, int]]:
        """The same, newest first, from the number `last` on."""
        ordered = "<= ?1 ORDER BY e.entry_id DESC LIMIT ?2"
        while (first := self._end(condition, ordered, "min", last)) is not None:
            yield first - 1, last
            last = first - 1
            self.breathe()

    def _end(self, condition: str, rest: str, end: str, start: int) -> int | None:
        """The number at the end of a slice. Returns None if no row is left."""
        ((found,),) = cast(
            "list[tuple[int | None]]",
            query(
                self.connection,
                f"SELECT {end}(entry_id) FROM (SELECT e.entry_id FROM entries AS e "  # noqa: S608 - constants of ours
                f"WHERE {condition} AND e.entry_id {rest})",
                (start, _ROWS),
            ),
        )
        return found
