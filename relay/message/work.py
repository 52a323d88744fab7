"""The budgets of one mail: what its understanding may cost, and what of that is used up.

Owns time, octets, memory and detections, which a mail shares with all messages within it (docs/parsing.md,
"Bounds"). Never reads a mail; the readers decide what is left out when a budget is used up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.message.model import ParseLimits

#: Octets decoded and hashed for each octet of the mail, before messages within are taken as they stand: a
#: nested message is hashed once for each level.
_WORK_FACTOR = 16
_WORK_FLOOR = 16 << 20
#: Octets of the slowest charset that are decoded in a second.
_SLOWEST = 2 << 20
#: Octets kept decoded in memory for each octet of the mail: multiparts and messages that are encoded as a
#: whole.
_HELD_FACTOR = 2
_HELD_FLOOR = 16 << 20


@dataclass(slots=True, kw_only=True)
class Work:
    """The work done for one mail, and its defects; shared with the messages within it."""

    limits: ParseLimits
    clock: Callable[[], float] | None
    size: int
    parts: int = 0
    octets: int = 0
    detections: int = 0
    held: int = 0
    deadline: float = 0.0
    #: Octets of bodies that are decoded even when the time is used up.
    grace: int = 64 << 10

    def __post_init__(self) -> None:
        if self.clock is not None:
            self.deadline = self.clock() + self.limits.budget_seconds

    def late(self) -> bool:
        """Returns whether the time is used up."""
        return self.clock is not None and self.clock() > self.deadline

    def tired(self) -> bool:
        """Returns whether so much was decoded that messages within are no longer opened."""
        return self.octets > self.size * _WORK_FACTOR + _WORK_FLOOR

    def may_hold(self, octets: int) -> bool:
        """Returns whether so many more decoded octets may be kept in memory; if so, counts them."""
        if self.held + octets > self.size * _HELD_FACTOR + _HELD_FLOOR:
            return False
        self.held += octets
        return True

    def affordable(self, octets: int) -> int:
        """The octets of a body, at most `octets`, that can be decoded in the time left."""
        if self.clock is None:
            return octets
        room = int((self.deadline - self.clock()) * _SLOWEST)
        if room >= octets:
            return octets
        share = min(octets, max(room, self.grace))
        self.grace = max(0, self.grace - share)
        return share

    def may_detect(self) -> bool:
        """Returns whether one more charset may be guessed by statistics, which is slow; if so, counts it."""
        self.detections += 1
        return self.detections <= 20 and not self.late()
