"""Spool ids: sixteen characters that sort by time and say which process made them.

Owns the form of an id: eleven characters of microseconds since 1970, five of the maker's mark. The mark is the
name of a lock file that the maker holds while it lives (`files`), so that a sweep can tell a mail that is being
received from one whose receiver died. Never touches the disk.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.envelope import SpoolId

#: Crockford's base 32: no I, L, O or U to be misread over the telephone; sorts as ASCII does.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_TIME_LENGTH = 11  # 55 bits of microseconds last until the year 3111
MARK_LENGTH = 5
_LENGTH = _TIME_LENGTH + MARK_LENGTH
_LETTERS = frozenset(ALPHABET)


def build_mark(chance: int) -> str:
    """A maker's mark out of 25 random bits."""
    return "".join(ALPHABET[chance >> shift & 31] for shift in range(20, -1, -5))


def mark_of(spool_id: str) -> str | None:
    """The mark within an id; None when the id was not made here."""
    if len(spool_id) != _LENGTH or not _LETTERS.issuperset(spool_id):
        return None
    return spool_id[_TIME_LENGTH:]


class IdMaker:
    """Ids of one process: later ones sort later, even when the clock is set back or stands still."""

    def __init__(self, mark: str, clock_microseconds: Callable[[], int]) -> None:
        self._mark = mark
        self._clock = clock_microseconds
        self._last = 0

    def new_id(self) -> SpoolId:
        """The next id."""
        self._last = max(self._last + 1, self._clock())
        rest = self._last
        letters = [""] * _TIME_LENGTH
        for place in range(_TIME_LENGTH - 1, -1, -1):
            letters[place] = ALPHABET[rest & 31]
            rest >>= 5
        return SpoolId("".join(letters) + self._mark)
