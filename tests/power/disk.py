"""A file system that keeps a log of all that is done to it: `disk.py FOLDER MOUNT_POINT LOG`.

The files themselves lie in FOLDER. The log has a record for each change and each sync, in the order in which
they were done; `power.images` reads it. It is whole when the disk was unmounted.

Runs in the environment of requirements-power.lock (mfusepy, over libfuse 2), as root.
"""

from __future__ import annotations

import errno
import itertools
import marshal
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from mfusepy import FUSE, FuseOSError, Operations

#: A small disk, half of it free: the spool's reserve is small, so that its log begins anew often.
_BLOCK_BYTES = 4_096
_BLOCKS = (64 << 20) // _BLOCK_BYTES
_ATTRIBUTES = (
    "st_atime_ns",
    "st_ctime_ns",
    "st_mtime_ns",
    "st_blocks",
    "st_gid",
    "st_ino",
    "st_mode",
    "st_nlink",
    "st_size",
    "st_uid",
)
#: libfuse gives such a name to a file that is removed while somebody has it open.
_HIDDEN = ".fuse_hidden"


class Disk(Operations):
    """The calls of the kernel, one at a time; each file and folder has a number of its own in the log."""

    use_ns = True

    def __init__(self, folder: Path, log: BinaryIO) -> None:
        self._folder = str(folder)
        self._log = log
        self._numbers = itertools.count(1)
        self._by_path = {"/": 0}
        self._by_handle: dict[int, int] = {}

    def _note(self, *record: Any) -> None:
        marshal.dump((time.time_ns(), *record), self._log)

    def _real(self, path: str) -> str:
        return self._folder + path

    def _place(self, path: str) -> tuple[int, str]:
        """The number of its folder, and its name there."""
        folder, _, name = path.rpartition("/")
        return self._by_path[folder or "/"], name

    def _new(self, path: str, kind: str) -> int:
        number = self._by_path[path] = next(self._numbers)
        self._note(kind, *self._place(path), number)
        return number

    def destroy(self, path: str) -> None:
        self._log.close()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._real(path)) if fh is None else os.fstat(fh)
        known = {name: getattr(found, name) for name in _ATTRIBUTES}
        return {name.removesuffix("_ns"): value for name, value in known.items()}

    def access(self, path: str, amode: int) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        half = _BLOCKS // 2
        sizes = {"f_bsize": _BLOCK_BYTES, "f_frsize": _BLOCK_BYTES, "f_blocks": _BLOCKS, "f_namemax": 255}
        return {
            **sizes,
            "f_bfree": half,
            "f_bavail": half,
            "f_files": _BLOCKS,
            "f_ffree": half,
            "f_favail": half,
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._real(path), mode)
        self._new(path, "mkdir")
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._real(path))
        self._note("unlink", *self._place(path))
        del self._by_path[path]
        return 0

    def mknod(self, path: str, mode: int, dev: int) -> int:
        """A socket: it means nothing after a start, and the log has none."""
        if not stat.S_ISSOCK(mode):
            raise FuseOSError(errno.EPERM)
        os.mknod(self._real(path), mode)
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        handle = os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        self._by_handle[handle] = self._new(path, "create")
        return handle

    def open(self, path: str, flags: int) -> int:
        """One that is opened for writing can be read, too: the kernel fills its pages."""
        handle = os.open(self._real(path), os.O_RDWR)
        self._by_handle[handle] = self._by_path[path]
        if flags & os.O_TRUNC:
            os.ftruncate(handle, 0)
            self._note("truncate", self._by_path[path], 0)
        return handle

    def release(self, path: str, fh: int) -> int:
        del self._by_handle[fh]
        os.close(fh)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        done = os.pwrite(fh, data, offset)
        self._note("write", self._by_handle[fh], offset, data[:done])
        return done

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._real(path) if fh is None else fh, length)
        self._note("truncate", self._by_path[path] if fh is None else self._by_handle[fh], length)
        return 0

    def flush(self, path: str, fh: int) -> int:
        """The end of a handle syncs nothing."""
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._note("sync", self._by_handle[fh])
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._note("sync", self._by_path[path])
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._real(old), self._real(new))
        if (number := self._by_path.pop(old, None)) is None:
            return 0  # a socket
        if _HIDDEN in new:
            self._note("unlink", *self._place(old))
        else:
            self._note("rename", *self._place(old), *self._place(new), number)
        self._by_path[new] = number
        for path in [path for path in self._by_path if path.startswith(f"{old}/")]:
            self._by_path[new + path.removeprefix(old)] = self._by_path.pop(path)
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._real(path))
        if self._by_path.pop(path, None) is not None and _HIDDEN not in path:
            self._note("unlink", *self._place(path))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._real(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._real(path), uid, gid, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._real(path), ns=times)
        return 0


def main(folder: str, mount_point: str, log: str) -> None:
    """Mount it; returns when it is unmounted."""
    with Path(log).open("wb") as file:
        disk = Disk(Path(folder), file)
        # One call at a time, so that the log's order is the order. Nobody else changes the files, so the
        # kernel may keep what it has read: memory that processes share through a file stays the same.
        FUSE(
            disk,
            mount_point,
            foreground=True,
            nothreads=True,
            big_writes=True,
            kernel_cache=True,
            use_ino=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
