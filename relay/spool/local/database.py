"""The database of the local spool: how a connection to it is opened, who writes next, and who reads.

Owns the pragmas on which the promise rests (WAL, synchronous=FULL), the rule that only the daemon brings an
older database up to date (`schema` has the steps), and the lock file in front of SQLite's write lock: writers
wait for it in the kernel, and are woken. SQLite itself polls, and with three receivers the slowest of a
hundred commits took ten times as long. Only the order of writers depends on that lock file, not the safety of
data. Readers wait for no writer (WAL mode). Never reads or writes a mail. Refuses a library older than
3.51.3, whose log could be corrupted when two connections write and checkpoint at once (sqlite.org/wal.html,
"the WAL-reset bug").
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
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

#: The application id of our SQLite files: "Rlay" in ASCII.
APPLICATION_ID = 0x526C6179
OLDEST_LIBRARY = (3, 51, 3)
BUSY_MILLISECONDS = 10_000
#: Between two looks whether another process has ended its checkpoint.
_CHECKPOINT_SECONDS = 0.01
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_CACHE_KIBIBYTES = 8_192
_INCREMENTAL = 2


def check_library() -> str:
    """The version of the SQLite library, which must be able to keep the promise.

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
    """A connection ready for use, its tables at our version. It may be used by several threads, one at a
    time.

    With `create`, which only the daemon says, a new database is made, and an older one is brought up to date.

    Raises:
        SpoolOlderError: an older relay made it, and may be using it.
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
        SpoolFullError, SpoolSickError: it cannot be opened now.
    """
    return _open(path, _migrate if create else check_current, create=create)


def open_to_look(path: Path) -> apsw.Connection:
    """A connection for reading. The spool of an older relay is left as it is: what it lacks has its defaults.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
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
                # The library accepts a read-only file, and would fail only at the first write.
                raise SpoolSickError(f"{path}: may only be read")  # noqa: TRY301 - closed as after any other error
            _set_up(connection)
            # An empty database was being made when its daemon was killed: no older relay uses it.
            (_migrate if _is_empty(connection) else ready)(connection, path)
        except BaseException:
            close_database(connection)
            raise
    return connection


def count_entries(path: Path) -> int | None:
    """The number of entries of a spool, which is only read and never brought up to date. Returns None if
    there is no spool yet.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
        SpoolFullError, SpoolSickError: it cannot be read now.
    """
    with reading(path) as connection:
        if connection is None:
            return None
        totals: dict[str, int] = dict(query(connection, "SELECT name, value FROM totals"))
        return sum(totals[state] for state in ("queued", "leased", "held", "dead", "done"))


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection | None]:
    """A connection to a spool that is only read and never brought up to date. Gives None if there is no spool
    yet.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
        SpoolFullError, SpoolSickError: it cannot be read now.
    """
    with translated(path):
        if not path.exists():
            yield None
            return
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            # this reads more than the head of the file
            if not query(connection, "SELECT 1 FROM sqlite_schema LIMIT 1"):
                yield None
                return
            check_ours(connection, path)
            yield connection
        finally:
            close_database(connection)


def _make_file(path: Path) -> None:
    """Make an empty file that only its owner can read; SQLite gives -wal and -shm the same mode.

    An existing file is never opened here: closing it would release SQLite's locks of this process (fcntl).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    adopt(path)


def _set_up(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    # A wait for another writer asks for the lock every millisecond, not after ever longer sleeps.
    connection.setlk_timeout(BUSY_MILLISECONDS, 0)
    # This works only before the first page is written; pages can then be given back to the disk
    # (`retention`). Repeated, it would be a transaction of its own, and a full disk could not even be read.
    if connection.pragma("auto_vacuum") != _INCREMENTAL:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    # Removed data is overwritten: a mail that an operator dropped cannot be read from the file any more.
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    # `checkpoints` has a thread for them: within a commit all other writers would wait.
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}").fetchall()
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")


def _migrate(connection: apsw.Connection, path: Path) -> None:
    if connection.pragma("user_version") == len(MIGRATIONS):
        check_ours(connection, path)
        return
    with transaction(connection):
        # read again, because another process may have been quicker
        version = connection.pragma("user_version")
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
    """Check that the spool has our version.

    Raises:
        SpoolOlderError: an older relay made it.
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
    """
    check_ours(connection, path)
    version = connection.pragma("user_version")
    if version < len(MIGRATIONS):
        raise SpoolOlderError(
            f"{path} was made by an older relay (version {version}, ours is {len(MIGRATIONS)}), which may be running: "
            "restart the daemon (relay serve) first; it brings the spool up to date"
        )


def check_ours(connection: apsw.Connection, path: Path) -> None:
    """Check that this relay can use the spool, or can bring it up to date.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
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
    """Close the connection and ignore errors of the disk: what was committed is safe, and nothing else was
    promised.
    """
    with suppress(apsw.Error):
        connection.close(force=True)


def check_in_place(connection: apsw.Connection) -> None:
    """Check that the open database file still has its name: mail written to a file that was moved or removed
    would be missing after the next start.

    Raises:
        OSError: ESTALE; open it anew.
    """
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    if moved.value:
        raise OSError(errno.ESTALE, "moved or removed while the relay had it open", connection.filename)


def restart_log(connection: apsw.Connection, *, pause: Callable[[float], object] = time.sleep) -> bool:
    """Have the next transaction overwrite the log from its beginning, which needs no room. Returns whether
    that is possible.

    A checkpoint of another process is waited for, ten seconds at most; `pause` waits some seconds.

    A log that is copied only in part fills the disk without becoming shorter, so nothing is done if the rest
    has no room.
    """
    path = connection.filename
    whole = connection.pragma("page_count") * connection.pragma("page_size")
    disk = os.statvfs(path)
    if whole - Path(path).stat().st_size > disk.f_bavail * disk.f_frsize:
        return False
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1_000
    while True:
        busy, pages, _ = query(connection, "PRAGMA wal_checkpoint(RESTART)")[0]
        # Without a number of pages somebody else's checkpoint is under way, for which SQLite never waits
        # (sqlite.org/c3ref/wal_checkpoint_v2.html); for readers and writers it has waited.
        if not busy or pages >= 0 or time.monotonic() > deadline:
            return not busy
        pause(_CHECKPOINT_SECONDS)


def query(connection: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query; the types of their columns are known from the schema, not to the type checker."""
    return connection.execute(sql, values).fetchall()


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """A transaction that is done as a whole or not at all. It holds the write lock from its beginning, so
    that what was read stays true.
    """
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
    """A part of a transaction that is done as a whole or not at all. A failed part does not stop the rest,
    unless SQLite has rolled back the whole transaction.
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
    """The lock file that writers take in turn; used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        with translated():
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            adopt(path)

    @contextmanager
    def transaction(self, connection: apsw.Connection) -> Iterator[None]:
        """A transaction during which no other process of ours holds the write lock."""
        with self.held(), transaction(connection):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """A time in which no other process of ours writes."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file; harmless when called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


#: More than the deliveries that read at the same time; connections above this number are closed after use.
_KEPT = 8


class Readers:
    """A pool of some open connections; usable from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: SimpleQueue[apsw.Connection] = SimpleQueue()

    @contextmanager
    def borrow(self) -> Iterator[apsw.Connection]:
        """A connection for one thread. Errors within the block become ours, and that connection is not used
        again.
        """
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
        """Close the connections that are not borrowed."""
        with suppress(Empty):
            while True:
                close_database(self._idle.get_nowait())
