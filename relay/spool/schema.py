"""The database of the local spool: its tables, its version, and how a connection to it is opened.

Owns the SQL that makes tables and the pragmas that a promise rests on (WAL, synchronous=FULL). Never reads or
writes a mail. Refuses a library older than 3.51.3, whose WAL could be corrupted when two connections write and
checkpoint at once (sqlite.org/wal.html, "the WAL-reset bug").
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from relay.errors import SpoolError, SpoolSickError, SpoolUnfitError
from relay.faults import fault_point
from relay.spool.files import adopt
from relay.spool.translate import translated

#: Ours among SQLite files: "Rlay" in ASCII.
APPLICATION_ID = 0x526C6179
OLDEST_LIBRARY = (3, 51, 3)
_BUSY_MILLISECONDS = 10_000
#: 16 MiB of WAL between checkpoints: each checkpoint syncs twice, and a waiter pays for it.
_CHECKPOINT_PAGES = 4_000
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_CACHE_KIBIBYTES = 8_192
_INCREMENTAL = 2

_FIRST = """
CREATE TABLE mails (
    mail_id      INTEGER PRIMARY KEY,
    spool_id     TEXT NOT NULL UNIQUE,
    fingerprint  TEXT NOT NULL,
    message_id   TEXT,
    reverse_path TEXT,
    envelope     TEXT NOT NULL,
    results      TEXT NOT NULL,
    size         INTEGER NOT NULL,
    trace_size   INTEGER NOT NULL,
    trace_sha256 BLOB NOT NULL,
    filed        INTEGER NOT NULL,
    confirmed    INTEGER NOT NULL DEFAULT 0,
    accepted_at  INTEGER NOT NULL
);
-- The one index whose order is chance: each acceptance writes a page of it to the log. So it is narrow (48 bits
-- find the row, the row is compared as a whole), and there is none on what senders choose: the ledger finds the
-- Message-IDs of contacts; others, and addresses, are looked for by a person, who can wait for a walk.
CREATE INDEX mails_fingerprint ON mails (substr(fingerprint, 1, 12));
CREATE INDEX mails_filed ON mails (spool_id) WHERE filed = 1;

-- Apart, so that no listing ever walks over the octets of mails.
CREATE TABLE raws (
    mail_id INTEGER PRIMARY KEY REFERENCES mails ON DELETE CASCADE,
    octets  BLOB NOT NULL
);

CREATE TABLE entries (
    entry_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    mail_id       INTEGER NOT NULL REFERENCES mails,
    instance_id   TEXT NOT NULL,
    address       TEXT NOT NULL,
    forward_paths TEXT NOT NULL,
    route         TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'leased', 'held', 'dead', 'done')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    cut_short     INTEGER NOT NULL DEFAULT 0,
    due_at        INTEGER NOT NULL,
    lease_until   INTEGER,
    rung          TEXT NOT NULL DEFAULT 'full',
    contact_id    TEXT,
    reason        TEXT NOT NULL DEFAULT '',
    detail        TEXT NOT NULL DEFAULT '',
    accepted_at   INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX entries_mail ON entries (mail_id);
CREATE INDEX entries_state ON entries (state);
CREATE INDEX entries_due ON entries (route, priority, due_at) WHERE state = 'queued';
CREATE INDEX entries_leased ON entries (lease_until) WHERE state = 'leased';
CREATE INDEX entries_done ON entries (updated_at) WHERE state = 'done';
CREATE INDEX entries_contact ON entries (contact_id) WHERE contact_id IS NOT NULL;

CREATE TABLE requests (
    entry_id   INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    request    BLOB NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE history (
    entry_id INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    event    TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    detail   TEXT NOT NULL
);
CREATE INDEX history_entry ON history (entry_id);

-- What is remembered of finished entries: written with the outcome, twice a second, not with the acceptance, a
-- thousand times a second. Until then the mail and its entries say the same.
CREATE TABLE ledger (
    fingerprint TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    address     TEXT NOT NULL,
    spool_id    TEXT NOT NULL,
    message_id  TEXT,
    confirmed   INTEGER NOT NULL,
    contact_id  TEXT,
    accepted_at INTEGER NOT NULL
);
CREATE INDEX ledger_fingerprint ON ledger (fingerprint);
CREATE INDEX ledger_spool_id ON ledger (spool_id);
CREATE INDEX ledger_message_id ON ledger (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX ledger_contact ON ledger (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX ledger_accepted_at ON ledger (accepted_at);

-- What an operator paused, and which routes an error of configuration holds.
CREATE TABLE control (
    subject TEXT NOT NULL CHECK (subject IN ('intake', 'delivery', 'route', 'hold')),
    name    TEXT NOT NULL,
    reason  TEXT NOT NULL DEFAULT '',
    detail  TEXT NOT NULL DEFAULT '',
    since   INTEGER NOT NULL,
    PRIMARY KEY (subject, name)
) WITHOUT ROWID;

-- Counted as rows come and go, so that quotas and metrics never scan.
CREATE TABLE totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO totals VALUES ('queued', 0), ('leased', 0), ('held', 0), ('dead', 0), ('done', 0), ('bytes', 0);
CREATE TRIGGER mails_in AFTER INSERT ON mails BEGIN
    UPDATE totals SET value = value + new.size WHERE name = 'bytes';
END;
CREATE TRIGGER mails_out AFTER DELETE ON mails BEGIN
    UPDATE totals SET value = value - old.size WHERE name = 'bytes';
END;
CREATE TRIGGER entries_in AFTER INSERT ON entries BEGIN
    UPDATE totals SET value = value + 1 WHERE name = new.state;
END;
CREATE TRIGGER entries_out AFTER DELETE ON entries BEGIN
    UPDATE totals SET value = value - 1 WHERE name = old.state;
END;
CREATE TRIGGER entries_moved AFTER UPDATE OF state ON entries WHEN old.state <> new.state BEGIN
    UPDATE totals SET value = value - 1 WHERE name = old.state;
    UPDATE totals SET value = value + 1 WHERE name = new.state;
END;
"""

_SECOND = """
-- Whether a person has let the mail go that the policy of its route had held: the policy is not asked again.
ALTER TABLE entries ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- When an operator dropped the entry; such a row says what became of a mail, and makes no duplicate of the next.
ALTER TABLE ledger ADD COLUMN dropped_at INTEGER;
"""

#: Each brings a database from the version of its index to the next; never edited once released.
MIGRATIONS = (_FIRST, _SECOND)


def check_library() -> None:
    """Refuse a SQLite that cannot keep the promise.

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


def open_database(path: Path, *, create: bool = False) -> apsw.Connection:
    """A connection ready for use, its tables at our version; it may move between threads, one at a time.

    Raises:
        SpoolUnfitError: it is no spool of ours, or one of a newer relay.
        SpoolFullError, SpoolSickError: it cannot be opened now.
    """
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
            _migrate(connection, path)
        except BaseException:
            close_database(connection)
            raise
    return connection


def count_entries(path: Path) -> int | None:
    """How many entries a spool knows; None where there is none yet. Looked at only, and never brought up to date.

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
    # Before the first page is written, or never: pages can then be given back to the disk (`retention`). Said again,
    # it would be a transaction of its own, and a full disk could not even be looked at.
    if connection.pragma("auto_vacuum") != _INCREMENTAL:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
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
    """Nothing, while the file that is open has its name; one that was removed takes mail that no restart would find.

    Raises:
        OSError: ESTALE; open it anew.
    """
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    if moved.value:
        raise OSError(errno.ESTALE, "moved or removed while the relay had it open", connection.filename)


def restart_log(connection: apsw.Connection) -> bool:
    """Have the next transaction written over the log's front, which needs no room; whether that can be.

    A log that is copied in part fills the disk and is no shorter for it: nothing is done where the rest has no room.
    """
    path = connection.filename
    whole = connection.pragma("page_count") * connection.pragma("page_size")
    disk = os.statvfs(path)
    if whole - Path(path).stat().st_size > disk.f_bavail * disk.f_frsize:
        return False
    busy, _, _ = query(connection, "PRAGMA wal_checkpoint(RESTART)")[0]
    return not busy


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
