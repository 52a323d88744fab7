"""The lock of a mail among receivers: of those that take the same octets at the same moment one goes first,
and the others find its record before they write one of their own.

Owns a file that all receivers map, with a row for each. Only the owner of a row writes it, in words of 64
bits that the machine stores as a whole, so there is no other lock. A word is the key of a mail and how far
its receiver is: it *claims* the key, looks at all other rows, and *owns* it if none of them has it. Two that
claim at once see each other: the one with the higher row withdraws, the other waits until it has. One that
owns a key has looked before the other's claim, so the other sees it. The lock only lets a peer be told the
first id; if it fails, two records are written and the import makes one mail of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path

from relay.errors import SpoolSickError
from relay.spool.local.errors import translated
from relay.spool.local.layout import FILE_MODE, adopt

#: Receivers at once, those that died and have not been replaced among them.
ROWS = 64
#: A key may lie in one of the words of its bucket: each mail under way takes one.
_BUCKETS, _WORDS = 512, 4
_WORD_BYTES = 8
#: A row: its owner's mark, then the words.
_ROW_WORDS = _BUCKETS * _WORDS + 1
_KEY_BITS = 62
#: Between two looks at a receiver that goes first: a sync takes a millisecond.
_LOOK_SECONDS = 0.001
#: Looks after which the receiver that goes first is suspected to have died.
_PATIENCE = 250


class State(IntEnum):
    """The progress of a receiver with a key."""

    NONE = 0
    CLAIMED = 1
    OWNED = 2


class Pause(IntEnum):
    """A moment in the acquisition of a lock."""

    #: Between two looks at the memory: others may write meanwhile.
    STEP = 0
    #: Somebody else goes first.
    WAIT = 1


class Rows:
    """The words of all receivers, as one of them sees them; `row` is its own."""

    def __init__(self, words: memoryview, row: int) -> None:
        """`words` are `ROWS` times `_ROW_WORDS` unsigned numbers of 64 bits."""
        self._words = words
        self.row = row
        #: The marks of receivers that have died, as their rows have them: nobody clears these before another
        #: receiver takes the row, since only its owner writes a row.
        self._dead: set[int] = set()

    def see(self, row: int, key: int) -> State:
        """The state of a key in a row."""
        if self._words[row * _ROW_WORDS] in self._dead:
            return State.NONE
        first = row * _ROW_WORDS + 1 + key % _BUCKETS * _WORDS
        for word in self._words[first : first + _WORDS].tolist():
            if word >> 2 == key and word:
                return State(word & 3)
        return State.NONE

    def set(self, key: int, state: State) -> bool:
        """Set the state of a key in our row. Returns False if its bucket is full of other keys."""
        first = self.row * _ROW_WORDS + 1 + key % _BUCKETS * _WORDS
        free = None
        for at, word in enumerate(self._words[first : first + _WORDS].tolist(), first):
            if word and word >> 2 == key:
                free = at
                break
            if not word and free is None:
                free = at
        if free is None:
            return False
        self._words[free] = key << 2 | state if state else 0
        return True

    def others(self) -> tuple[int, ...]:
        """The rows of other receivers."""
        marks = self._words[::_ROW_WORDS].tolist()
        return tuple(row for row, mark in enumerate(marks) if mark and row != self.row)

    def mark_of(self, row: int) -> str:
        """The mark of the owner of a row; "" if it has none."""
        return int(self._words[row * _ROW_WORDS]).to_bytes(_WORD_BYTES, "little").rstrip(b"\0").decode()

    def bury(self, row: int) -> None:
        """Heed a row no more while it has the mark of its owner, who died."""
        self._dead.add(int(self._words[row * _ROW_WORDS]))

    def enter(self, mark: str) -> None:
        """Take our row, with nothing in it, for the owner of this mark."""
        self.leave()
        self._words[self.row * _ROW_WORDS] = int.from_bytes(mark.encode(), "little")

    def leave(self) -> None:
        """Give our row back, with all keys in it."""
        begin = self.row * _ROW_WORDS
        self._words[begin : begin + _ROW_WORDS] = memoryview(bytes(_ROW_WORDS * _WORD_BYTES)).cast("Q")


def acquire(rows: Rows, key: int) -> Generator[tuple[Pause, int], None, None]:
    """Own a key. Gives a pause, with the row of who goes first, at each point at which others may act."""
    while True:
        while not rows.set(key, State.CLAIMED):
            yield Pause.WAIT, rows.row
        yield Pause.STEP, rows.row
        first = yield from _find_first(rows, key)
        if first is None:
            rows.set(key, State.OWNED)
            return
        rows.set(key, State.NONE)
        yield Pause.STEP, first
        while rows.see(first, key):
            yield Pause.WAIT, first


def _find_first(rows: Rows, key: int) -> Generator[tuple[Pause, int], None, int | None]:
    """Look at all other rows. Returns the one that goes first; None if we do."""
    for other in rows.others():
        while state := rows.see(other, key):
            if state is State.OWNED or other < rows.row:
                return other
            # It claims, too, and will see us and withdraw; or it has looked before we claimed, and will own.
            yield Pause.WAIT, other
        yield Pause.STEP, other
    return None


class MailLocks:
    """The locks of one receiver, used from one event loop."""

    def __init__(self, path: Path, mark: str, *, is_alive: Callable[[str], bool]) -> None:
        """`mark` is that of our ids; `is_alive` tells of a mark whether the process that gives out ids with
        it runs.

        Raises:
            SpoolSickError: every row is taken.
            SpoolError: the file cannot be used.
        """
        self._is_alive = is_alive
        #: Keys that this process owns or waits for.
        self._ours: dict[int, asyncio.Future[None]] = {}
        size = ROWS * _ROW_WORDS * _WORD_BYTES
        with translated():
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
            try:
                adopt(path)
                fcntl.flock(handle, fcntl.LOCK_EX)
                # Where a full disk has no block, a write into the memory ends the process (SIGBUS).
                os.posix_fallocate(handle, 0, size)
                self._map = mmap.mmap(handle, size)
                self._words = memoryview(self._map).cast("Q")
                self._rows = Rows(self._words, self._find_row())
                self._rows.enter(mark)
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)  # the map keeps a copy of the handle, and the lock with it
                os.close(handle)

    def _find_row(self) -> int:
        seen = Rows(self._words, ROWS)
        for row in range(ROWS):
            mark = seen.mark_of(row)
            if not mark or not self._is_alive(mark):
                return row
        raise SpoolSickError(f"{ROWS} receivers have taken all rows of the journal's locks")

    @asynccontextmanager
    async def held(self, fingerprint: str) -> AsyncIterator[None]:
        """A time in which no other session, of this receiver or another, decides about the same octets."""
        key = int(fingerprint[:16], 16) >> (64 - _KEY_BITS)
        while (before := self._ours.get(key)) is not None:
            await asyncio.shield(before)
        done = self._ours[key] = asyncio.get_running_loop().create_future()
        try:
            await self._acquire(key)
            yield
        finally:
            self._rows.set(key, State.NONE)
            del self._ours[key]
            done.set_result(None)

    async def _acquire(self, key: int) -> None:
        looks = 0
        for pause, row in acquire(self._rows, key):
            # A call of the system between our claim and our look: what we have written is seen by then.
            os.sched_yield()
            if pause is Pause.STEP:
                continue
            looks += 1
            if (
                looks % _PATIENCE == 0
                and row != self._rows.row
                and not self._is_alive(self._rows.mark_of(row))
            ):
                self._rows.bury(row)
            await asyncio.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Give our row back; harmless when called twice."""
        if not self._map.closed:
            self._rows.leave()
            self._words.release()
            self._map.close()
