"""The contacts that a leader made in the last minute, which it tells in its own record: nothing else of a
fleet's table counts what is finished.

Owns their form in the record, some 200 octets, so that a renewal costs as before. Never does I/O.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_SECOND = 1_000_000
#: Seconds that are told: a minute, the renewals until the next one, and some for clocks that differ.
_TOLD: Final = 75
#: Octets of a text that is read.
_MOST = 1_000


class Made:
    """The count of one leader."""

    def __init__(self) -> None:
        #: Seconds since 1970 with their contacts, the oldest first.
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_TOLD)

    def note(self, at: int) -> None:
        """Count a contact at this instant, in microseconds."""
        second = at // _SECOND
        if self._seconds and self._seconds[-1][0] >= second:  # the clock was set back a little
            second, number = self._seconds.pop()
            self._seconds.append((second, number + 1))
        else:
            self._seconds.append((second, 1))

    def build(self, now: int) -> str:
        """The contacts of the last seconds, as text: this second, then the numbers backwards."""
        last = now // _SECOND
        numbers = dict(self._seconds)
        told = [numbers.get(last - ago, 0) for ago in range(_TOLD)]
        while told and not told[-1]:
            told.pop()
        return f"{last} {' '.join(map(str, told))}".strip()


def count_made(text: object, *, since: int) -> int:
    """The contacts that a record tells of since that instant, in microseconds. Returns 0 for a text of
    another form.
    """
    if not isinstance(text, str) or len(text) > _MOST:
        return 0
    words = text.split()
    if not words or not all(word.isascii() and word.isdecimal() for word in words):
        return 0
    last, *numbers = map(int, words)
    return sum(number for ago, number in enumerate(numbers) if (last - ago) * _SECOND >= since)
