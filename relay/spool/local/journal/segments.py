"""The segments of a journal: files of one size, made ahead of need and used again.

Owns how a segment comes to the disk: all of it is written with zeros, synced, and so is its name; then it
gets a generation, which is synced, too, before the first record. So an append changes no size and allocates
no block, and a full disk is noticed here, not in the middle of a mail. All that blocks is done by a thread.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from relay.errors import SpoolError, SpoolFullError
from relay.faults import fault_point
from relay.spool.local.errors import translate_error, translated
from relay.spool.local.journal.record import (
    SECTOR_BYTES,
    SEGMENT_BYTES,
    Found,
    build_segment_head,
    draw_generation,
    read_generation,
    read_records,
)
from relay.spool.local.layout import FILE_MODE, adopt, sync_folder

_CHUNK_BYTES = 1 << 20
#: Segments that wait to be used: one is written in no less than 50 ms (1.3 GB/s), and made anew in half a
#: second.
_AHEAD = 2
#: Between two tries to make a segment on a disk that has refused it.
_AGAIN_SECONDS = 2.0


class Segment:
    """A segment that is being written, by one thread at a time."""

    def __init__(self, path: Path, handle: int, generation: int, size: int) -> None:
        self.path = path
        self.handle = handle
        self.generation = generation
        self.size = size
        #: Where the next record begins.
        self.at = SECTOR_BYTES

    @property
    def left(self) -> int:
        """The octets behind the last record."""
        return self.size - self.at

    def check_in_place(self) -> None:
        """Check that the file still has its name: what is written to one that was moved or removed is lost.

        Raises:
            OSError: ESTALE.
        """
        try:
            is_same = os.path.samestat(self.path.stat(), os.fstat(self.handle))
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise OSError(errno.ESTALE, "moved or removed while the relay had it open", str(self.path))

    def close(self) -> None:
        """Let the file go; harmless when called twice."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class Pool:
    """The segments of one receiver that wait to be used, and the thread that makes them."""

    def __init__(self, folder: Path, mark: str, *, size: int = SEGMENT_BYTES, ahead: int = _AHEAD) -> None:
        """The folder is there; `mark` is that of the ids that this process gives out (`IdLock`)."""
        self._folder = folder
        self._mark = mark
        self._size = size
        self._ahead = ahead
        self._count = 0
        self._ready: deque[Segment] = deque()
        self._used: deque[Path] = deque()
        self._error: SpoolError | None = None
        self._turn = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="spool-segments", daemon=True)
        self._thread.start()

    def is_ready(self) -> bool:
        """Returns whether a segment waits to be used."""
        return bool(self._ready)

    def take(self) -> Segment:
        """The next segment; never waits.

        Raises:
            SpoolFullError, SpoolSickError: there is none, because the disk has refused it or is slow.
        """
        with self._turn:
            self._turn.notify_all()
            if self._ready:
                return self._ready.popleft()
            error = self._error or SpoolFullError("no segment of the journal is ready")
            raise type(error)(*error.args)

    def wait_ready(self, seconds: float) -> bool:
        """Wait for a segment, or for the error that keeps it away. Returns whether there is one. Blocks."""
        with self._turn:
            self._turn.wait_for(lambda: self._ready or self._error or self._closed, seconds)
            return bool(self._ready)

    def give_back(self, path: Path) -> None:
        """Have a segment used again, of which every record was imported."""
        with self._turn:
            self._used.append(path)
            self._turn.notify_all()

    def close(self) -> None:
        """End the thread, and remove what was never used; harmless when called twice."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        self._thread.join()
        while self._ready:
            segment = self._ready.popleft()
            segment.close()
            with suppress(OSError):
                segment.path.unlink()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or len(self._ready) < self._ahead)
                if self._closed:
                    return
                used = self._used.popleft() if self._used else None
            try:
                segment = begin_segment(used, self._size) if used else self._make()
            except (OSError, SpoolError) as exc:
                with self._turn:
                    self._error = exc if isinstance(exc, SpoolError) else translate_error(exc)
                    self._turn.notify_all()
                    self._turn.wait_for(lambda: self._closed, _AGAIN_SECONDS)
                continue
            with self._turn:
                self._error = None
                self._ready.append(segment)
                self._turn.notify_all()

    def _make(self) -> Segment:
        self._count += 1
        path = self._folder / f"{self._mark}.{self._count:06d}"
        make_segment(path, self._size)
        return begin_segment(path, self._size)


def make_segment(path: Path, size: int) -> None:
    """Make a file of zeros that is on the disk with its name. Where that fails, there is none."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        adopt(path)
        done = 0
        while done < size:
            done += os.pwrite(handle, bytes(min(_CHUNK_BYTES, size - done)), done)
            fault_point("journal.filled")
        os.fsync(handle)
        sync_folder(path.parent)
        fault_point("journal.made")
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(handle)


def begin_segment(path: Path, size: int) -> Segment:
    """Give a segment a new generation, which ends whatever it held. It is on the disk when this returns."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        generation = draw_generation()
        _check(os.fstat(handle).st_size == size, path, "a segment of another size")
        _check(
            os.pwrite(handle, build_segment_head(generation), 0) == SECTOR_BYTES,
            path,
            "a write was cut short",
        )
        os.fdatasync(handle)
        fault_point("journal.begun")
    except BaseException:
        os.close(handle)
        raise
    return Segment(path, handle, generation, size)


def _check(is_right: bool, path: Path, wrong: str) -> None:
    if not is_right:
        raise OSError(errno.EIO, wrong, str(path))


class Reading(NamedTuple):
    """The content of a segment: its generation, and its records from an offset on."""

    generation: int
    records: Iterator[Found]


@contextmanager
def read_segment(
    path: Path, *, generation: int | None = None, at: int = SECTOR_BYTES
) -> Iterator[Reading | None]:
    """The records of a segment; from `at` on if its generation is still this one, else all. Gives None if
    nothing in it was ever acknowledged.

    Raises:
        SpoolError: the disk does not give its octets.
    """
    with translated():
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = read_generation(os.pread(handle, SECTOR_BYTES, 0))
            if found is None:
                yield None
                return
            size = os.fstat(handle).st_size
            begin = at if found == generation else SECTOR_BYTES
            records = read_records(
                lambda offset, count: os.pread(handle, count, offset), size=size, generation=found, at=begin
            )
            yield Reading(found, records)
        finally:
            os.close(handle)
