"""What the understanding of one mail may cost, and what of it is used up.

Owns the budgets of time, octets, memory and detections that a mail shares with all messages within it (docs/parsing.md,
bounds). Never reads a mail; what is left out when a budget is used up the readers decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.message.model import ParseLimits

#: Octets decoded and hashed for each octet of the mail, before messages within are taken as they stand:
#: messages nested in messages are hashed once for each level.
_WORK_FACTOR = 16
_WORK_FLOOR = 16 << 20
#: Octets of the slowest charset that a second decodes.
_SLOWEST = 2 << 20
#: Octets kept in memory decoded for each octet of the mail: what is encoded as a whole, at level upon level.
_HELD_FACTOR = 2
_HELD_FLOOR = 16 << 20


@dataclass(slots=True, kw_only=True)
class Work:
    """What the understanding of one mail has used up, and what was wrong; shared with the messages within it."""

    limits: ParseLimits
    clock: Callable[[], float] | None
    size: int
    parts: int = 0
    octets: int = 0
    detections: int = 0
    held: int = 0
    deadline: float = 0.0
    #: Octets of bodies that are decoded all the same when the time is used up.
    grace: int = 64 << 10

    def __post_init__(self) -> None:
        if self.clock is not None:
            self.deadline = self.clock() + self.limits.budget_seconds

    def late(self) -> bool:
        """Whether the time is used up."""
        return self.clock is not None and self.clock() > self.deadline

    def tired(self) -> bool:
        """Whether so much was decoded that messages within are no longer opened."""
        return self.octets > self.size * _WORK_FACTOR + _WORK_FLOOR

    def may_hold(self, octets: int) -> bool:
        """Returns whether so many decoded octets more may be kept in memory; counts them when they may."""
        if self.held + octets > self.size * _HELD_FACTOR + _HELD_FLOOR:
            return False
        self.held += octets
        return True

    def affordable(self, octets: int) -> int:
        """The octets of a body that the time left suffices to decode, of so many that there are."""
        if self.clock is None:
            return octets
        room = int((self.deadline - self.clock()) * _SLOWEST)
        if room >= octets:
            return octets
        share = min(octets, max(room, self.grace))
        self.grace = max(0, self.grace - share)
        return share

    def may_detect(self) -> bool:
        """Whether one more charset may be guessed by statistics, which is slow."""
        self.detections += 1
        return self.detections <= 20 and not self.late()
