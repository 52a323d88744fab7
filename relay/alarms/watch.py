"""The watch: looks at the queue at intervals, sets the metrics of it, and has alarms sent.

Owns when to look, and when room is made, retention is applied and old mail is given up. Decides nothing about
alarms (`model` does) and delivers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay import telemetry
from relay.alarms.model import compare_states
from relay.alarms.quarantine import (
    DIGEST_ENTRIES,
    HOLDS_PER_LOOK,
    build_digest,
    is_digest_due,
    note_holds,
)
from relay.alarms.sender import AlarmMemory, AlarmSender
from relay.config.model import Config
from relay.errors import SpoolError, SpoolFullError, SpoolSickError
from relay.spool.desk import Desk
from relay.spool.interface import Outbox
from relay.spool.model import FAULT_HOURS, Filter, QueueState, State
from relay.vocabulary import Cause

#: Looks between two sweeps of finished mail: retention is counted in days.
_LOOKS_PER_SWEEP = 20
#: Seconds that a sweep lasts at most: looks go on meanwhile, and the next look is followed by its rest.
_SWEEP_SECONDS = 10.0
#: Seconds between two steps in which old mail is given up: a step of 200 entries takes about as long.
_PAUSE_SECONDS = 0.1
#: Seconds between two looks at the free room: peers that got 452 come again in minutes.
_ROOM_SECONDS = 1.0
#: Seconds between two looks at a sick spool: a person and a load balancer wait for its end.
_SICK_SECONDS = 5.0
#: A probe that takes longer means a sick disk, not a busy one.
_PROBE_SECONDS = 30.0


class Watch:
    """The watch over the queue; one in each deliverer."""

    def __init__(
        self,
        *,
        config: Config,
        outbox: Outbox,
        desk: Desk,
        sender: AlarmSender,
        memory: AlarmMemory,
        now: Callable[[], datetime],
        wait: Callable[[float], Awaitable[bool]],
        away: Callable[[], Mapping[str, str]] = dict,
        templates: Callable[[], Mapping[str, str]] = dict,
        missing: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`away` returns the services that are away for everyone, `templates` the routes whose templates
        Connect refuses, and why; `missing` the addresses that their instance does not have.
        """
        self._config = config
        self._outbox = outbox
        self._desk = desk
        self._sender = sender
        self._memory = memory
        self._now = now
        self._wait = wait
        self._away = away
        self._templates = templates
        self._missing = missing
        self._state = QueueState()
        #: The state of the queue as it was last saved.
        self._remembered: QueueState | None = None
        #: True if the last sweep left work to the next.
        self._swept_in_part = False
        #: True if the reserve was released at the last look.
        self._reserve_out = False
        #: The probe that the last look was waiting for.
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_sick(self) -> bool:
        """Returns whether the spool could not be read or written at the last look."""
        return bool(self._state.sick)

    @property
    def clock_step_seconds(self) -> float:
        """The step of the wall clock that was doubted at the last look, in seconds; 0.0 for none."""
        return self._state.clock_step_seconds

    def reload(self, config: Config) -> None:
        """Adopt another configuration from the next look on."""
        self._config = config
        self._sender.reload(config.alarms, hostname=config.hostname)

    async def run(self) -> None:
        """Look again and again until `wait` returns True (stop), once this is the node that delivers."""
        while not self._outbox.leads():
            if await self._wait(_ROOM_SECONDS):
                await self._sender.close()
                return
        # Alarms that were sent before a restart are not sent again; changes since then are.
        self._state = await self._memory.load()
        await self.look()
        looks, waited = 0, 0.0
        while not await self._wait(step := min(_ROOM_SECONDS, self._config.alarms.every_seconds)):
            waited += step
            every = self._config.alarms.every_seconds
            enough = min(every, _SICK_SECONDS) if self.is_sick else every
            await self._remember()
            if not await self.make_room() and waited < enough:
                continue
            await self.look()
            looks, waited = looks + 1, 0.0
            if looks % _LOOKS_PER_SWEEP == 0 or self._swept_in_part:
                await self.sweep()
        await self._sender.close()
        await self._remember()

    async def look(self) -> None:
        """Look once: set the metrics and send the alarms."""
        before, self._state = self._state, await self._look()
        telemetry.queue_seen(self._state)
        alarms = compare_states(before, self._state)
        for alarm in alarms:
            self._sender.tell(alarm)
        if is_digest_due(before, self._state):
            await self._tell_digest()
        await self._remember()

    async def _tell_digest(self) -> None:
        wanted = Filter(states=(State.HELD,), limit=DIGEST_ENTRIES)
        try:
            entries = await asyncio.to_thread(self._desk.select, wanted)
        except SpoolError as exc:
            telemetry.spool_failed(where="watch.digest", why=str(exc))
            return
        hours = self._config.deliver.max_hold_hours
        digest = build_digest(entries, held=self._state.held, max_hold_hours=hours, now=self._now())
        if digest is not None:
            self._sender.tell(digest)

    async def _remember(self) -> None:
        """Save the state once its alarms are sent: those that a restart finds unsent are sent after it."""
        if self._state is not self._remembered and not self._sender.is_telling:
            self._remembered = self._state
            await self._memory.save(self._state)

    async def make_room(self) -> bool:
        """Have the spool make room.

        Returns whether the disk became full, or has room again, since the last look.
        """
        try:
            mails = await self._outbox.make_room()
        except SpoolError:
            return False  # the next look reports what is wrong with the spool
        if mails:
            await self._tell_expired(mails, early=True)
        return await asyncio.to_thread(self._desk.disk_full) != self._reserve_out

    async def sweep(self) -> None:
        """Remove finished mail past its retention, and give up mail that has waited for
        `deliver.max_hold_hours` in any state; nothing while the clock is doubted.

        A sweep that takes too long, and one during which the relay is stopped, leaves the rest to the next.
        """
        clock = asyncio.get_running_loop().time
        ends_at = clock() + _SWEEP_SECONDS
        self._swept_in_part = False

        async def pause(seconds: float) -> bool:
            self._swept_in_part = await self._wait(seconds) or clock() > ends_at
            return self._swept_in_part

        if self._outbox.is_clock_doubted():
            return  # nothing is given up or removed for an age that may not be one
        now = self._now()
        limit = timedelta(hours=self._config.deliver.max_hold_hours)
        detail = (
            f"waited for more than {self._config.deliver.max_hold_hours:g} hours (deliver.max_hold_hours)"
        )
        try:
            # First what a person waits for: it takes no more time than there is such mail.
            after: int | None = 0
            while after is not None:
                aged = await self._outbox.bury_aged(
                    accepted_before=now - limit, reason="too_old", detail=detail, now=now, after=after
                )
                after = aged.after
                for entry in aged.entries:
                    telemetry.delivery_attempted(
                        entry=entry, outcome="buried", reason="too_old", detail=entry.detail, seconds=0.0
                    )
                if after is not None and await pause(_PAUSE_SECONDS):
                    return
            if mails := await self._outbox.expire(now=now, pause=pause):
                await self._tell_expired(mails)
        except SpoolError as exc:
            telemetry.spool_failed(where="watch.sweep", why=str(exc))

    async def _tell_expired(self, mails: int, *, early: bool = False) -> None:
        counts = await asyncio.to_thread(self._desk.counts)
        telemetry.spool_expired(mails=mails, left=counts.get(State.DONE), early=early)

    async def _look(self) -> QueueState:
        """Read the state of the queue.

        While the spool is sick, keep the last state, so that its end repeats no alarm.
        """
        now = self._now()
        try:
            full = await self._probe()
            step, full = await self._look_at_clock(full=full)
            seen = await asyncio.to_thread(self._read, now)
        except SpoolError as exc:
            # While the disk hangs, reading the spool would hang, too.
            hangs = self._probing is not None
            why = str(exc) if hangs else await asyncio.to_thread(self._explain, exc)
            return replace(self._state, sick=why or type(exc).__name__)
        seen = replace(
            seen,
            away=tuple(sorted(self._away().items())),
            templates=tuple(sorted(self._templates().items())),
            missing=tuple(sorted(self._missing().items())),
            clock_step_seconds=step,
        )
        self._reserve_out = seen.disk_full
        return replace(seen, disk_full=seen.disk_full or full)

    async def _look_at_clock(self, *, full: bool) -> tuple[float, bool]:
        """Have the spool look at the clock. Returns the doubted step, and whether the disk is full."""
        try:
            return await self._outbox.look_at_clock(), full
        except SpoolFullError:
            return self._state.clock_step_seconds, True

    def _explain(self, error: SpoolError) -> str:
        """The error in one line: which part of the spool is unfit for use, where that is the cause."""
        return str(self._desk.explain(error)).replace("\n", "; ")

    async def _probe(self) -> bool:
        """Write to the spool: a disk that takes no writes may still answer reads from memory.

        Returns whether the disk is full.
        """
        self._probing = self._probing or asyncio.create_task(self._outbox.probe())
        done, _ = await asyncio.wait({self._probing}, timeout=_PROBE_SECONDS)
        if not done:
            raise SpoolSickError(f"a write has not come to its end within {_PROBE_SECONDS:g} seconds")
        probing, self._probing = self._probing, None
        try:
            probing.result()
        except SpoolFullError:
            return True
        return False

    def _read(self, now: datetime) -> QueueState:
        oldest_at = self._desk.oldest_at()
        counts = self._desk.counts()
        aside = self._desk.aside()
        faults, fault_at = self._desk.originals(
            reasons=[cause for cause in Cause if cause.is_fault], since=now - timedelta(hours=FAULT_HOURS)
        )
        bulk, paused = self._desk.bulk(), self._desk.paused()
        (held, held_at), (dead, dead_at) = aside[State.HELD], aside[State.DEAD]
        oldest_seconds = max((now - oldest_at).total_seconds(), 0.0) if oldest_at else 0.0
        seen = QueueState(
            queued=counts[State.QUEUED],
            leased=counts[State.LEASED],
            held=held,
            dead=dead,
            newest_held=held_at.timestamp() if held_at else 0.0,
            newest_dead=dead_at.timestamp() if dead_at else 0.0,
            not_understood=faults,
            newest_not_understood=fault_at.timestamp() if fault_at else 0.0,
            done=counts.get(State.DONE),
            held_routes=tuple(hold.route for hold in paused.holds),
            standby=paused.standby,
            disk_full=self._desk.disk_full(),
            log_bytes=bulk.log_bytes,
            ledger_rows=bulk.ledger_rows,
            policy_held=self._desk.held_by_policy(),
            oldest_seconds=oldest_seconds,
            overdue=oldest_seconds > self._config.alarms.oldest_minutes * 60,
        )
        return note_holds(self._state, seen, self._read_holds(seen), now=now)

    def _read_holds(self, seen: QueueState) -> Sequence[tuple[datetime, str]]:
        """The next holds that were not looked at; none where the last hold was."""
        after = self._state.held_seen
        if seen.newest_held <= after:
            return ()
        # What was remembered may be no instant at all: then all holds are looked at.
        since = datetime.fromtimestamp(after, UTC) if 0 < after < seen.newest_held else None
        return self._desk.holds_after(since, limit=HOLDS_PER_LOOK)
