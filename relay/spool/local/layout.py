"""The layout of the local spool: the paths of its files, and how folders and lock files are made.

Owns the paths below `data_dir`, and the owner of what is made there. Never touches the database.

    <data_dir>/deliver.lock            held by the one deliverer
    <data_dir>/wake                    its doorbell (`wake`)
    <data_dir>/standing.json           the state of the queue that alarms were last sent for (`memory`)
    <data_dir>/address.key             the key of hashed addresses (`key`)
    <data_dir>/spool/spool.db          SQLite, with -wal and -shm beside it
    <data_dir>/spool/write.lock        locked by the process that writes at the moment (`WriteLock`)
    <data_dir>/spool/raw/xx/<id>       raw mail over large_message_bytes
    <data_dir>/spool/makers/<mark>     locked by the process that gives out ids with this mark
    <data_dir>/spool/ballast/<nn>      the reserve, released when the disk is full (`room`)
    <data_dir>/spool/moving            where its mail moves, while it does (`moving`)

Other files in `data_dir` are not the spool's (`relay.config.data_dir`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from relay.config.data_dir import ADDRESS_KEY
from relay.spool.ids import MARK_LENGTH, mark_of
from relay.spool.local.errors import translated

_DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The paths of the spool in one `data_dir`."""

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
        """The file with the state of the queue that alarms were last sent for."""
        return self.data_dir / "standing.json"

    @property
    def key(self) -> Path:
        """The file with the key of hashed addresses."""
        return self.data_dir / ADDRESS_KEY

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "spool.db"

    @property
    def gate(self) -> Path:
        """The lock file that writers hold in turn."""
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
        """The folder of the files that are removed when the disk is full."""
        return self.root / "ballast"

    @property
    def moving(self) -> Path:
        """The mark of a spool whose mail moves."""
        return self.root / "moving"

    def raw_path(self, spool_id: str) -> Path:
        """The path of the large mail with this id. Two characters that change often spread the mails over
        folders.
        """
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


#: Folders whose names this process has brought to the disk.
_safe: set[Path] = set()
#: A folder that was there before us may lie in one that we may not read, or that cannot be synced.
_NO_SYNC = frozenset({errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS})


def make_folder(path: Path) -> None:
    """Make a folder and bring its name to the disk. One that exists is left as it is; its name is brought to
    the disk once in the life of this process: whoever made it a moment ago may not have done that yet.
    """
    try:
        path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        if not path.is_dir():  # a file, or a link to nothing
            raise
        _make_safe(path)
        return
    except FileNotFoundError:
        if path.parent.is_dir():  # /proc reports ENOENT where nothing can be made
            raise
        make_folder(path.parent)
        make_folder(path)
        return
    adopt(path)
    sync_folder(path.parent)
    _safe.add(path)


def _make_safe(path: Path) -> None:
    if path in _safe:
        return
    try:
        sync_folder(path.parent)
    except OSError as exc:
        if exc.errno not in _NO_SYNC:
            raise
    _safe.add(path)


def adopt(path: Path) -> None:
    """Give a file that root made to the owner of its folder: `relay` run by root must not lock the daemon
    out.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def lock_file(path: Path) -> int | None:
    """The handle of a lock file, locked until it is closed or the process ends. Returns None if another
    process holds it.
    """
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
