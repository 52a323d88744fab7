"""The files of the local spool: where they lie, how a large mail is written, and what a sweep may remove.

Owns the layout below `data_dir`, and the order of system calls that makes a large mail safe: write, sync the
file, sync its directory, and only then the row that names it commits. Never touches the database.

    <data_dir>/deliver.lock            held by the one deliverer
    <data_dir>/wake                    its doorbell (`wake`)
    <data_dir>/standing.json           what of the queue a person was told last (`memory`)
    <data_dir>/spool/spool.db          SQLite, with -wal and -shm beside it
    <data_dir>/spool/write.lock        locked by whoever writes at the moment (`write_lock`)
    <data_dir>/spool/raw/xx/<id>       raw mail over large_message_bytes
    <data_dir>/spool/makers/<mark>     locked by the process that gives out ids with this mark
    <data_dir>/spool/ballast/<nn>      room that is given up when the disk is full (`room`)
What else lies in `data_dir` is not the spool's (`relay.config.data_dir`).
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.errors import SpoolSickError
from relay.faults import fault_point
from relay.spool.local.errors import translated
from relay.spool.local.ids import MARK_LENGTH, build_mark, mark_of

_DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
#: Longer than any session may take to send one mail (limits.session_seconds), so nothing younger is removed
#: while the process that writes it lives.
_ABANDONED_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything lies."""

    data_dir: Path

    @property
    def root(self) -> Path:
        """The folder of the spool itself."""
        return self.data_dir / "spool"

    @property
    def deliver_lock(self) -> Path:
        """The lock file of the one deliverer."""
        return self.data_dir / "deliver.lock"

    @property
    def wake(self) -> Path:
        """The socket of the deliverer's doorbell."""
        return self.data_dir / "wake"

    @property
    def standing(self) -> Path:
        """The file that says what of the queue a person was told last."""
        return self.data_dir / "standing.json"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "spool.db"

    @property
    def gate(self) -> Path:
        """The lock file of those who write."""
        return self.root / "write.lock"

    @property
    def raw(self) -> Path:
        """The folder of large mails."""
        return self.root / "raw"

    @property
    def makers(self) -> Path:
        """The folder of the lock files of id makers."""
        return self.root / "makers"

    @property
    def reserve(self) -> Path:
        """The folder of what is given up when the disk is full."""
        return self.root / "ballast"

    def raw_path(self, spool_id: str) -> Path:
        """Where the large mail of this id lies; two characters that change often spread the folders."""
        mark = mark_of(spool_id)
        tail = spool_id[-MARK_LENGTH - 2 : -MARK_LENGTH] if mark else spool_id[-2:]
        return self.raw / tail / spool_id

    def prepare(self) -> None:
        """Make the folders that are missing, each safely on disk."""
        with translated():
            for folder in (self.data_dir, self.root, self.raw, self.makers):
                make_folder(folder)


def sync_folder(path: Path) -> None:
    """Bring the names within a folder to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and bring its name to the disk; nothing when it is there."""
    try:
        path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        if not path.is_dir():  # a file, or a link to nothing
            raise
        return
    except FileNotFoundError:
        if path.parent.is_dir():  # as /proc says it where nothing can be made
            raise
        make_folder(path.parent)
        make_folder(path)
        return
    adopt(path)
    sync_folder(path.parent)


def adopt(path: Path) -> None:
    """Give what root made to the owner of the folder it lies in: `relay` run by root must not lock the daemon out."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def lock_file(path: Path) -> int | None:
    """The handle of a lock file, locked until it is closed or the process ends; None when another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    adopt(path)
    return handle


class IdLock:
    """The right to give out ids with one mark, held by a lock until closed or the process ends."""

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
                # A sweep may have removed the name between its making and our lock: then the lock guards nothing.
                if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                    return mark, handle
                os.close(handle)
        raise SpoolSickError(f"no lock file can be made in {self._makers}")

    def close(self) -> None:
        """Give the mark up; what was left unfinished under it may be swept."""
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
        """What was written so far, from the file; the map goes when nothing speaks of it any more."""
        with translated(), self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        yield memoryview(mapped)

    def take(self) -> None:
        """The spool takes the file over: from now on `discard` does nothing."""
        with self._lock:
            self._taken = True

    def seal(self, trace_size: int) -> bytes:
        """Bring the octets, then the name, to the disk; the SHA-256 of the first so many octets."""
        with translated():
            trace = os.pread(self._handle, trace_size, 0)
            os.fsync(self._handle)
            fault_point("spool.raw.synced")
            self._close()
            sync_folder(self.path.parent)
            fault_point("spool.raw.folder_synced")
        return hashlib.sha256(trace).digest()

    def discard(self) -> None:
        """Remove what was written, unless the spool has taken it."""
        with self._lock:
            if not self._taken:
                self._taken = True
                self.remove()

    def remove(self) -> None:
        """Close and remove the file; what cannot be removed is left to the sweep."""
        self._close()
        remove_raw(self.path)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def remove_raw(path: Path) -> None:
    """Remove a large mail that no row names; a failure costs space until the next sweep, and no more."""
    try:
        path.unlink(missing_ok=True)
        fault_point("spool.raw.removed")
    except OSError:
        return


class Sweep:
    """One look at what lies in the spool without a row (S2), in three steps around one look at the rows.

    First the makers that are dead are found; rows are read after that, so that none of theirs is missed; then
    files without a row go, when their maker is dead or they have not been written to for an hour. A maker without
    a lock file died before an earlier sweep: only a sweep removes one.
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
        """Every large mail that lies here."""
        with translated():
            for folder in sorted(self._layout.raw.iterdir()):
                yield from folder.iterdir()

    def remove(self, orphans: Iterator[Path]) -> int:
        """Remove those of the files without a row that nobody is writing; how many went."""
        removed = 0
        oldest = time.time() - _ABANDONED_SECONDS  # the file system's clock, whatever the caller calls now
        for path in orphans:
            try:
                idle = path.stat().st_mtime < oldest
            except FileNotFoundError:
                continue
            if idle or self._is_orphan(path.name):
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
