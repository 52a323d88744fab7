"""The values of a backup: how far it is, and what it was.

Never does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.envelope import SpoolId


class Progress(Protocol):
    """Called as a long work goes on, many times a second at most; may raise to end it."""

    def __call__(self, done: int, total: int, /) -> object:
        """The work so far: `done` of about `total` octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """The facts of a backup, or of one that was restored."""

    #: When it was begun, by the spool's clock: every entry that waits is in doubt from then on.
    at: datetime
    mails: int
    #: Entries that were neither finished nor dead.
    owed: int
    #: The size of the archive.
    octets: int
    #: The mails whose file the spool had lost before: their entries are there, their octets are not.
    lost: tuple[SpoolId, ...] = ()
