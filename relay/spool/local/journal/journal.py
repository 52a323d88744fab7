"""The journal of one receiver: records in, and each is told once it is on the disk.

Owns the group: all records that wait when no sync is under way share one write and one sync, and are told
together. A segment in which a write or a sync failed is never written again, since a failed fsync is told
only once; nobody of its last group gets a 250, though the import may find their mail. The event loop never
waits for a sync, and for a write only while writes are quick.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from relay.errors import SpoolError, SpoolSickError
from relay.faults import fault_point
from relay.spool.local.errors import translate_error
from relay.spool.local.journal.record import SECTOR_BYTES, SEGMENT_BYTES, Record, build_record
from relay.spool.local.journal.segments import Pool, Segment
from relay.spool.local.journal.syncer import Syncer, open_syncer

#: Records of one group: a record has five parts, and the kernel takes 1,024 at once (IOV_MAX).
_GROUP_LIMIT = 200
#: A write that took longer shows that the kernel makes writers wait (dirty_ratio): the next ones leave the
#: loop, until one was quick again.
_SLOW_SECONDS = 0.005


class Place(NamedTuple):
    """The place of a record: its segment, that segment's generation, and the offset behind the record."""

    segment: Path
    generation: int
    end: int


class _Job(NamedTuple):
    record: Record
    future: asyncio.Future[Place]


class Journal:
    """The segments that one process writes, used from one event loop."""

    def __init__(self, pool: Pool, *, size: int = SEGMENT_BYTES) -> None:
        """A segment is ready in the pool.

        Raises:
            SpoolError: the disk has refused it.
        """
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._segment: Segment | None = pool.take()
        self._syncer: Syncer = open_syncer(self._segment.handle)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-journal")
        self._most_bytes = size - SECTOR_BYTES
        self._waiting: deque[_Job] = deque()
        self._flying: Sequence[tuple[_Job, Place]] = ()
        self._is_due = False
        self._is_slow = False
        self._is_closed = False
        self._rests = asyncio.Event()
        self._rests.set()

    @property
    def way(self) -> str:
        """The way in which it syncs: "kernel" or "thread"."""
        return self._syncer.way

    def fits(self, record_bytes: int) -> bool:
        """Returns whether a record of this size (`Record.size`) has room now."""
        if record_bytes > self._most_bytes:
            return False
        left = self._segment.left if self._segment is not None else 0
        return record_bytes <= left or self._pool.is_ready()

    def append(self, record: Record) -> asyncio.Future[Place]:
        """Write a record with the next group. The future is done once it is on the disk.

        Raises:
            SpoolSickError: the journal is closed.
            ValueError: it is larger than a segment.
        """
        if self._is_closed:
            raise SpoolSickError("the journal is closed")
        if record.size > self._most_bytes:
            raise ValueError(f"a record of {record.size} octets has room in no segment")
        job = _Job(record, self._loop.create_future())
        self._waiting.append(job)
        self._rests.clear()
        if not self._flying and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._write)
        return job.future

    async def close(self) -> None:
        """Write what waits, then let all go; harmless when called twice."""
        self._is_closed = True
        await self._rests.wait()
        self._syncer.close()
        self._thread.shutdown()
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _write(self) -> None:
        """Begin the next group."""
        self._is_due = False
        try:
            segment = self._find_segment(self._waiting[0].record.size)
        except SpoolError as exc:
            self._fail([job.future for job in self._take_waiting()], exc)
            self._go_on()
            return
        parts = self._collect(segment)
        if self._is_slow:
            self._thread.submit(self._write_aside, segment, parts)
            return
        begun = time.monotonic()
        try:
            self._put(segment, parts)
            self._is_slow = time.monotonic() - begun > _SLOW_SECONDS
            self._syncer.sync(segment.handle, self._end)
        except OSError as exc:
            self._end(exc)

    def _write_aside(self, segment: Segment, parts: Sequence[bytes]) -> None:
        """In the thread: write and sync a group."""
        error: OSError | None = None
        begun = time.monotonic()
        try:
            self._put(segment, parts)
            self._is_slow = time.monotonic() - begun > _SLOW_SECONDS
            os.fdatasync(segment.handle)
        except OSError as exc:
            error = exc
        with suppress(RuntimeError):  # a closed loop: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, error)

    @staticmethod
    def _put(segment: Segment, parts: Sequence[bytes]) -> None:
        size = sum(map(len, parts))
        begin = segment.at - size
        segment.check_in_place()
        fault_point("journal.write")
        if os.pwritev(segment.handle, parts, begin) != size:
            # Only a device can cut a write short here, for the blocks are there.
            raise OSError(errno.EIO, "a write was cut short", str(segment.path))
        fault_point("journal.written")

    def _find_segment(self, record_bytes: int) -> Segment:
        if self._segment is not None and self._segment.left >= record_bytes:
            return self._segment
        following = self._pool.take()
        if self._segment is not None:
            self._segment.close()
        self._segment = following
        return following

    def _collect(self, segment: Segment) -> list[bytes]:
        """Take the jobs of the next group, and give each its place. Returns the octets of all."""
        group: list[tuple[_Job, Place]] = []
        parts: list[bytes] = []
        while self._waiting and len(group) < _GROUP_LIMIT and self._waiting[0].record.size <= segment.left:
            job = self._waiting.popleft()
            parts += build_record(job.record, segment.generation)
            segment.at += job.record.size
            group.append((job, Place(segment.path, segment.generation, segment.at)))
        self._flying = group
        return parts

    def _end(self, error: OSError | None) -> None:
        """Tell the group that was under way, and begin the next one."""
        flying, self._flying = self._flying, ()
        if error is None:
            fault_point("journal.synced")
            for job, place in flying:
                if not job.future.done():  # cancelled meanwhile; the record stands
                    job.future.set_result(place)
        else:
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            self._fail([job.future for job, _ in flying], translate_error(error))
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting:
            self._is_due = True
            self._loop.call_soon(self._write)
        else:
            self._rests.set()

    def _take_waiting(self) -> list[_Job]:
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    @staticmethod
    def _fail(futures: Sequence[asyncio.Future[Place]], error: SpoolError) -> None:
        """Tell each an exception of its own."""
        for future in futures:
            if not future.done():
                future.set_exception(type(error)(*error.args))
