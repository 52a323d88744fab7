"""Raw mails: large ones are written into files, all are read back from row or file, and files that no row
names are swept.

Owns the order of system calls that makes a large mail safe (write, sync the file, sync its folder, and only
then commit the row that names it), and the check that what is delivered is what was accepted. A process gives
out ids only while it holds a lock, so that a sweep can tell a mail that is being received from one whose
receiver died.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import apsw

from relay.errors import SpoolCorruptError, SpoolSickError
from relay.faults import fault_point
from relay.spool.ids import build_mark, mark_of
from relay.spool.local.database import Readers
from relay.spool.local.errors import translated
from relay.spool.local.layout import FILE_MODE, Layout, adopt, lock_file, make_folder, sync_folder

_CHUNK_BYTES = 1 << 20


class IdLock:
    """The right to give out ids with one mark, held until it is closed or the process ends."""

    def __init__(self, makers: Path) -> None:
        self._makers = makers
        self.mark, self._handle = self._take()

    def _take(self) -> tuple[str, int]:
        for _ in range(100):
            mark = build_mark(secrets.randbits(25))
            path = self._makers / mark
            with translated():
                if path.exists():
                    continue
                handle = lock_file(path)
                if handle is None:
                    continue
                # A sweep may have removed the file between its creation and our lock: then the lock guards
                # nothing.
                if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                    return mark, handle
                os.close(handle)
        raise SpoolSickError(f"no lock file can be made in {self._makers}")

    def close(self) -> None:
        """Give the mark up; large mails left unfinished under it may be swept."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class LargeFile:
    """A large mail on its way into the spool (`RawFile`). Calls block: use a thread.

    Whoever opened it owns it until `take`; after that only the spool decides whether the file stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._taken = False
        self._lock = threading.Lock()
        with translated():
            make_folder(path.parent)
            self._handle = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
            )
            adopt(path)
            fault_point("spool.raw.created")

    def write(self, octets: bytes) -> None:
        """Append octets."""
        with translated(), memoryview(octets) as view:
            done = 0
            while done < len(view):
                done += os.write(self._handle, view[done:])
            self.size += len(view)
            fault_point("spool.raw.written")

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """The octets written so far, mapped from the file. The mapping ends with the last reference to it."""
        with translated(), self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        yield memoryview(mapped)

    def read(self, at: int, size: int) -> bytes:
        """At most `size` of the octets written so far, from this offset on."""
        with translated():
            return os.pread(self._handle, size, at)

    def take(self) -> None:
        """Hand the file over to the spool: from now on `discard` does nothing."""
        with self._lock:
            self._taken = True

    def seal(self, trace_size: int) -> bytes:
        """Bring the octets, then the name, to the disk. Returns the SHA-256 of the first `trace_size`
        octets.
        """
        with translated():
            trace = os.pread(self._handle, trace_size, 0)
            os.fsync(self._handle)
            fault_point("spool.raw.synced")
            self._close()
            sync_folder(self.path.parent)
            fault_point("spool.raw.folder_synced")
        return hashlib.sha256(trace).digest()

    def discard(self) -> None:
        """Remove the file, unless the spool has taken it."""
        with self._lock:
            if not self._taken:
                self._taken = True
                self.remove()

    def remove(self) -> None:
        """Close and remove the file; a file that cannot be removed is left to the sweep."""
        self._close()
        remove_raw(self.path)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def remove_raw(path: Path) -> None:
    """Remove a large mail that no row names. A failure costs space until the next sweep, and no more."""
    try:
        path.unlink(missing_ok=True)
        fault_point("spool.raw.removed")
    except OSError:
        return


class Sweep:
    """One search for large mails without a row (S2), in three steps around one reading of the rows.

    First the dead makers are found; the rows are read after that, so that no mail of theirs is missed; then
    files without a row are removed if their maker is dead. A maker without a lock file died before an earlier
    sweep, because only a sweep removes lock files. The age of a file says nothing: its maker may be about to
    commit it, and a clock that was set makes any file old.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._dead: dict[str, int] = {}
        with translated():
            for path in layout.makers.iterdir():
                handle = lock_file(path)
                if handle is not None:
                    self._dead[path.name] = handle

    def files(self) -> Iterator[Path]:
        """Every large mail in the folder."""
        with translated():
            for folder in sorted(self._layout.raw.iterdir()):
                yield from folder.iterdir()

    def remove(self, orphans: Iterator[Path]) -> int:
        """Remove the files without a row whose makers are dead. Returns their number."""
        removed = 0
        for path in orphans:
            if self._is_orphan(path.name):
                remove_raw(path)
                removed += 1
        return removed

    def _is_orphan(self, name: str) -> bool:
        mark = mark_of(name)
        return mark in self._dead or (mark is not None and not (self._layout.makers / mark).exists())

    def close(self) -> None:
        """Remove the lock files of the dead, while they are locked, and let them go."""
        for mark, handle in self._dead.items():
            (self._layout.makers / mark).unlink(missing_ok=True)
            os.close(handle)
        self._dead.clear()


class _Row(NamedTuple):
    """The columns of a mail's row that describe its raw mail."""

    octets: bytes | None
    size: int
    trace_size: int
    trace_sha256: bytes
    fingerprint: str
    filed: int

    def check(self, spool_id: str, size: int, chunks: Iterable[memoryview]) -> None:
        """Compare these octets with the accepted ones: our trace header, then the mail.

        Raises:
            SpoolCorruptError: they differ.
        """
        trace, mail = hashlib.sha256(), hashlib.sha256()
        left = self.trace_size
        for chunk in chunks:
            if left:
                trace.update(chunk[:left])
            mail.update(chunk[left:])
            left = max(left - len(chunk), 0)
        if (size, trace.digest(), mail.hexdigest()) != (self.size, self.trace_sha256, self.fingerprint):
            raise SpoolCorruptError(f"the stored mail {spool_id} does not hash to what was accepted")


@contextmanager
def open_raw(readers: Readers, layout: Layout, spool_id: str) -> Iterator[memoryview]:
    """The raw mail, checked. Blocks. Views that outlive the block keep its memory.

    Raises:
        SpoolCorruptError: it is missing, or not what was accepted.
    """
    with readers.borrow() as connection:
        row = _read_row(connection, spool_id)
    if row.octets is not None:
        view = memoryview(row.octets)
        row.check(spool_id, len(view), [view])
        yield view
        return
    with _map(layout, spool_id, row) as view:
        yield view


def open_file(layout: Layout, spool_id: str) -> int | None:
    """A descriptor of the file of this mail. Returns None if the mail is in the database."""
    with translated():
        try:
            return os.open(layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None


def _read_row(connection: apsw.Connection, spool_id: str) -> _Row:
    found = connection.execute(
        "SELECT r.octets, m.size, m.trace_size, m.trace_sha256, m.fingerprint, m.filed "
        "FROM mails AS m LEFT JOIN raws AS r USING (mail_id) WHERE m.spool_id = ?",
        (spool_id,),
    ).fetchone()
    if found is None or (found[0] is None and not found[5]):
        raise SpoolCorruptError(f"the stored mail {spool_id} is not there")
    if not isinstance(found[0], bytes | None):
        raise SpoolCorruptError(f"the stored mail {spool_id} is no octets")
    return _Row(*found)


@contextmanager
def _map(layout: Layout, spool_id: str, row: _Row) -> Iterator[memoryview]:
    with translated():
        try:
            handle = os.open(layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as exc:
            raise SpoolCorruptError(f"the stored mail {spool_id} is not there") from exc
        try:
            # The hash reads the file by system calls, not through a mapping: a bad sector is then an error
            # (EIO), and does not end the process (SIGBUS).
            row.check(spool_id, os.fstat(handle).st_size, _chunks(handle))
            mapped = mmap.mmap(handle, row.size, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)
    view = memoryview(mapped)
    try:
        yield view
    finally:
        # If somebody still holds a slice, the mapping ends with that slice.
        with suppress(BufferError):
            view.release()
            mapped.close()


def _chunks(handle: int) -> Iterator[memoryview]:
    """The octets of a file, one chunk at a time in the same buffer."""
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    while count := os.readv(handle, [buffer]):
        yield view[:count]
