"""The feed: what became of each mail, as it waits to be told to a receiver outside (docs/events.md).

Owns the values, and the part of the spool's interface about them. An event is written in the transaction of
the outcome that it tells, and stays until the receiver has taken it: it is told at least once. No address is
among its facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol


class FeedKind(StrEnum):
    """The kind of an event, as its document spells it."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    HELD = "held"
    DEAD = "dead"
    #: A policy dropped it.
    DROPPED = "dropped"
    #: A policy refused it in the session.
    REFUSED = "refused"


class Refusal(NamedTuple):
    """A mail that the policy of a route refused in the session."""

    at: datetime
    spool_id: str
    route: str
    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """An event that waits."""

    #: Events are numbered as they are written.
    number: int
    at: datetime
    kind: FeedKind
    spool_id: str
    #: The number of the entry; 0 for a refused mail, which has none.
    entry: int
    route: str
    instance_id: str
    #: None where the mail had none, or is not kept any more.
    message_id: str | None
    contact_id: str | None
    reason: str
    #: The tries that failed.
    tries: int


class FeedOutbox(Protocol):
    """The deliverer's part of the feed. A fleet keeps none (docs/events.md)."""

    async def keep_feed(self, *, wanted: bool) -> None:
        """Write events from now on; or none any more, and forget those that wait."""

    async def pending_feed(self, *, now: datetime, limit: int) -> Sequence[FeedEvent]:
        """The events that are due, the oldest first."""

    async def settle_feed(
        self, *, sent: Sequence[int], failed: Sequence[int], max_tries: int, now: datetime
    ) -> int:
        """Forget the events that were taken, and put those off that were not: from seconds to an hour. One
        that failed `max_tries` times is given up, and kept for a person. Returns how many were given up.
        """

    async def measure_feed(self) -> tuple[int, int]:
        """The number of events that wait, and of those that were given up."""
