"""The nodes that share a spool: what each tells of itself, and when one that cannot reach Connect gives the
lead to another.

Owns *beat*, the sign of life of one process of a node, and the rule of resigning. Never does I/O: instants
are the spool's clock's, which all nodes share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Seconds between two beats of a process of which nothing changes: 12 writes an hour.
BEAT_SECONDS = 300.0
#: The age up to which a beat says how things are: two looks of a node that was asked, and a lost answer.
FRESH_SECONDS = 120.0
#: Seconds for which every connection to Connect must have failed before the lead is given away: an outage of
#: Connect itself is over by then more often than not, and nobody else could do better in it.
RESIGN_SECONDS = 180.0
#: The process of a node that delivers, or stands by for it; its receivers have a number.
DELIVERER = "deliverer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The way of a node to Connect: any answer shows that it is reached, a refusal, too."""

    #: None if nothing was asked lately.
    is_reached: bool | None = None
    #: Seconds since every connection has failed; 0.0 while one works.
    failing_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The last sign of life of one process of a node."""

    node: str
    #: "deliverer", or "receiver-0" and so on.
    process: str
    #: The version of the relay.
    version: str
    started_at: datetime
    at: datetime
    #: Mails accepted in the `seconds` before; 0 for a deliverer.
    accepted: int = 0
    seconds: float = 0.0
    #: Capacity units of DynamoDB that the process has used in those `seconds`.
    read_units: float = 0.0
    written_units: float = 0.0
    #: True if Connect is reached from there; None if nobody has asked, and for receivers.
    connect: bool | None = None
    #: True for the process that delivers.
    leads: bool = False

    @property
    def accepted_a_minute(self) -> float:
        """The rate of a receiver."""
        return 60.0 * self.accepted / self.seconds if self.seconds > 0 else 0.0

    @property
    def units_a_second(self) -> tuple[float, float]:
        """The capacity that it uses, reading and writing."""
        if self.seconds <= 0:
            return 0.0, 0.0
        return self.read_units / self.seconds, self.written_units / self.seconds

    def is_fresh(self, now: datetime, *, seconds: float = FRESH_SECONDS) -> bool:
        """Returns whether it says how things are; one from a time to come was written by another clock."""
        return now - self.at <= timedelta(seconds=seconds)

    def is_silent(self, now: datetime) -> bool:
        """Returns whether two beats are missing: the process is dead, or cut off from the table."""
        return not self.is_fresh(now, seconds=2 * BEAT_SECONDS + FRESH_SECONDS)


def find_heir(beats: Iterable[Beat], *, node: str, reach: Reach, now: datetime) -> str | None:
    """The node to which `node`, which leads, must leave the lead: its own connections have failed for three
    minutes, and from the other one Connect is reached. Returns None if it must not: while nobody reaches
    Connect, another leader would deliver no more.
    """
    if reach.is_reached is not False or reach.failing_seconds < RESIGN_SECONDS:
        return None
    able = (
        each
        for each in beats
        if each.process == DELIVERER and each.node != node and each.connect is True and each.is_fresh(now)
    )
    return next((each.node for each in able), None)


def is_reach_wanted(beats: Iterable[Beat], *, node: str, now: datetime) -> bool:
    """Returns whether the leader, another node, says that it does not reach Connect, and the last word of
    `node` on that is none or growing old.
    """
    known = {each.node: each for each in beats if each.process == DELIVERER}
    others = (each for name, each in known.items() if name != node and not each.is_silent(now))
    if not any(each.leads and each.connect is False for each in others):
        return False
    own = known.get(node)
    return own is None or own.connect is None or not own.is_fresh(now, seconds=FRESH_SECONDS / 2)
