"""The gate before SQLite's write lock: those who want to write wait in the kernel, and are woken.

Owns one lock file. SQLite itself asks again and again, and whoever asks at the right moment gets the lock: with
three receivers the slowest of a hundred commits took ten times as long. What is safe does not hang on the gate,
only who is next.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from relay.spool.local.database import transaction
from relay.spool.local.errors import translated
from relay.spool.local.layout import adopt


class WriteLock:
    """One writer's way through; used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        with translated():
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            adopt(path)

    @contextmanager
    def transaction(self, connection: apsw.Connection) -> Iterator[None]:
        """A transaction for which nobody else holds the write lock, strangers to the gate aside."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            with transaction(connection):
                yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the lock file go; harmless when called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
