"""Spool ids, sixteen characters that sort by time and say which process made them, and the references of
entries.

Owns the form of both. An id is eleven characters of microseconds since 1970 and five of the maker's mark; a
reference is the id, a dot and the number of the entry. The mark is the name of a lock file that the maker
holds while it lives (`raw.IdLock`), so that a sweep can tell a mail that is being received from one whose
receiver died. Never touches the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay.envelope import SpoolId

#: Crockford's base 32: no I, L, O or U to be misread over the telephone; sorts as ASCII does.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_TIME_LENGTH = 11  # 55 bits of microseconds last until the year 3111
MARK_LENGTH = 5
_LENGTH = _TIME_LENGTH + MARK_LENGTH
_LETTERS = frozenset(ALPHABET)
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
#: No entry has this number: AUTOINCREMENT begins at 1.
_NONE = -1
_LOW_BITS = 20  # four letters; the others change once in 2**20 microseconds, about a second


def build_mark(chance: int) -> str:
    """A maker's mark made of 25 random bits."""
    return _letters(chance, MARK_LENGTH)


def build_time(microseconds: int) -> str:
    """The beginning of the ids that are made at this instant; those made later sort behind it."""
    return _letters(microseconds, _TIME_LENGTH)


def _letters(number: int, length: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in range(length - 1, -1, -1))


def mark_of(spool_id: str) -> str | None:
    """The mark within an id. Returns None if the id has another form, so that it was not made by us."""
    if len(spool_id) != _LENGTH or not _LETTERS.issuperset(spool_id):
        return None
    return spool_id[_TIME_LENGTH:]


def time_of(spool_id: str) -> int | None:
    """The microseconds since 1970 within an id. Returns None if the id has another form."""
    if mark_of(spool_id) is None:
        return None
    number = 0
    for letter in spool_id[:_TIME_LENGTH]:
        number = number << 5 | ALPHABET.index(letter)
    return number


class IdMaker:
    """A maker of ids for one process: later ids sort later, even if the clock is set back or stands still."""

    def __init__(self, mark: str, clock_microseconds: Callable[[], int]) -> None:
        self._mark = mark
        self._clock = clock_microseconds
        self._last = 0
        self._high = -1
        self._start = ""

    def new_id(self) -> SpoolId:
        """The next id."""
        self._last = last = max(self._last + 1, self._clock())
        high = last >> _LOW_BITS
        if high != self._high:
            self._high, self._start = high, _letters(high, _TIME_LENGTH - 4)
        return SpoolId(f"{self._start}{_PAIRS[last >> 10 & 1_023]}{_PAIRS[last & 1_023]}{self._mark}")


def build_reference(spool_id: str, number: int) -> str:
    """The reference (`Entry.reference`) of the entry of this mail that has this number."""
    return f"{spool_id}.{number}"


def split_id(word: str) -> tuple[str, int | None]:
    """The spool id and the number of the entry: None if the word means all entries of the mail, -1 if it can
    mean none.
    """
    spool_id, dot, number = word.partition(".")
    if not dot:
        return spool_id, None
    # An entry has one spelling: no zeros in front, no digits of other scripts, no more digits than SQLite
    # counts.
    if not (number.isascii() and number.isdecimal()) or number.startswith("0") or len(number) > 18:
        return spool_id, _NONE
    return spool_id, int(number)


def find_numbers(references: Sequence[str]) -> list[int]:
    """The numbers of the entries that these references name, in their order; -1 for a word that is no
    reference.
    """
    return [split_id(reference)[1] or _NONE for reference in references]
