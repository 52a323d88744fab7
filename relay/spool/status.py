"""The state of a fleet, as `relay fleet status` tells it.

Owns the facts. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.spool.model import Paused, State
from relay.spool.nodes import Beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The record of the node that delivers, or did last."""

    node: str
    epoch: int
    #: Seconds since its last renewal.
    age_seconds: float
    #: True if the node gave it back.
    is_released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """One look at a fleet."""

    table: str
    #: The present instant by the clock of AWS.
    now: datetime
    #: None if no node has ever delivered.
    leader: Leader | None
    #: How long a silent leader keeps the lead.
    lease_seconds: float
    beats: tuple[Beat, ...]
    #: The entries that are not finished, by state.
    owed: Mapping[State, int]
    oldest_at: datetime | None
    paused: Paused

    @property
    def units_a_second(self) -> tuple[float, float]:
        """The capacity that all processes used when they told of it last, reading and writing, without those
        that are silent.
        """
        told = [beat.units_a_second for beat in self.beats if not beat.is_silent(self.now)]
        return sum(read for read, _ in told), sum(written for _, written in told)

    @property
    def is_led(self) -> bool:
        """Returns whether a node delivers, as far as a look can tell."""
        return (
            self.leader is not None
            and not self.leader.is_released
            and self.leader.age_seconds < 3 * self.lease_seconds
        )
