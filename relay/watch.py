"""The watch: looks at the queue now and then, keeps the metrics of it, and has alarms told.

Owns when to look, and what of room, retention and age is carried out meanwhile. Decides nothing about alarms
(`standing` does) and delivers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from relay import telemetry
from relay.alarms import AlarmMemory, AlarmSender
from relay.config.model import Config
from relay.errors import SpoolError
from relay.spool.base import Desk, Outbox
from relay.spool.model import State
from relay.standing import Standing, compare_standings

#: A sweep of what is finished every so many looks: retention is counted in days.
_LOOKS_PER_SWEEP = 20
#: Between two looks at the room that is left: senders who are put off come again in minutes.
_ROOM_SECONDS = 1.0


class Watch:
    """One in each deliverer."""

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
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._desk = desk
        self._sender = sender
        self._memory = memory
        self._now = now
        self._wait = wait
        self._standing = Standing()

    async def run(self) -> None:
        """Look again and again until `wait` answers True (stop)."""
        # What a person was told of before a restart need not wake them again; what came about meanwhile must.
        self._standing = await asyncio.to_thread(self._memory.load)
        await self.look()
        every = self._config.alarms.every_seconds
        step = min(_ROOM_SECONDS, every)
        looks, waited = 0, 0.0
        while not await self._wait(step):
            waited += step
            if not await self.make_room() and waited < every:
                continue
            await self.look()
            looks, waited = looks + 1, 0.0
            if looks % _LOOKS_PER_SWEEP == 0:
                await self.sweep()

    async def look(self) -> None:
        """One look, its metrics and its alarms."""
        before, self._standing = self._standing, await self._look()
        telemetry.queue_seen(self._standing)
        alarms = compare_standings(before, self._standing, oldest_minutes=self._config.alarms.oldest_minutes)
        # Side by side: a webhook that hangs costs the watch, and a stop, one time-out and not one for each route.
        await asyncio.gather(*(self._sender.tell(alarm) for alarm in alarms))
        await asyncio.to_thread(self._memory.save, self._standing)

    async def make_room(self) -> bool:
        """Have the spool keep its room; whether the disk ran full since the last look, or has room again."""
        try:
            mails = await self._outbox.make_room()
        except SpoolError:
            return False  # what is wrong with the spool, the next look tells
        if mails:
            telemetry.spool_expired(mails=mails, early=True)
        return await asyncio.to_thread(self._desk.disk_full) != self._standing.disk_full

    async def sweep(self) -> None:
        """Remove finished mail past its retention; give up what waited past the last limit, whatever its state."""
        now = self._now()
        limit = timedelta(hours=self._config.deliver.max_hold_hours)
        detail = (
            f"waited for more than {self._config.deliver.max_hold_hours:g} hours (deliver.max_hold_hours)"
        )
        try:
            mails = await self._outbox.expire(now=now)
            buried = await self._outbox.bury_aged(
                accepted_before=now - limit, reason="too_old", detail=detail, now=now
            )
        except SpoolError:
            telemetry.fault_caught(where="watch.sweep")
            return
        if mails:
            telemetry.spool_expired(mails=mails)
        for entry in buried:
            telemetry.delivery_attempted(
                entry=entry, outcome="buried", reason="too_old", detail=detail, seconds=0.0
            )

    async def _look(self) -> Standing:
        now = self._now()
        try:
            return await asyncio.to_thread(self._read, now)
        except SpoolError as exc:
            return Standing(sick=str(exc) or type(exc).__name__)

    def _read(self, now: datetime) -> Standing:
        oldest = [
            backlog.oldest_at for backlog in self._desk.backlog(limits=(), now=now) if backlog.oldest_at
        ]
        counts = self._desk.counts()
        aside = self._desk.aside()
        (held, held_at), (dead, dead_at) = aside[State.HELD], aside[State.DEAD]
        return Standing(
            queued=counts[State.QUEUED],
            leased=counts[State.LEASED],
            held=held,
            dead=dead,
            newest_held=held_at.timestamp() if held_at else 0.0,
            newest_dead=dead_at.timestamp() if dead_at else 0.0,
            done=counts[State.DONE],
            held_routes=tuple(hold.route for hold in self._desk.paused().holds),
            disk_full=self._desk.disk_full(),
            oldest_seconds=max(((now - at).total_seconds() for at in oldest), default=0.0),
        )
