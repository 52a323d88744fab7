"""The clock of a fleet: the time of AWS, which all nodes share, whatever their own wall clocks show.

Owns how it is kept: by the node's steady clock, set by the `Date` of DynamoDB's answers (RFC 9110 §6.6.1)
where the two differ by more than their precision. Before the first answer it shows the wall clock. Nodes
whose clocks are an hour apart so write the same instants.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

from relay.spool.records import from_microseconds, to_microseconds
from relay.timing import Clocks

_SECOND = 1_000_000
#: A difference below this is left: a `Date` has no fractions, and servers differ by some tenths of a second.
_SLACK = 2 * _SECOND


class FleetClock:
    """The clock as one process keeps it."""

    def __init__(self, clocks: Clocks) -> None:
        self._passed = clocks.passed
        self._ahead = clocks.wall() - clocks.passed()

    def steady(self) -> int:
        """Microseconds of the clock that nobody can set."""
        return self._passed()

    def microseconds(self) -> int:
        """The present instant, as a record keeps it."""
        return self._passed() + self._ahead

    def now(self) -> datetime:
        """The present instant."""
        return from_microseconds(self.microseconds())

    def heed(self, date: object, *, asked_at: int) -> None:
        """Learn from the `Date` of an answer to a question of that instant of the steady clock. A `Date` that
        cannot be read is no news.
        """
        if not isinstance(date, str) or len(date) > 40:
            return
        try:
            told = to_microseconds(parsedate_to_datetime(date))
        except (ValueError, TypeError, OverflowError, IndexError):
            return
        # The server wrote it between question and answer, and cut its fraction off.
        least, most = told - self._passed(), told + _SECOND - asked_at
        if not least - _SLACK <= self._ahead <= most + _SLACK:
            self._ahead = (least + most) // 2
