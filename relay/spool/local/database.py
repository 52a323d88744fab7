"""The database of the local spool: how a connection to it is opened, who writes next, and who reads.

Owns the pragmas that a promise rests on (WAL, synchronous=FULL), who may bring an older database up to date
(the daemon; `schema` has the steps), and the lock file before SQLite's write lock: those who want to write
wait in the kernel, and are woken. SQLite itself asks again and again, and with three receivers the slowest of
a hundred commits took ten times as long. What is safe does not hang on that lock, only who is next. Readers
wait for no writer (WAL mode). Never reads or writes a mail. Refuses a library older than 3.51.3, whose log
could be corrupted when two connections write and checkpoint at once (sqlite.org/wal.html, "the WAL-reset
bug").
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from relay.errors import SpoolError, SpoolOlderError, SpoolSickError, SpoolUnfitError
from relay.faults import fault_point
from relay.spool.local.errors import translated
from relay.spool.local.layout import adopt
from relay.spool.local.schema import MIGRATIONS, stand_in

#: Ours among SQLite files: "Rlay" in ASCII.
APPLICATION_ID = 0x526C6179
OLDEST_LIBRARY = (3, 51, 3)
_BUSY_MILLISECONDS = 10_000
_TIDY_MILLISECONDS = 1_000
#: 16 MiB of WAL between checkpoints: each checkpoint syncs twice, and a waiter pays for it.
_CHECKPOINT_PAGES = 4_000
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_CACHE_KIBIBYTES = 8_192
_INCREMENTAL = 2


def check_library() -> str:
    """The version of a SQLite that can keep the promise; any other is refused.

    Raises:
        SpoolError: it is too old.
    """
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < OLDEST_LIBRARY:
        oldest = ".".join(map(str, OLDEST_LIBRARY))
        raise SpoolError(
            f"SQLite {version} can corrupt its log when two processes write; {oldest} or newer is needed "
            "(the apsw wheel brings its own)"
        )
    return version


def open_database(path: Path, *, create: bool = False) -> apsw.Connection:
    """A connection ready for use, its tables at our version; it may move between threads, one at a time.

    With `create`, which only the daemon says, a new database is made, and an older one is brought up to date.

    Raises:
        SpoolOlderError: an older relay made it, and may be using it.
        SpoolUnfitError: it is no spool of ours, or one of a newer relay.
        SpoolFullError, SpoolSickError: it cannot be opened now.
    """
    return _open(path, _migrate if create else check_current, create=create)


def open_to_look(path: Path) -> apsw.Connection:
    """A connection for questions, to a spool of an older relay too, which is left as it is: what it lacks has
    defaults.

    Raises:
        SpoolUnfitError: it is no spool of ours, or one of a newer relay.
        SpoolFullError, SpoolSickError: it cannot be opened now.
    """
    return _open(path, _stand_in)


def _open(
    path: Path, ready: Callable[[apsw.Connection, Path], None], *, create: bool = False
) -> apsw.Connection:
    check_library()
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    with translated(path):
        if create:
            _make_file(path)
        connection = apsw.Connection(str(path), flags=flags)
        try:
            if create and connection.readonly("main"):
                # The library takes what it gets, and would say so at the first write.
                raise SpoolSickError(f"{path}: may only be read")  # noqa: TRY301 - closed as after any other error
            _set_up(connection)
            # An empty one was being made when the daemon was killed: no older relay uses it.
            (_migrate if _is_empty(connection) else ready)(connection, path)
        except BaseException:
            close_database(connection)
            raise
    return connection


def count_entries(path: Path) -> int | None:
    """How many entries a spool knows; None where there is none yet. Looked at only, and never brought up to
    date.

    Raises:
        SpoolUnfitError: it is no spool of ours, or one of a newer relay.
        SpoolFullError, SpoolSickError: it cannot be read now.
    """
    with translated(path):
        if not path.exists():
            return None
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(_BUSY_MILLISECONDS)
            if not query(connection, "SELECT 1 FROM sqlite_schema LIMIT 1"):  # which reads more than the head
                return None
            check_ours(connection, path)
            totals: dict[str, int] = dict(query(connection, "SELECT name, value FROM totals"))
            return sum(totals[state] for state in ("queued", "leased", "held", "dead", "done"))
        finally:
            close_database(connection)


def _make_file(path: Path) -> None:
    """An empty file that only its owner reads; SQLite gives -wal and -shm the same rights.

    Never opened when it is there: closing it would take SQLite's locks of this process away (fcntl).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    adopt(path)


def _set_up(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    # Waiting for another writer asks for the lock every millisecond, not after ever longer sleeps.
    connection.setlk_timeout(_BUSY_MILLISECONDS, 0)
    # Before the first page is written, or never: pages can then be given back to the disk (`retention`). Said
    # again, it would be a transaction of its own, and a full disk could not even be looked at.
    if connection.pragma("auto_vacuum") != _INCREMENTAL:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    # What was removed is overwritten: a mail that an operator dropped cannot be read from the file any more.
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}").fetchall()
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")


def _migrate(connection: apsw.Connection, path: Path) -> None:
    if connection.pragma("user_version") == len(MIGRATIONS):
        check_ours(connection, path)
        return
    with transaction(connection):
        version = connection.pragma("user_version")  # again: another process may have been quicker
        if version == 0 and connection.pragma("schema_version") == 0:
            connection.pragma("application_id", APPLICATION_ID)
        check_ours(connection, path)
        for number in range(version, len(MIGRATIONS)):
            connection.execute(MIGRATIONS[number])
            fault_point("spool.migrated")
        connection.pragma("user_version", len(MIGRATIONS))


def _is_empty(connection: apsw.Connection) -> bool:
    return bool(connection.pragma("schema_version") == 0 and connection.pragma("user_version") == 0)


def _stand_in(connection: apsw.Connection, path: Path) -> None:
    check_ours(connection, path)
    if connection.pragma("user_version") < len(MIGRATIONS):
        stand_in(connection, MIGRATIONS)


def check_current(connection: apsw.Connection, path: Path) -> None:
    """Nothing, for a spool of our version.

    Raises:
        SpoolOlderError: an older relay made it.
        SpoolUnfitError: it is somebody else's, or a newer relay's.
    """
    check_ours(connection, path)
    version = connection.pragma("user_version")
    if version < len(MIGRATIONS):
        raise SpoolOlderError(
            f"{path} was made by an older relay (version {version}, ours is {len(MIGRATIONS)}), which may be running: "
            "restart the daemon (relay serve) first; it brings the spool up to date"
        )


def check_ours(connection: apsw.Connection, path: Path) -> None:
    """Nothing, for a spool that this relay knows how to use, or to bring up to date.

    Raises:
        SpoolUnfitError: it is somebody else's, or a newer relay's.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise SpoolUnfitError(f"{path} is a database, but no spool of ours; name another data_dir")
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise SpoolUnfitError(
            f"{path} was made by a newer relay (version {version}, ours is {len(MIGRATIONS)}); run that one, or name "
            "another data_dir"
        )


def close_database(connection: apsw.Connection) -> None:
    """Close, whatever the disk says of it: what was committed is safe, and the rest was not promised."""
    with suppress(apsw.Error):
        connection.close(force=True)


def check_in_place(connection: apsw.Connection) -> None:
    """Nothing, while the file that is open has its name; one that was removed takes mail that no restart
    would find.

    Raises:
        OSError: ESTALE; open it anew.
    """
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    if moved.value:
        raise OSError(errno.ESTALE, "moved or removed while the relay had it open", connection.filename)


def restart_log(connection: apsw.Connection) -> bool:
    """Have the next transaction written over the log's front, which needs no room; whether that can be.

    A log that is copied in part fills the disk and is no shorter for it: nothing is done where the rest has
    no room.
    """
    path = connection.filename
    whole = connection.pragma("page_count") * connection.pragma("page_size")
    disk = os.statvfs(path)
    if whole - Path(path).stat().st_size > disk.f_bavail * disk.f_frsize:
        return False
    busy, _, _ = query(connection, "PRAGMA wal_checkpoint(RESTART)")[0]
    return not busy


def tidy_log(connection: apsw.Connection) -> None:
    """Have the log copied and cut short, where nobody is in the way and the disk takes it; else it is soon
    anyway.
    """
    connection.set_busy_timeout(_TIDY_MILLISECONDS)
    try:
        with suppress(apsw.Error):
            query(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)


def query(connection: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows of a question; what their columns hold is known from the schema, not to the type checker."""
    return connection.execute(sql, values).fetchall()


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of it, or none: holds the write lock from the beginning, so that what was read stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        fault_point("spool.transaction.ready")
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors of the disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def savepoint(connection: apsw.Connection) -> Iterator[None]:
    """A part of a transaction, all of it or none; the rest goes on, unless SQLite has given up the whole of
    it.
    """
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO part; RELEASE part")
        raise
    connection.execute("RELEASE part")


class WriteLock:
    """One writer's way through; used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        with translated():
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            adopt(path)

    @contextmanager
    def transaction(self, connection: apsw.Connection) -> Iterator[None]:
        """A transaction for which nobody else holds the write lock, strangers to the lock file aside."""
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
