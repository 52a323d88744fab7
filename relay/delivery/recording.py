"""The recording of outcomes: the step from the outcome of an attempt to the entry's next state.

Owns that step. Decides nothing by itself: `retry` does. Never delivers anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import assert_never

from relay.config.model import Deliver
from relay.delivery.holds import RouteHolds
from relay.delivery.lane import LaneQueue
from relay.delivery.outcome import Delivered, Dropped, Failed, Held, Outcome, Postponed, Recorded
from relay.delivery.proven import ProvenAddresses, tell_unknown
from relay.delivery.retry import AlreadyThere, Bury, HoldEntry, HoldRoute, Retry, decide_failure
from relay.errors import FailureClass
from relay.spool.doubt import is_void
from relay.spool.interface import Outbox
from relay.spool.model import Entry

#: Failures that Connect reports only after it has let the request in, so that the route works. A time-out or
#: a 429 says nothing about the configuration.
_OF_THE_MAIL = frozenset({FailureClass.PAYLOAD, FailureClass.CAPACITY, FailureClass.CONFLICT})


class Recorder:
    """The writer of outcomes for one runner."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        holds: RouteHolds,
        lane: LaneQueue,
        limits: Callable[[], Deliver],
        now: Callable[[], datetime],
        rng: Random,
    ) -> None:
        """`now` is the spool's clock."""
        self._outbox = outbox
        self._holds = holds
        self._lane = lane
        self._limits = limits
        self._now = now
        self._rng = rng
        self._known = ProvenAddresses()

    def reload(self) -> None:
        """Forget which addresses worked under the configuration before."""
        self._known.forget()

    async def record(self, entry: Entry, outcome: Outcome, delay_seconds: float | None) -> Recorded:
        """Write the outcome to the spool. Returns what was recorded."""
        now = self._now()
        if isinstance(outcome, Postponed):
            return await self._postpone(entry, outcome, now)
        self._lane.end(entry)
        if outcome.shown is not None and self._outbox.is_short():
            outcome = replace(outcome, shown=None)  # the reserve is for the outcomes themselves
        match outcome:
            case Delivered():
                self._known.add(outcome.entry.destination, now=now)
                if not outcome.elsewhere:
                    await self._holds.resume(entry.destination.route)
                await self._outbox.finish(
                    entry,
                    contact_id=outcome.contact_id,
                    shown=outcome.shown,
                    forget=outcome.redacted,
                    now=now,
                )
                return Recorded(
                    entry=outcome.entry,
                    outcome="done",
                    contact_id=outcome.contact_id,
                    adaptations=outcome.adaptations,
                    classification=outcome.classification,
                )
            case Held():
                await self._outbox.hold(
                    entry, reason=outcome.reason, detail=outcome.detail, shown=outcome.shown, now=now
                )
                return Recorded(entry=entry, outcome="held", reason=outcome.reason, detail=outcome.detail)
            case Dropped():
                reason, detail = outcome.reason, outcome.detail
                await self._outbox.finish(
                    entry,
                    contact_id=None,
                    reason=reason,
                    detail=detail,
                    dropped=True,
                    shown=outcome.shown,
                    now=now,
                )
                return Recorded(entry=entry, outcome="done", reason=reason, detail=detail)
            case Failed():
                return await self._record_failure(entry, outcome, delay_seconds, now)
            case _:
                assert_never(outcome)

    async def _postpone(self, entry: Entry, postponed: Postponed, now: datetime) -> Recorded:
        """Put an entry back that waits for a worker. Returns what was recorded."""
        seconds = postponed.seconds
        if seconds is None:
            seconds = self._lane.put_off(entry)
        until = now + timedelta(seconds=seconds)
        reason, detail = postponed.reason, postponed.detail
        await self._outbox.defer(
            entry, until=until, reason=reason, detail=detail, settled=True, begun=False, now=now
        )
        return Recorded(entry=entry, outcome="postponed", reason=reason, detail=detail, until=until)

    async def _record_failure(
        self, entry: Entry, failed: Failed, delay_seconds: float | None, now: datetime
    ) -> Recorded:
        """Write a failure to the spool. Returns what was recorded.

        In an outage `delay_seconds` is set: the entry is put off so long, whatever its age.
        """
        error = failed.error
        shown = failed.shown
        reason, detail, failure = f"{error.service}.{error.code}", error.detail, error.failure
        if self._is_of_the_address(failed, now):
            failure = FailureClass.TEMPORARY
            detail = tell_unknown(failed.entry.destination, detail)
        if failed.elsewhere and failure is FailureClass.CONFIGURATION:
            failure = FailureClass.TEMPORARY  # the route leads to another instance, which it says nothing of
        recorded = partial(Recorded, entry=failed.entry, detail=detail, error=error)
        explained, contact_id = await self._explain(failed)
        decision = (
            decide_failure(
                failure,
                attempt=entry.attempts,
                age_seconds=self._age_seconds(entry, now),
                limits=self._limits(),
                chance=self._rng.random(),
                explained=explained,
            )
            if delay_seconds is None
            else Retry(delay_seconds=delay_seconds)
        )
        if failure in _OF_THE_MAIL and error.service == "connect" and not failed.elsewhere:
            await self._holds.resume(entry.destination.route)
        match decision:
            case AlreadyThere():
                reason = "already_there"
                await self._outbox.finish(
                    entry,
                    contact_id=contact_id,
                    reason=reason,
                    detail=detail,
                    shown=shown,
                    forget=failed.redacted,
                    now=now,
                )
                return recorded(outcome="done", reason=reason)
            case HoldEntry():
                reason = f"{error.service}.{decision.reason}"
                await self._outbox.hold(entry, reason=reason, detail=detail, shown=shown, now=now)
                return recorded(outcome="held", reason=reason)
            case Bury():
                if decision.reason != "payload_refused":
                    # What an operator asks about mail that was given up is why it did not go out.
                    reason, detail = decision.reason, f"{reason}: {detail}"
                await self._outbox.bury(
                    failed.entry,
                    reason=reason,
                    detail=detail,
                    afresh=failure is FailureClass.PAYLOAD,
                    settled=failed.settled,
                    shown=shown,
                    now=now,
                )
                return recorded(outcome="buried", reason=reason)
            case HoldRoute():
                await self._holds.hold(entry.destination.route, reason=reason, detail=detail, now=now)
                until = now + timedelta(seconds=decision.delay_seconds)
            case Retry():
                until = now + timedelta(seconds=decision.delay_seconds)
            case _:
                assert_never(decision)
        await self._outbox.defer(
            failed.entry,
            until=until,
            reason=reason,
            detail=detail,
            rung=failed.entry.rung if failed.entry.rung is not entry.rung else None,
            void=is_void(error, stored=entry.request is not None),
            settled=failed.settled,
            shown=shown,
            now=now,
        )
        return recorded(outcome="deferred", reason=reason, until=until)

    def _age_seconds(self, entry: Entry, now: datetime) -> float:
        """The age for which an entry may be given up: none while the clock is doubted."""
        return 0.0 if self._outbox.is_clock_doubted() else (now - entry.accepted_at).total_seconds()

    async def _explain(self, failed: Failed) -> tuple[bool, str | None]:
        """Look up who used the token of a conflict.

        Returns whether this relay did, and the contact id if it is known.
        """
        entry = failed.entry
        if failed.error.failure is not FailureClass.CONFLICT or entry.token is None:
            return False, None
        remembered, contact_id = await self._outbox.find_token(entry.token)
        return remembered or entry.sent, contact_id

    def _is_of_the_address(self, failed: Failed, now: datetime) -> bool:
        """Returns whether a 404 concerns this address alone: Connect took mail for another of the route."""
        error = failed.error
        if error.service != "connect" or error.code != "ResourceNotFoundException":
            return False
        return self._known.is_alone(failed.entry.destination, now=now)
