"""The runner: claims due entries, and has them delivered and their outcomes recorded.

Owns how many deliveries go on at once. An exception that no code expects is handled like a temporary failure,
so that no entry is lost by it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from random import Random

from relay import telemetry
from relay.config.model import Deliver
from relay.delivery.attempt import Delivery
from relay.delivery.clock import ClockSteps
from relay.delivery.holds import RouteHolds
from relay.delivery.lane import LaneQueue
from relay.delivery.lease import keep_lease
from relay.delivery.outcome import Delivered, Failed, Held, Outcome, Postponed, tell
from relay.delivery.recording import Recorder
from relay.delivery.services import Services
from relay.errors import FailureClass, LeaseLostError, RemoteError, SpoolCorruptError, SpoolError
from relay.faults import fault_point
from relay.spool.interface import Outbox, Wake
from relay.spool.model import Entry
from relay.timing import is_set_within
from relay.understand.pool import LANE_PLACES

#: Pause after the spool itself failed: long enough not to spin, short enough to be back when the disk is.
_SPOOL_PAUSE_SECONDS = 2.0
#: Pause at most while mails wait for the slow lane, which gets free without a word.
_LANE_PAUSE_SECONDS = 1.0


class Runner:
    """The loop of the delivering half; one in each deliverer."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        delivery: Delivery,
        wake: Wake,
        limits: Deliver,
        now: Callable[[], datetime],
        steady: Callable[[], float],
        rng: Random,
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        """`now` is the spool's clock, `wall` the wall clock, by default the same; `steady` is a clock in
        seconds that nobody can set.
        """
        self._outbox = outbox
        self._delivery = delivery
        self._wake = wake
        self._limits = limits
        self._now = now
        self._steady = steady
        self._wall = wall or now
        self._running: dict[asyncio.Task[None], Entry] = {}
        self._holds = RouteHolds(outbox, limits)
        self._lane = LaneQueue()
        self._recorder = Recorder(
            outbox=outbox, holds=self._holds, lane=self._lane, limits=lambda: self._limits, now=now, rng=rng
        )
        self.services = Services(outbox, limits, now=now, steady=steady)
        self._clock_steps = ClockSteps()
        #: The reason why the last claim failed; "" if it did not.
        self._trouble = ""
        self._stopping = asyncio.Event()
        #: Set while `run` is not at work, so that no claim is in flight.
        self._rests = asyncio.Event()
        self._rests.set()

    async def run(self) -> None:
        """Deliver until `stop`, which waits for the attempts that are under way then."""
        self._rests.clear()
        waiting = asyncio.create_task(self._stopping.wait())
        try:
            while not self.is_stopping:
                if await self._claim():
                    continue
                nudge = asyncio.create_task(self._wake.wait(await self._idle_seconds()))
                await asyncio.wait({nudge, waiting, *self._running}, return_when=asyncio.FIRST_COMPLETED)
                nudge.cancel()
        finally:
            waiting.cancel()
            self._rests.set()

    @property
    def away(self) -> Mapping[str, str]:
        """The services that are away, for everyone or for some instances, and why."""
        return {**self.services.away, **self._delivery.away}

    @property
    def is_stopping(self) -> bool:
        """Returns whether it was told to stop."""
        return self._stopping.is_set()

    async def stop(self, seconds: float) -> None:
        """Stop claiming, and let attempts end within so many seconds. Others are ended, and their entries go
        back to the queue: nothing stays leased.
        """
        self._stopping.set()
        await self._rests.wait()  # a claim that is in flight begins attempts, too
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            await self._outbox.give_back(now=self._now())
        except SpoolError as exc:  # the next start finds them
            telemetry.spool_failed(where="runner.stop", why=str(exc))

    def reload(self, delivery: Delivery, limits: Deliver) -> None:
        """Deliver by another configuration from the next entry on. Held routes are probed at once."""
        self._delivery = delivery
        self._limits = limits
        self._recorder.reload()
        self.services.reload(limits)
        self._holds.reload(limits, now=self._now())

    def _heed_clock(self, now: datetime) -> None:
        """Tell that somebody has set the wall clock, and probe held routes at once: AWS refuses what a wrong
        clock signs, which holds a route.
        """
        step = self._clock_steps.see(wall=self._wall(), steady=self._steady())
        if step:
            telemetry.clock_moved(seconds=step.total_seconds())
            self._holds.probe_now(now)

    async def _claim(self) -> int:
        """Claim due entries while there are places. Returns how many were claimed."""
        free = self.services.places(self._room())
        if free <= 0:
            return 0
        try:
            entries = await self._take(free, self._now())
        except SpoolError as exc:
            if (why := str(exc)) != self._trouble:  # logged once, not with each try
                self._trouble = why
                telemetry.spool_failed(where="runner.claim", why=why)
            await is_set_within(self._stopping, _SPOOL_PAUSE_SECONDS)
            return 0
        self._trouble = ""
        if self.is_stopping:  # meanwhile
            await self._put_back(entries)
            return 0
        for entry in entries:
            self.services.claimed(entry)
            task = asyncio.create_task(telemetry.attempt_traced(entry, self._attempt(entry)))
            self._running[task] = entry
            task.add_done_callback(self._ended)
        return len(entries)

    async def _put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries back whose attempts did not begin. If the spool fails, `stop` gives them back."""
        with suppress(SpoolError):
            for entry in entries:
                reason, detail, now = entry.reason, entry.detail, self._now()
                await self._outbox.defer(entry, until=now, reason=reason, detail=detail, begun=False, now=now)

    def _room(self) -> int:
        """The number of attempts that may still begin. A mail that is slow to read takes no place."""
        return self._limits.concurrency + self._delivery.aside - len(self._running)

    async def _take(self, free: int, now: datetime) -> Sequence[Entry]:
        """Lease at most `free` entries: due ones, and probes of held routes."""
        self._heed_clock(now)
        await self._holds.learn(now)
        probes = await self._holds.find_probes(now)
        await self._call_slow(now)
        entries = await self._outbox.claim(
            now=now, limit=free, lease_seconds=self._limits.lease_seconds, probes=probes
        )
        taken = {entry.reference for entry in entries}
        self._holds.claimed(taken, is_full=len(entries) == free)
        return entries

    async def _call_slow(self, now: datetime) -> None:
        """Make the slow mail due whose turn it is, if the slow lane has a place."""
        if self._delivery.aside < LANE_PLACES and (reference := self._lane.call(now=self._steady())):
            await self._outbox.recall([reference], now=now)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]

    async def _idle_seconds(self) -> float:
        """The seconds to sleep if nobody rings: until the next entry or probe is due, at most one poll."""
        most = min(self._limits.poll_seconds, _LANE_PAUSE_SECONDS if self._lane else math.inf)
        if self._room() <= 0:
            return most
        if seconds := self.services.wait_seconds():
            return min(max(seconds, 0.01), most)
        try:
            due_at = await self._outbox.next_due_at()
        except SpoolError:
            return _SPOOL_PAUSE_SECONDS
        soonest = min((at for at in (due_at, self._holds.next_probe_at()) if at is not None), default=None)
        if soonest is None:
            return most
        return min(max((soonest - self._now()).total_seconds(), 0.01), most)

    async def _attempt(self, entry: Entry) -> None:
        """Deliver one entry and record the outcome."""
        loop = asyncio.get_running_loop()
        begun, begun_at = loop.time(), self._steady()
        fault_point("runner.claimed")
        keeping = asyncio.create_task(
            keep_lease(self._outbox, entry, seconds=lambda: self._limits.lease_seconds, now=self._now)
        )
        try:
            outcome = await self._outcome(entry)
            shared = await self.services.judge(entry, outcome, begun_at=begun_at)
            recorded = await self._recorder.record(entry, outcome, shared)
        except LeaseLostError:
            telemetry.delivery_attempted(
                entry=entry, outcome="lost", reason="lease_lost", detail="", seconds=loop.time() - begun
            )
            return
        except SpoolError as exc:
            # The outcome could not be written. The lease will end, and the same request will be sent again.
            telemetry.spool_failed(where="runner.record", why=str(exc), spool_id=entry.spool_id)
            return
        finally:
            keeping.cancel()
        now = self._now()
        tell(recorded, seconds=loop.time() - begun, now=now, ahead=self._wall() - now)
        if isinstance(outcome, Delivered):
            waited = now - entry.accepted_at
            telemetry.contact_made(route=entry.destination.route, seconds=waited.total_seconds())

    async def _outcome(self, entry: Entry) -> Outcome:
        if not self._lane.may_begin(entry):
            return Postponed(detail="other slow mails are before it")
        try:
            return await self._delivery.deliver(entry)
        except SpoolCorruptError as exc:
            return Held(reason="spool_corrupt", detail=str(exc))
        except SpoolError:
            raise
        except Exception as exc:  # noqa: BLE001 - an unknown fault is a temporary one, and logged
            telemetry.fault_caught(where="runner.deliver", spool_id=entry.spool_id)
            fault = RemoteError(
                service="relay", failure=FailureClass.TEMPORARY, code="fault", detail=f"{type(exc).__name__}"
            )
            return Failed(error=fault, entry=entry)
