"""The house: what all sessions of a process share, and ask about.

Owns that value only; the station makes it, once for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.envelope import SpoolId
from relay.smtp.limits import Limiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What every session of a process asks about: one value for all of them."""

    new_id: Callable[[], SpoolId]
    #: Whether a mail of so many octets would find room.
    room: Callable[[int], bool]
    #: Whether an operator has paused the intake.
    paused: Callable[[], bool]
    limiter: Limiter
