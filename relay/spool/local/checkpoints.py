"""Checkpoints: how the log of the database (WAL) is copied into it, so that the log can begin anew.

Owns when that is done, and the thread that does it: a checkpoint of a long log takes seconds, and within a
commit all who wait for the write lock would wait for it. So most is copied beside the writers; the write lock
is taken only for what they wrote meanwhile, and for a moment in which no reader needs the log. A reader who
stays keeps the log from beginning anew: it grows, and everything else goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from relay.errors import SpoolError
from relay.spool.local.database import (
    BUSY_MILLISECONDS,
    WriteLock,
    close_database,
    open_database,
    query,
)

#: Pages of the log, 16 MiB, from which on it is copied: each checkpoint syncs twice.
CHECKPOINT_PAGES = 4_000
_LEAST_PAGES = 250
#: Pages that are copied while writers wait: 2 MiB, some milliseconds.
_REST_PAGES = 500
#: Passes beside the writers: each leaves what was written during it, so a few are enough for any load.
_PASSES = 4
#: Milliseconds for which writers wait for readers of the log to end. Most are done sooner.
_READERS_MILLISECONDS = 20
#: Seconds between two tries while a reader keeps the log: a try looks at all of it.
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_PAGE_BYTES = 4_096


def log_bytes(database: Path) -> int:
    """The size of the log. Returns 0 if there is none."""
    try:
        return Path(f"{database}-wal").stat().st_size
    except OSError:
        return 0


def shorten_log(
    connection: apsw.Connection,
    write_lock: WriteLock,
    *,
    least_pages: int = 0,
    mode: str = "RESTART",
    milliseconds: int = _READERS_MILLISECONDS,
) -> bool:
    """Copy the log into the database, most of it beside the writers, unless it has fewer than `least_pages`.
    Returns whether the next transaction begins the log anew; otherwise a reader, another checkpoint or a disk
    that fails is in the way.

    The mode TRUNCATE gives the room of the log back, too. Writers wait `milliseconds` for readers at most.
    """
    connection.set_busy_timeout(milliseconds)
    try:
        for _ in range(_PASSES):
            busy, pages, copied = query(connection, "PRAGMA wal_checkpoint(PASSIVE)")[0]
            if busy:
                return False
            if pages < least_pages:
                return True
            if pages - copied <= _REST_PAGES:
                break
        else:
            return False
        with write_lock.held():
            busy, *_ = query(connection, f"PRAGMA wal_checkpoint({mode})")[0]
    except apsw.Error:
        return False
    else:
        return not busy
    finally:
        connection.set_busy_timeout(BUSY_MILLISECONDS)


class Checkpoints:
    """The thread that keeps the log short, one in each process that writes for long."""

    def __init__(self, database: Path, gate: Path, *, reserve_bytes: int) -> None:
        """`reserve_bytes` is the size of the reserve for a full disk."""
        #: Pages of the log from which on it is copied. A copy may need as much room in the database as the
        #: log has, so on a small disk that is a quarter of the reserve, which must do for both.
        self.pages = max(_LEAST_PAGES, min(CHECKPOINT_PAGES, reserve_bytes // 4 // _PAGE_BYTES))
        self._database = database
        self._write_lock = WriteLock(gate)
        self._trying = threading.Lock()
        self._due = threading.Event()
        self._closed = threading.Event()
        if log_bytes(database) >= self.pages * _PAGE_BYTES:
            self._due.set()
        self._thread = threading.Thread(target=self._run, name="spool-checkpoint", daemon=True)
        self._thread.start()

    def watch(self, connection: apsw.Connection) -> None:
        """Have the commits of this connection tell how long the log is."""
        connection.set_wal_hook(self._heed)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A time without a checkpoint of this thread."""
        with self._trying:
            yield

    def _heed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages >= self.pages:
            self._due.set()
        return apsw.SQLITE_OK

    def close(self) -> None:
        """End the thread, after the checkpoint that is under way; harmless when called twice."""
        self._closed.set()
        self._due.set()
        self._thread.join()
        self._write_lock.close()

    def _run(self) -> None:
        while True:
            self._due.wait()
            if self._closed.is_set():
                return
            self._due.clear()
            began = time.monotonic()
            with self._trying:
                is_short = self._empty()
            if not is_short:
                pause = 10 * (time.monotonic() - began)
                self._closed.wait(min(max(pause, _PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))

    def _empty(self) -> bool:
        """Copy the log once, by a connection of its own: the spool may have been replaced meanwhile."""
        try:
            connection = open_database(self._database)
        except SpoolError:
            return False  # those who write tell of it
        try:
            # Another process may have been quicker, and the log be new.
            return shorten_log(connection, self._write_lock, least_pages=self.pages // 2)
        finally:
            close_database(connection)
