"""The walk over all mail of a fleet, the newest first or the oldest: by the keys of raw mails in S3, which
sort by time.

Owns how the last keys are found where S3 lists the first ones: by stretches of time, each as long as its
mails are few. No index has finished mail, so nothing is paid for it until somebody looks. Never reads a mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

from relay.errors import SpoolSickError
from relay.spool.fleet import tables
from relay.spool.fleet.store import Store
from relay.spool.ids import MARK_LENGTH, build_time, mark_of, time_of

Answer = TypeVar("Answer")

#: Keys that one question lists (API reference, ListObjectsV2).
MOST_KEYS: Final = 1_000
#: Microseconds of a stretch: at first, and at least. After one with few mails the next is longer.
_FIRST: Final = 600_000_000
_LEAST: Final = 1_000
_FACTOR: Final = 4
_FEW: Final = MOST_KEYS // _FACTOR
#: Seconds for which a page waits for what it can do without.
_PATIENCE_SECONDS: Final = 2.0
#: Sorts behind every id.
_LAST: Final = "\x7f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some mails that follow each other."""

    #: Their spool ids, the newest first.
    ids: tuple[str, ...]
    #: An id that no mail needs to have: all mail from it on was listed.
    since: str
    #: True if there is no older mail.
    is_last: bool


class Walk:
    """The walks of one desk, which remember how dense its mail is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._prefix = tables.raw_object(store.prefix, "")
        self._length = _FIRST

    async def back(self, *, until: str = "") -> AsyncIterator[Stretch]:
        """All mail from the newest to the oldest; from this id on, it included, where one is given."""
        oldest = await self._find_oldest()
        if oldest is None:
            return
        end = f"{until}\x00" if until else _LAST
        at = time_of(until) if until else self._store.clock.microseconds()
        last = max(at or 0, oldest) + 1
        while True:
            begin = max(last - self._length, 0)
            keys = await self._list(after=build_time(begin), limit=MOST_KEYS)
            found = [key for key in keys if key < end]
            if len(found) == MOST_KEYS and self._length > _LEAST:
                self._length //= _FACTOR
                continue
            while len(keys) == MOST_KEYS and keys[-1] < end:  # so many in one millisecond
                keys = await self._list(after=keys[-1], limit=MOST_KEYS)
                found += [key for key in keys if key < end]
            is_last = begin <= oldest
            since = build_time(begin) + "0" * MARK_LENGTH
            yield Stretch(ids=tuple(reversed(found)), since=since, is_last=is_last)
            if is_last:
                return
            end, last = build_time(begin), begin
            if len(found) < _FEW:
                self._length *= _FACTOR

    async def forth(self) -> AsyncIterator[list[str]]:
        """All mail from the oldest to the newest, a thousand ids at most at a time."""
        after = ""
        while found := await self._list(after=after, limit=MOST_KEYS):
            yield found
            after = found[-1]

    async def begin_with(self, beginning: str) -> list[str]:
        """The first thousand mails whose id begins so, the newest first."""
        async with self._store.asked() as (_, objects):
            keys = await objects.list(f"{self._prefix}{beginning}", limit=MOST_KEYS)
        return sorted(self._read(keys), reverse=True)

    async def count(self, *, since: int) -> int:
        """The number of mails since that instant, in microseconds; a thousand at most."""
        return len(await self._list(after=build_time(since), limit=MOST_KEYS))

    async def find_last(self, *, after: str) -> str:
        """The newest of the first thousand mails behind an id. Returns that id if there is none."""
        found = await self._list(after=after, limit=MOST_KEYS)
        return found[-1] if found else after

    async def _find_oldest(self) -> int | None:
        """The instant of the first mail. Returns None if there is none."""
        # Not remembered: `relay fleet import` brings older mail.
        found = await self._list(after="", limit=1)
        return time_of(found[0]) or 0 if found else None

    async def _list(self, *, after: str, limit: int) -> list[str]:
        async with self._store.asked() as (_, objects):
            keys = await objects.list(
                self._prefix, after=f"{self._prefix}{after}" if after else "", limit=limit
            )
        return self._read(keys)

    def _read(self, keys: list[str]) -> list[str]:
        """The ids of these keys. What is no id of ours stays a place in the order, and names no mail."""
        return [key.removeprefix(self._prefix) for key in keys]


async def unless_away(question: Awaitable[Answer], default: Answer) -> Answer:
    """The answer of S3 to a question that the page can do without; the default while S3 is away or slow."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await question
    except (SpoolSickError, TimeoutError):
        return default


def is_id(word: str) -> bool:
    """Returns whether a word has the form of a spool id."""
    return mark_of(word) is not None
