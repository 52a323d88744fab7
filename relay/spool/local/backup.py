"""The backup of a local spool while it is in use: one archive with a copy of the database, and large mails.

Owns the form of the archive: a tar file, compressed if its name ends in `.gz` or `.tgz`. It has `raw/<spool
id>` for each large mail, `address.key` if there is one, `spool.db`, and last `manifest.json` with the size
and SHA-256 of every other member, so that an archive that was cut short is known. `restore` reads it. The
copy of the database (VACUUM INTO) is the spool at one instant; mail flows on meanwhile. Calls block.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import apsw

from relay import __version__
from relay.config.data_dir import ADDRESS_KEY
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError, SpoolError
from relay.faults import fault_point
from relay.spool.archive import BackedUp, Progress
from relay.spool.local.database import query
from relay.spool.local.layout import FILE_MODE, Layout, adopt, lock_file, sync_folder
from relay.spool.records import from_microseconds

DATABASE = "spool.db"
MANIFEST = "manifest.json"
KEY = ADDRESS_KEY
RAW = "raw/"
COMPRESSED = (".gz", ".tgz")
#: Steps of SQLite's machine between two looks at the size of the copy: some hundred a second.
_STEPS = 100_000
#: The fastest level: mail is mostly base64, and higher levels gain a few per cent for many times the time.
_LEVEL = 1
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
OWED = "SELECT count(*) FROM entries WHERE state IN ('queued', 'leased', 'held')"


@dataclass(slots=True, kw_only=True)
class _Work:
    """The progress of one backup, and what its manifest will say."""

    report: Progress
    total: int
    done: int = 0
    members: list[dict[str, object]] = field(default_factory=list)

    def advance(self, octets: int) -> None:
        self.done += octets
        self.report(min(self.done, self.total), self.total)


class _Reader(io.RawIOBase):
    """A file that is read once, into the archive: counts and hashes what passes."""

    def __init__(self, file: IO[bytes], work: _Work) -> None:
        self._file = file
        self._work = work
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        octets = self._file.read(size)
        self.hash.update(octets)
        self._work.advance(len(octets))
        return octets


def back_up(
    connection: apsw.Connection, layout: Layout, archive: Path, *, at: int, progress: Progress
) -> BackedUp:
    """Write the spool into a new archive, which has its name only when it is whole and on the disk.

    `at` is the present instant of the spool's clock, in microseconds: requests may go out from now on of
    which the archive knows nothing. The folder of the archive has room for the database twice.

    Raises:
        SpoolError: the archive exists, or another backup is writing it.
    """
    if os.path.lexists(archive):
        raise SpoolError(f"{archive} exists; a backup never replaces a file: name another")
    part, copy = (archive.with_name(f"{archive.name}{end}") for end in (".part", ".part.db"))
    handle = lock_file(part)
    if handle is None:
        raise SpoolError(f"{archive} is being written by another backup")
    try:
        os.ftruncate(handle, 0)
        copy.unlink(missing_ok=True)
        work = _Work(report=progress, total=_estimate(connection))
        _copy_database(connection, copy, work)
        fault_point("spool.backup.copied")
        with closing(apsw.Connection(str(copy))) as snapshot, open(handle, "wb", closefd=False) as file:
            with _open_tar(archive, file) as tar:
                lost = _add_mails(tar, snapshot, connection, layout, work)
                mails, owed = (query(snapshot, sql)[0][0] for sql in ("SELECT count(*) FROM mails", OWED))
                schema = snapshot.pragma("user_version")
                snapshot.close()
                with suppress(FileNotFoundError), layout.key.open("rb") as key:
                    _add(tar, KEY, key, work)
                with copy.open("rb") as database:
                    _add(tar, DATABASE, database, work)
                _add_manifest(tar, work, at=at, schema=schema)
            file.flush()
            os.fsync(handle)
        fault_point("spool.backup.written")
        _name(part, archive)
    finally:
        copy.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
        os.close(handle)
    return BackedUp(
        at=from_microseconds(at), mails=mails, owed=owed, octets=archive.stat().st_size, lost=tuple(lost)
    )


def _name(part: Path, archive: Path) -> None:
    """Give the archive its name. A link fails where a rename would replace a file that came meanwhile, but
    some file systems have none.
    """
    try:
        os.link(part, archive)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        part.rename(archive)
    sync_folder(archive.parent)


def _estimate(connection: apsw.Connection) -> int:
    """The octets that will be written: the database twice, first as a copy, and each large mail."""
    pages = connection.pragma("page_count") - connection.pragma("freelist_count")
    large = query(connection, "SELECT coalesce(sum(size), 0) FROM mails WHERE filed = 1")[0][0]
    return max(1, 2 * int(pages) * int(connection.pragma("page_size")) + int(large))


def _copy_database(connection: apsw.Connection, copy: Path, work: _Work) -> None:
    """Copy the database as it is at this instant, free pages left out."""
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
    adopt(copy)

    def look() -> bool:
        with suppress(OSError):
            work.advance(copy.stat().st_size - work.done)
        return False

    connection.set_progress_handler(look, _STEPS)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.set_progress_handler(None)
    look()


@contextmanager
def _open_tar(archive: Path, file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """The archive to be written, whose last octets are written at the end of the block."""
    packer: AbstractContextManager[IO[bytes]] = nullcontext(file)
    if archive.name.endswith(COMPRESSED):
        packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0)
        packer = closing(cast("IO[bytes]", packed))
    with packer as target, tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        yield tar


def _add_mails(
    tar: tarfile.TarFile, snapshot: apsw.Connection, live: apsw.Connection, layout: Layout, work: _Work
) -> list[SpoolId]:
    """Add the large mails that the snapshot names. Returns the ids of those that are not there, though the
    spool says so.

    A mail that was finished and removed since the snapshot is taken out of it: nobody waits for it.
    """
    snapshot.execute("PRAGMA foreign_keys = ON").fetchall()
    lost: list[SpoolId] = []
    for spool_id, mail_id in query(snapshot, "SELECT spool_id, mail_id FROM mails WHERE filed = 1"):
        try:
            with layout.raw_path(spool_id).open("rb") as file:
                _add(tar, f"{RAW}{spool_id}", file, work)
        except FileNotFoundError:
            if query(live, "SELECT 1 FROM mails WHERE spool_id = ?", (spool_id,)):
                lost.append(SpoolId(spool_id))
                continue
            snapshot.execute("DELETE FROM entries WHERE mail_id = ?", (mail_id,))
            snapshot.execute("DELETE FROM mails WHERE mail_id = ?", (mail_id,))
    return lost


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], work: _Work) -> None:
    member = tarfile.TarInfo(name)
    member.size = os.fstat(file.fileno()).st_size
    member.mode = FILE_MODE
    reader = _Reader(file, work)
    try:
        tar.addfile(member, cast("IO[bytes]", reader))
    except OSError as exc:
        if exc.errno is None:  # the library's own word for a file that became shorter
            raise SpoolCorruptError(f"{name} changed while it was copied") from exc
        raise
    work.members.append({"name": name, "size": member.size, "sha256": reader.hash.hexdigest()})


def _add_manifest(tar: tarfile.TarFile, work: _Work, *, at: int, schema: int) -> None:
    document = {
        "relay": __version__,
        "schema": schema,
        "made_at": from_microseconds(at).isoformat(),
        "spool_microseconds": at,
        "members": work.members,
    }
    octets = json.dumps(document, indent=1).encode()
    member = tarfile.TarInfo(MANIFEST)
    member.size = len(octets)
    member.mode = FILE_MODE
    tar.addfile(member, io.BytesIO(octets))
