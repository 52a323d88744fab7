"""Connections for those who only read: borrowed by one thread at a time, kept for the next.

Owns no SQL. In WAL mode a reader waits for no writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw

from relay.spool.local.database import close_database, open_to_look
from relay.spool.local.errors import translated

#: More than the deliveries that read at once; what is above is closed after use.
_KEPT = 8


class Readers:
    """A handful of open connections; from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: SimpleQueue[apsw.Connection] = SimpleQueue()

    @contextmanager
    def borrow(self) -> Iterator[apsw.Connection]:
        """A connection for one thread; errors within become ours, and the connection is not used again."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = open_to_look(self._path)
            connection.execute("PRAGMA query_only = ON")
        try:
            with translated():
                yield connection
        except BaseException:
            close_database(connection)
            raise
        if self._idle.qsize() < _KEPT:
            self._idle.put(connection)
        else:
            close_database(connection)

    def close(self) -> None:
        """Close what is not borrowed."""
        with suppress(Empty):
            while True:
                close_database(self._idle.get_nowait())
