"""The services that deliveries depend on: the log and the alarm of an outage, and the entries it keeps back
or recalls.

Owns the step from outcomes to outages (`outage` decides), and the recall of entries at their end. Never
claims, and never changes the outcome of an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from relay import telemetry
from relay.config.model import Deliver
from relay.delivery.outage import CREDENTIALS, Outages
from relay.delivery.outcome import Delivered, Failed, Outcome
from relay.delivery.reach import Reached
from relay.errors import RemoteError, SpoolError
from relay.spool.interface import Outbox
from relay.spool.model import Entry


class Services:
    """The services as one runner knows them."""

    def __init__(
        self,
        outbox: Outbox,
        limits: Deliver,
        *,
        now: Callable[[], datetime],
        steady: Callable[[], float],
    ) -> None:
        """`now` is the wall clock; `steady` is a clock in seconds that nobody can set."""
        self._outbox = outbox
        self._outages = Outages(limits)
        #: The way to Connect, as attempts and questions show it.
        self.reached = Reached()
        self._now = now
        self._steady = steady

    @property
    def away(self) -> Mapping[str, str]:
        """The services that are away for everyone, and why."""
        return self._outages.away

    def reload(self, limits: Deliver) -> None:
        """Adopt other limits. Services that are away are tried again at once."""
        self._outages.reload(limits)

    def places(self, free: int) -> int:
        """The number of entries that may be claimed into `free` places."""
        return self._outages.places(free, now=self._steady())

    def claimed(self, entry: Entry) -> None:
        """Record a claim: while a service is away, this entry tries for all."""
        self._outages.claimed(entry.reference, now=self._steady())

    def wait_seconds(self) -> float:
        """The seconds until an entry may be claimed; 0.0 when one may be claimed now."""
        return self._outages.wait_seconds(self._steady())

    async def judge(self, entry: Entry, outcome: Outcome, *, begun_at: float) -> float | None:
        """Learn from an attempt.

        Returns the seconds to put its entry off for if it failed by an outage, else None.
        """
        answered: frozenset[str] = frozenset()
        recalled: tuple[str, ...] = ()
        if isinstance(outcome, Delivered | Failed):
            did = {"connect"} if isinstance(outcome, Delivered) else set()
            answered = frozenset(did | ({"s3"} if outcome.stored else set())) - outcome.apart
            recalled = outcome.recalled
        self.reached.judge(outcome, begun_at=begun_at, now=self._steady())
        with self._telling():
            judgement = self._outages.judge(
                entry.reference,
                answered=answered,
                error=_shared_error(outcome),
                begun_at=begun_at,
                now=self._steady(),
            )
        await self._recall(judgement.recalled + recalled)
        if judgement.delay_seconds is None and isinstance(outcome, Failed):
            return outcome.delay_seconds
        return judgement.delay_seconds

    async def heed_credentials(self, why: str) -> None:
        """Record that credentials cannot be had, and why, or that they can ("")."""
        recalled: tuple[str, ...] = ()
        with self._telling():
            if why:
                self._outages.lost(CREDENTIALS, why=why, now=self._steady())
            else:
                recalled = self._outages.passed(CREDENTIALS, now=self._steady())
        await self._recall(recalled)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        before = self.away
        yield
        for service in before.keys() ^ self.away.keys():
            telemetry.service_moved(service=service, why=self.away.get(service, ""))

    async def _recall(self, references: tuple[str, ...]) -> None:
        """Make the entries due that an outage has put off. If the spool fails, their own delay ends later."""
        if not references:
            return
        try:
            await self._outbox.recall(references, now=self._now())
        except SpoolError as exc:
            telemetry.spool_failed(where="services.recall", why=str(exc))


def _shared_error(outcome: Outcome) -> RemoteError | None:
    """The error of an attempt, as far as it says something of a service that all mail needs.

    A service of some instances only may be away for them alone; credentials are everyone's.
    """
    if not isinstance(outcome, Failed):
        return None
    error = outcome.error
    return None if error.service in outcome.apart and error.code != CREDENTIALS else error
