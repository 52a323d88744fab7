"""The ballast: room that is taken while the disk has some, and given up when others have filled it.

Owns the folder `ballast` of the spool. Every step of a delivery is a write, so on a full disk what was accepted
could not go out. Then the delivering side (or whoever opens the spool) removes the ballast and goes on in its room;
receivers say 452 until it can be laid again. Never touches the database.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from relay.errors import SpoolError, SpoolFullError
from relay.spool.local.layout import Layout, adopt, make_folder, sync_folder

Answer = TypeVar("Answer")

#: As much as the log may hold: what a checkpoint adds to the database must find room before the log is used again.
_MOST_BYTES = 64 << 20
#: Of a small disk no more than this part.
_SHARE = 8
#: Files and not one: a start needs inodes, too (the log, its index, a lock file for each receiver).
_PIECES = 16
#: Below this the disk is full, whatever the library calls the error: it knows full only from write(2).
_NOTHING_BYTES = 1 << 20
#: After it could not be laid where there seemed to be room.
_PAUSE_SECONDS = 60.0


class Reserve:
    """The reserve of one spool; any process may look at it or give it up, the deliverer lays it."""

    def __init__(self, layout: Layout, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = layout.root
        self._folder = layout.reserve
        self._monotonic = monotonic
        self._again_at = 0.0

    def is_out(self) -> bool:
        """Whether it was given up and not laid again; False where it never was laid."""
        try:
            return len(list(self._folder.iterdir())) < _PIECES
        except OSError:
            return False

    def is_needed(self) -> bool:
        """Whether it is out, and what is free now is not yet enough to lay it again."""
        return self.is_out() and not self._has_room()

    def release(self, error: SpoolError) -> bool:
        """Give it up for what failed with this error; False when a full disk is not why, or it is out already."""
        if not isinstance(error, SpoolFullError) and not self._is_full():
            return False
        released = False
        with suppress(OSError):
            for piece in sorted(self._folder.iterdir()):
                piece.unlink(missing_ok=True)
                released = True
        return released

    def pay(self, act: Callable[[], Answer]) -> Answer:
        """What `act` gives; when the disk has no room for it, the ballast goes and it is tried once more."""
        try:
            return act()
        except SpoolError as exc:
            if not self.release(exc):
                raise
            return act()

    def lay(self) -> bool:
        """Lay it if it does not lie and twice its size is free, so that it is not given up again at once; whether it lies."""
        is_first = not self._folder.is_dir()
        if not is_first and not self.is_out():
            return True
        if self._monotonic() < self._again_at:
            return False
        try:
            if not self._has_room():
                return False
            make_folder(self._folder)
            for number in range(_PIECES):
                _make_piece(self._folder / f"{number:02}", self._size() // _PIECES)
            sync_folder(self._folder)
        except OSError:  # somebody was quicker, or there is a quota: what is left of either is not for us
            self._again_at = self._monotonic() + _PAUSE_SECONDS
            self.release(SpoolFullError())
            if is_first:
                with suppress(OSError):
                    self._folder.rmdir()
            return False
        return True

    def _size(self) -> int:
        disk = os.statvfs(self._root)
        return min(_MOST_BYTES, disk.f_blocks * disk.f_frsize // _SHARE)

    def _has_room(self) -> bool:
        disk = os.statvfs(self._root)
        inodes = not disk.f_files or disk.f_favail >= 2 * _PIECES
        return inodes and disk.f_bavail * disk.f_frsize >= 2 * self._size()

    def _is_full(self) -> bool:
        with suppress(OSError):
            disk = os.statvfs(self._root)
            return disk.f_bavail * disk.f_frsize < _NOTHING_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
        return False


def _make_piece(path: Path, size: int) -> None:
    """A file whose blocks are its own, on the disk; one that is there is taken for whole."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(handle).st_size < size:
            _take(handle, size)
            os.fsync(handle)
    finally:
        os.close(handle)
    adopt(path)


def _take(handle: int, size: int) -> None:
    """Have the blocks; where the file system gives none beforehand, they are written."""
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        done = 0
        while done < size:
            done += os.pwrite(handle, bytes(min(1 << 20, size - done)), done)
