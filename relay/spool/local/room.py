"""The room of the spool: what the disk and the quotas still allow, and the reserve for a full disk.

Owns the quotas (bytes, entries, age, free space, free inodes) and the operator's pause of the intake, as the
receiving half asks for them: one look at the disk a second at most, which never waits for a writer. Owns the
folder `ballast`, too: every step of a delivery is a write, so on a disk that others filled, accepted mail
could not be delivered. The delivering side (or a process that opens the spool) then removes the reserve and
uses its room; receivers answer 452 until the reserve can be created again.
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
from relay.spool.records import hours_in_microseconds

_LOOK_SECONDS = 1.0
#: The share of the room above which it counts as short, before it is used up.
_NEAR = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the disk and the spool."""

    free_bytes: int
    #: Free pages within the database: room for mail, though the file keeps its size for a while.
    freed_bytes: int
    #: None if the file system counts none (btrfs).
    free_inodes: int | None
    #: True after the reserve was released: free space then belongs to mail that is already accepted.
    reserve_needed: bool
    #: Octets of all mails in the spool, finished ones included.
    held_bytes: int
    #: Entries that are neither finished nor dead.
    open_entries: int
    finished_entries: int
    oldest_accepted_at: int | None
    intake_paused: bool


class Room:
    """The last look, and the mail accepted since."""

    def __init__(
        self,
        layout: Layout,
        limits: SpoolSection,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._layout = layout
        self._reserve = Reserve(layout)
        self._limits = limits
        self._monotonic = monotonic
        #: The spool's clock, in microseconds; None: no age is asked for.
        self._clock = clock
        self._connection: apsw.Connection | None = None
        self._look: Look | None = None
        self._looked_at = 0.0
        self._since_bytes = 0
        self._since_entries = 0

    def fits(self, size: int, entries: int = 1) -> bool:
        """Compare a mail of this size for so many destinations with the room. Returns whether it fits; True
        if the room cannot be seen, because `put` will tell.
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
        """Compare the age of the oldest waiting entry with `spool.max_age_hours`. Returns whether it is
        older: then mail comes in faster than it goes out.
        """
        if not self._limits.max_age_hours or look.oldest_accepted_at is None or self._clock is None:
            return False
        return self._clock() - look.oldest_accepted_at > hours_in_microseconds(self._limits.max_age_hours)

    def lacks_room(self, *, largest: int) -> bool:
        """Take a new look. Returns whether room is so short that finished mail has to be removed, if there is
        any.

        There must be room for a mail of `largest` octets, too: it must not be refused until other mail has
        taken the rest.
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
        """Count an accepted mail until the next look sees it."""
        self._since_bytes += size
        self._since_entries += entries

    def intake_paused(self) -> bool:
        """The operator's pause of the intake. Returns whether it is in force."""
        look = self._recent()
        return look is not None and look.intake_paused

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None

    def _recent(self) -> Look | None:
        """The last look, renewed if it is older than a second. Returns None if the room cannot be seen."""
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

#: As much as the log may hold: a checkpoint needs that much room in the database before the log can be used
#: again.
_MOST_BYTES = 64 << 20
#: On a small disk the reserve is this part of it at most.
_SHARE = 8
#: Several files, because a start needs inodes, too (the log, its index, a lock file for each receiver).
_PIECES = 16
#: Below this much free space the disk is full, whatever the library calls the error: it knows only write(2)'s
#: ENOSPC.
_NOTHING_BYTES = 1 << 20
#: The wait after it could not be created though there seemed to be room.
_PAUSE_SECONDS = 60.0


class Reserve:
    """The reserve of one spool. Any process may look at it or release it; the deliverer creates it."""

    def __init__(self, layout: Layout, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = layout.root
        self._folder = layout.reserve
        self._monotonic = monotonic
        self._again_at = 0.0

    def is_out(self) -> bool:
        """Look for missing pieces of the reserve. Returns whether it was released and not created again;
        False if it never was there.
        """
        try:
            return len(list(self._folder.iterdir())) < _PIECES
        except OSError:
            return False

    def is_needed(self) -> bool:
        """Compare a released reserve with the free space. Returns whether it is released and there is not yet
        enough room to create it again.
        """
        return self.is_out() and not self._has_room()

    def release(self, error: SpoolError) -> bool:
        """Remove the reserve because of this error. Returns whether something was removed; False if the disk
        is not full.
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
        """Call `act`; if the disk has no room for it, release the reserve and call it once more. Returns its
        answer.
        """
        try:
            return act()
        except SpoolError as exc:
            # Another process may have released it in this moment: then there is room, too.
            if not self.release(exc) and not (isinstance(exc, SpoolFullError) and self.is_out()):
                raise
            return act()

    def lay(self) -> bool:
        """Create the reserve if it is missing and the disk has twice its size free. Returns whether the
        reserve exists now.
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
                _make_piece(self._folder / f"{number:02}", self.size() // _PIECES)
            sync_folder(self._folder)
        except OSError:  # Another program took the room, or there is a quota: the rest is not for us, either.
            self._again_at = self._monotonic() + _PAUSE_SECONDS
            self.release(SpoolFullError())
            if is_first:
                with suppress(OSError):
                    self._folder.rmdir()
            return False
        return True

    def size(self) -> int:
        """The octets of the reserve, all of its pieces together.

        Raises:
            OSError: the disk cannot be looked at.
        """
        disk = os.statvfs(self._root)
        return min(_MOST_BYTES, disk.f_blocks * disk.f_frsize // _SHARE)

    def _has_room(self) -> bool:
        disk = os.statvfs(self._root)
        inodes = not disk.f_files or disk.f_favail >= 2 * _PIECES
        return inodes and disk.f_bavail * disk.f_frsize >= 2 * self.size()

    def _is_full(self) -> bool:
        with suppress(OSError):
            disk = os.statvfs(self._root)
            return disk.f_bavail * disk.f_frsize < _NOTHING_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
        return False


def _make_piece(path: Path, size: int) -> None:
    """Make a file whose blocks are allocated on disk. A file of the full size is left as it is."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(handle).st_size < size:
            _take(handle, size)
            os.fsync(handle)
    finally:
        os.close(handle)
    adopt(path)


def _take(handle: int, size: int) -> None:
    """Allocate the blocks; if the file system cannot do that beforehand, they are written."""
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        done = 0
        while done < size:
            done += os.pwrite(handle, bytes(min(1 << 20, size - done)), done)
