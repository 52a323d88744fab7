"""The gauge: how much room the spool has, from a look at the disk at most once a second.

Owns the quotas (bytes, entries, age, free space, free inodes) and the operator's pause of the intake, as the
receiving half asks for them. Never changes anything, and never waits for a writer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import apsw

from relay.config.model import SpoolSection
from relay.errors import SpoolError
from relay.spool.local.errors import translated
from relay.spool.local.layout import Layout
from relay.spool.local.reserve import Reserve
from relay.spool.local.schema import close_database, open_database, query

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
    #: The ballast was given up, and what is free belongs to the mail that is here already.
    ballast_needed: bool
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
        """Whether a mail of this size for so many destinations finds room; yes when nothing can be seen: `put` tells."""
        look = self._recent()
        if look is None:
            return True
        if look.ballast_needed:
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

        Room is for a mail of `largest` octets, too: it must not be refused until others have filled what it lacks.
        """
        self._look = None
        look = self._recent()
        if look is None or not look.finished_entries:
            return False
        limits = self._limits
        most = max(min(limits.max_bytes * _NEAR, limits.max_bytes - largest), limits.max_bytes / 2)
        least = max(limits.min_free_bytes / _NEAR, limits.min_free_bytes + largest)
        return (
            look.ballast_needed
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
            ballast_needed=self._reserve.is_needed(),
            held_bytes=totals["bytes"],
            open_entries=totals["queued"] + totals["leased"] + totals["held"],
            finished_entries=totals["done"],
            oldest_accepted_at=oldest,
            intake_paused=bool(paused),
        )
