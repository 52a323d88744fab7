"""Counters: numbers that all receivers of one machine share, in one small file of shared memory.

Owns a table of counters by a keyed hash of their name, with a row for each process. A process writes its own
row only and reads everybody's, so there is nothing to lock, and the counts of a crashed process are gone when
its successor takes the row. Two names that hash alike are counted together: one pair in 65,536, and no peer
can choose which.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from functools import lru_cache
from pathlib import Path

from relay import telemetry

_SLOTS = 65_536
_SALT = 16
#: The tables: open sessions by address and by network; mails, recipients and wrong guesses within the minute;
#: wrong passwords within ten minutes. The last table holds instants, and outlives a restart.
TABLES = ("address", "network", "mails", "recipients", "guesses", "logins", "marks")
_MOST = 2**32 - 1
_ROW = len(TABLES) * _SLOTS
_ROWS = 64  # server.receivers is 64 at most


class SharedCounters:
    """The counters of one process, summed with those of its siblings where they share a file."""

    def __init__(self, path: Path | None = None, *, index: int = 0, processes: int = 1) -> None:
        """Take row `index` of the file, which is made when it is missing. Without a file, or without room on
        the disk for the row, this process counts alone.

        Raises:
            OSError: the file cannot be made or mapped.
        """
        mapped = _open(path, index) if path is not None else None
        if mapped is None:
            index, processes = 0, 1
        self._processes = processes
        self._map = mapped or mmap.mmap(-1, _SALT + 4 * _ROW)
        self._salt = bytes(self._map[:_SALT])
        self._cells = memoryview(self._map)[_SALT:].cast("I")
        self._mine = index * _ROW
        #: The beginning of each table in our own row.
        self._tables = {table: self._mine + at * _SLOTS for at, table in enumerate(TABLES)}
        for table in TABLES[:-1]:
            self.clear(table)
        self._slot = lru_cache(maxsize=8_192)(self._hash)

    def _hash(self, name: str) -> int:
        return int.from_bytes(hashlib.blake2b(name.encode(), key=self._salt, digest_size=2).digest(), "big")

    def add(self, table: str, name: str, step: int) -> int:
        """Count up or down. Returns the sum over all processes."""
        at = self._tables[table] + self._slot(name)
        cells = self._cells
        count = cells[at] + step
        if count < 0 or count > _MOST:
            count = min(max(count, 0), _MOST)
        cells[at] = count
        return count if self._processes == 1 else sum(self._all(at))

    def mark(self, table: str, name: str, value: int) -> None:
        """Set this process's count of a name."""
        self._cells[self._tables[table] + self._slot(name)] = min(max(value, 0), _MOST)

    def forget(self, table: str, name: str) -> None:
        """Set this process's count of a name to nothing."""
        self.mark(table, name, 0)

    def latest(self, table: str, name: str) -> int:
        """The largest count of a name over all processes: of instants, the latest."""
        at = self._tables[table] + self._slot(name)
        return self._cells[at] if self._processes == 1 else max(self._all(at))

    def _all(self, at: int) -> memoryview:
        """The counts of all processes in the place of this one of ours."""
        return self._cells[at - self._mine : self._processes * _ROW : _ROW]

    def clear(self, table: str) -> None:
        """Set this process's counts of a table to nothing."""
        start = self._tables[table]
        self._cells[start : start + _SLOTS] = memoryview(bytes(4 * _SLOTS)).cast("I")

    def close(self) -> None:
        """Give the shared memory back; harmless when called twice. Sessions that end later count in memory
        of our own, which nobody reads.
        """
        cells, self._cells = self._cells, memoryview(bytearray(self._cells.nbytes)).cast("I")
        cells.release()
        self._map.close()


def _open(path: Path, index: int) -> mmap.mmap | None:
    """The shared file; its salt is drawn by the process that comes first. Returns None where the disk has no
    room for our row.

    The blocks of the row are allocated before it is written: the file is sparse, and a process that writes
    where a full disk has no block is ended by SIGBUS.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = _SALT + 4 * _ROW * _ROWS
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, os.urandom(_SALT), 0)
        os.posix_fallocate(descriptor, _SALT + 4 * _ROW * index, 4 * _ROW)
        return mmap.mmap(descriptor, size)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        telemetry.fault_caught(where="smtp.tally")
        return None
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # the map keeps a copy of the descriptor, and the lock with it
        os.close(descriptor)
