"""The restoration of a local spool from an archive of `backup`.

Owns the rule that nothing is replaced (there must be no spool at the place, and no daemon), and that what
waited at the time of the backup is in doubt from then on: it may have become a contact since, so it goes out
under its old ClientToken only, and after six days only if a person agrees (`relay.spool.doubt`). The spool
has its name only when it is whole and on the disk. Calls block.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from relay.errors import SpoolBusyError, SpoolDamagedError, SpoolError, SpoolUnfitError
from relay.faults import fault_point
from relay.spool.action import Action
from relay.spool.archive import BackedUp, Progress
from relay.spool.audit import Stage
from relay.spool.local import actions, clock
from relay.spool.local.backup import DATABASE, KEY, MANIFEST, OWED, RAW
from relay.spool.local.database import open_database, query, transaction
from relay.spool.local.errors import translated
from relay.spool.local.key import read_key
from relay.spool.local.layout import FILE_MODE, Layout, adopt, lock_file, make_folder, sync_folder
from relay.spool.records import from_microseconds
from relay.timing import Clocks

_ID = re.compile(r"[0-9A-Za-z]{1,64}")
#: A manifest has some 120 octets for each large mail: more than two million of them.
_MANIFEST_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
#: What an entry of an earlier version inherits (`rows.IN_DOUBT_SINCE`) is older than any backup, and stays.
_DOUBT = """
UPDATE entries SET in_doubt_since = coalesce(in_doubt_since, ?1), sent_at = coalesce(sent_at, ?1)
WHERE state IN ('queued', 'leased', 'held', 'dead')
AND NOT (token IS NULL AND EXISTS (SELECT 1 FROM requests WHERE requests.entry_id = entries.entry_id))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """The last member of an archive."""

    #: By name: the size and the SHA-256 of each other member.
    members: dict[str, tuple[int, str]]
    #: The instant of the backup by the spool's clock, in microseconds.
    at: int


def restore(
    layout: Layout, archive: Path, *, progress: Progress, action: Action | None, clocks: Clocks
) -> BackedUp:
    """Make the spool of this archive that of the layout; the restored audit tells of the `action`.

    Raises:
        SpoolBusyError: a daemon delivers at this place.
        SpoolError: there is a spool already, or the archive is none of ours or not whole.
    """
    make_folder(layout.data_dir)
    handle = lock_file(layout.deliver_lock)
    if handle is None:
        raise SpoolBusyError(f"a relay delivers from {layout.data_dir}; stop it first")
    try:
        if os.path.lexists(layout.root):
            raise SpoolError(
                f"{layout.root} exists, and a restored spool never replaces another: move it away first"
            )
        place = Layout(data_dir=layout.data_dir / "restoring")
        with suppress(FileNotFoundError):  # of a command that was killed
            shutil.rmtree(place.data_dir)
        try:
            facts = _unpack(place, archive, progress, action, clocks)
            fault_point("spool.restore.unpacked")
            _bring_key(place, layout)
            place.root.rename(layout.root)
            sync_folder(layout.data_dir)
            fault_point("spool.restore.named")
        finally:
            shutil.rmtree(place.data_dir, ignore_errors=True)
        return facts
    finally:
        os.close(handle)


def _bring_key(place: Layout, layout: Layout) -> None:
    """Give the key of names its place, before the spool whose records need it.

    Raises:
        SpoolError: another key is there.
    """
    if (key := read_key(place.key)) is None:
        return
    if (other := read_key(layout.key)) is None:
        place.key.rename(layout.key)
        sync_folder(layout.data_dir)
    elif other != key:
        raise SpoolError(f"{layout.key} is another key than that of the archive: move it away first")


def _unpack(
    place: Layout, archive: Path, progress: Progress, action: Action | None, clocks: Clocks
) -> BackedUp:
    """Unpack into a place of its own, check every octet, and mark what waits as doubtful."""
    place.prepare()
    size = archive.stat().st_size
    found: dict[str, tuple[int, str]] = {}
    manifest = b""
    try:
        with archive.open("rb") as file, _open_tar(file) as tar:
            for member in tar:
                reader = tar.extractfile(member) if member.isreg() else None
                if reader is None or manifest or member.name in found:
                    raise _damaged(archive, f"{member.name} does not belong there")
                if member.name == MANIFEST:
                    manifest = reader.read(min(member.size, _MANIFEST_BYTES))
                    continue
                found[member.name] = _write(_path_of(place, archive, member.name), reader)
                progress(min(file.tell(), size), size)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as exc:
        raise _damaged(archive, "it was cut short, or is no tar file") from exc
    facts = _read_manifest(archive, manifest)
    if found != facts.members or DATABASE not in found:
        raise _damaged(archive, "its members are not those of its manifest")
    for folder in sorted(
        {place.raw_path(name.removeprefix(RAW)).parent for name in found if name.startswith(RAW)}
    ):
        sync_folder(folder)
    return replace(_mark(place, archive, facts.at, action, clocks), octets=size)


@contextmanager
def _open_tar(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """The archive to be read, compressed or not, whatever its name."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    source = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")) if packed else file
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            yield tar
    finally:
        if packed:
            source.close()


def _path_of(place: Layout, archive: Path, name: str) -> Path:
    """The path of a member. No other names are there, so none leads elsewhere."""
    if name == DATABASE:
        return place.database
    if name == KEY:
        return place.key
    spool_id = name.removeprefix(RAW)
    if spool_id == name or not _ID.fullmatch(spool_id):
        raise _damaged(archive, f"{name} does not belong there")
    path = place.raw_path(spool_id)
    make_folder(path.parent)
    return path


def _write(path: Path, reader: IO[bytes]) -> tuple[int, str]:
    """Write a member to the disk. Returns its size and SHA-256."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        while octets := reader.read(_CHUNK_BYTES):
            digest.update(octets)
            file.write(octets)
        size = file.tell()
        file.flush()
        os.fsync(handle)
    adopt(path)
    return size, digest.hexdigest()


def _read_manifest(archive: Path, octets: bytes) -> _Manifest:
    try:
        document: dict[str, Any] = json.loads(octets)
        members = {str(one["name"]): (int(one["size"]), str(one["sha256"])) for one in document["members"]}
        at = int(document["spool_microseconds"])
        from_microseconds(at)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
        raise _damaged(archive, "it has no manifest, so it was cut short or is no backup") from exc
    return _Manifest(members=members, at=at)


def _mark(place: Layout, archive: Path, at: int, action: Action | None, clocks: Clocks) -> BackedUp:
    """Check the database, bring it up to date, and mark what waits as in doubt since the backup."""
    try:
        with translated(), closing(open_database(place.database, create=True)) as connection:
            if (said := query(connection, "PRAGMA quick_check(1)")) != [("ok",)]:
                raise _damaged(archive, f"the database in it is corrupt ({said[0][0]})")
            with transaction(connection):
                connection.execute(_DOUBT, (at,))
                if action is not None:
                    state = clock.load(connection)
                    now = clock.estimate(state, clocks) if state else clocks.wall()
                    owed = query(connection, OWED)[0][0]
                    actions.add(connection, action, at=now, stage=Stage.DONE, counts={"waiting": owed})
            lost = [
                spool_id
                for (spool_id,) in query(connection, "SELECT spool_id FROM mails WHERE filed = 1")
                if not place.raw_path(spool_id).is_file()
            ]
            mails, owed = (query(connection, sql)[0][0] for sql in ("SELECT count(*) FROM mails", OWED))
            query(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    except SpoolDamagedError as exc:
        raise _damaged(archive, "the database in it is corrupt") from exc
    except SpoolUnfitError as exc:
        raise _damaged(archive, f"its database {str(exc).removeprefix(f'{place.database} ')}") from exc
    sync_folder(place.root)
    return BackedUp(at=from_microseconds(at), mails=mails, owed=owed, octets=0, lost=tuple(lost))


def _damaged(archive: Path, why: str) -> SpoolError:
    return SpoolError(f"{archive} cannot be restored: {why}")
