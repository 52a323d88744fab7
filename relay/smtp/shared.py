"""The part of a server that every session asks: ids, room, pauses, limits.

Owns that value only. `server` makes it, once for all sessions of a process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.envelope import SpoolId
from relay.smtp.limits import Limiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """One value for all sessions of a process."""

    new_id: Callable[[], SpoolId]
    #: Returns whether a mail of so many octets would find room.
    room: Callable[[int], bool]
    #: Returns whether an operator has paused the intake.
    paused: Callable[[], bool]
    limiter: Limiter
