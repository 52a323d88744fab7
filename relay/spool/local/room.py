"""The room of the spool: what the disk and the quotas still give, and a reserve for the day that others fill
the disk.

Owns the quotas (bytes, entries, age, free space, free inodes) and the operator's pause of the intake, as the
receiving half asks for them: a look at the disk at most once a second, which never waits for a writer. Owns
the folder `ballast`, too: every step of a delivery is a write, so on a full disk what was accepted could not
go out. Then the delivering side (or whoever opens the spool) removes the reserve and goes on in its room;
receivers say 452 until it can be laid again.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from relay.config.model import SpoolSection
from relay.errors import SpoolError, SpoolFullError
from relay.spool.local.database import close_database, open_database, query
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout, adopt, make_folder, sync_folder

_LOOK_SECONDS = 1.0
#: Room counts as short before it is gone: the share of it that may be in use.
_NEAR = 0.8
_HOUR_MICROSECONDS = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen."""

    free_bytes: int
    #: Free pages within the database: room for mail, though the file keeps its size for a while.
    freed_bytes: int
    #: None where the file system counts none (btrfs).
    free_inodes: int | None
    #: The reserve was given up, and what is free belongs to the mail that is here already.
    reserve_needed: bool
    #: Octets of all mails in the spool, finished ones included.
    held_bytes: int
    #: Entries not finished and not dead.
    open_entries: int
    finished_entries: int
    oldest_accepted_at: int | None
    intake_paused: bool


class Room:
    """The last look, and what was put since."""

    def __init__(
        self,
        layout: Layout,
        limits: SpoolSection,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._layout = layout
        self._reserve = Reserve(layout)
        self._limits = limits
        self._monotonic = monotonic
        self._wall = wall
        self._connection: apsw.Connection | None = None
        self._look: Look | None = None
        self._looked_at = 0.0
        self._since_bytes = 0
        self._since_entries = 0

    def fits(self, size: int, entries: int = 1) -> bool:
        """Whether a mail of this size for so many destinations finds room; yes when nothing can be seen:
        `put` tells.
        """
        look = self._recent()
        if look is None:
            return True
        if look.reserve_needed:
            return False
        limits = self._limits
        size += self._since_bytes
        entries += self._since_entries
        if look.free_bytes + look.freed_bytes - size < limits.min_free_bytes:
            return False
        if look.free_inodes is not None and look.free_inodes < limits.min_free_inodes:
            return False
        if limits.max_bytes and look.held_bytes + size > limits.max_bytes:
            return False
        if limits.max_entries and look.open_entries + entries > limits.max_entries:
            return False
        return not self._aged(look)

    def _aged(self, look: Look) -> bool:
        """Whether the oldest waiting entry says that mail goes in faster than it goes out."""
        if not self._limits.max_age_hours or look.oldest_accepted_at is None:
            return False
        age = self._wall() * 1e6 - look.oldest_accepted_at
        return age > self._limits.max_age_hours * _HOUR_MICROSECONDS

    def lacks_room(self, *, largest: int) -> bool:
        """Whether room is so short that what is finished has to go, if anything is; a new look each time.

        Room is for a mail of `largest` octets, too: it must not be refused until others have filled what it
        lacks.
        """
        self._look = None
        look = self._recent()
        if look is None or not look.finished_entries:
            return False
        limits = self._limits
        most = max(min(limits.max_bytes * _NEAR, limits.max_bytes - largest), limits.max_bytes / 2)
        least = max(limits.min_free_bytes / _NEAR, limits.min_free_bytes + largest)
        return (
            look.reserve_needed
            or 0 < most < look.held_bytes
            or (limits.min_free_bytes > 0 and look.free_bytes + look.freed_bytes < least)
        )

    def took(self, size: int, entries: int) -> None:
        """Count what was put, until the next look sees it."""
        self._since_bytes += size
        self._since_entries += entries

    def intake_paused(self) -> bool:
        """Whether an operator has paused the intake."""
        look = self._recent()
        return look is not None and look.intake_paused

    def close(self) -> None:
        """Let the database go."""
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None

    def _recent(self) -> Look | None:
        """The last look, renewed when it is older than a second; None when nothing can be seen."""
        at = self._monotonic()
        if self._look is None or at - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = at
            try:
                with translated():
                    self._look = self._take()
                self._since_bytes = self._since_entries = 0
            except SpoolError:
                self.close()
                self._look = None
        return self._look

    def _take(self) -> Look:
        if self._connection is None:
            self._connection = open_database(self._layout.database)
            self._connection.set_busy_timeout(
                0
            )  # asked on the event loop: an older look is better than a wait
        disk = os.statvfs(self._layout.root)
        totals: dict[str, int] = dict(query(self._connection, "SELECT name, value FROM totals"))
        oldest = None
        if self._limits.max_age_hours:
            oldest = self._connection.execute(
                "SELECT accepted_at FROM entries WHERE state = 'queued' ORDER BY entry_id LIMIT 1"
            ).get
        paused = self._connection.execute("SELECT count(*) FROM control WHERE subject = 'intake'").get
        return Look(
            free_bytes=disk.f_bavail * disk.f_frsize,
            freed_bytes=self._connection.pragma("freelist_count") * self._connection.pragma("page_size"),
            free_inodes=disk.f_favail if disk.f_files else None,
            reserve_needed=self._reserve.is_needed(),
            held_bytes=totals["bytes"],
            open_entries=totals["queued"] + totals["leased"] + totals["held"],
            finished_entries=totals["done"],
            oldest_accepted_at=oldest,
            intake_paused=bool(paused),
        )


Answer = TypeVar("Answer")

#: As much as the log may hold: what a checkpoint adds to the database must find room before the log is used
#: again.
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
        """Give it up for what failed with this error; False when a full disk is not why, or it is out
        already.
        """
        if not isinstance(error, SpoolFullError) and not self._is_full():
            return False
        released = False
        with suppress(OSError):
            for piece in sorted(self._folder.iterdir()):
                piece.unlink(missing_ok=True)
                released = True
        return released

    def pay(self, act: Callable[[], Answer]) -> Answer:
        """What `act` gives; when the disk has no room for it, the reserve goes and it is tried once more."""
        try:
            return act()
        except SpoolError as exc:
            if not self.release(exc):
                raise
            return act()

    def lay(self) -> bool:
        """Create the reserve if it is missing and the disk has twice its size free. Returns whether it exists
        now.
        """
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
