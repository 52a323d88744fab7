"""The sending of events: from the spool's feed to the receiver, until each is taken or given up.

Owns the loop. It stands beside the deliveries and shares nothing with them but the spool, so a receiver that
is slow or away keeps no mail waiting. An event is forgotten after the receiver has taken it: if the process
ends between the two, the event is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from relay import telemetry
from relay.alarms.webhook import send_post
from relay.aws.events import MOST_ENTRIES, Bus, BusEvent, open_bus
from relay.config import Config
from relay.errors import ConfigError, SpoolError
from relay.events.document import build_document, build_event_post
from relay.spool.feed import FeedEvent
from relay.spool.interface import Outbox

#: Seconds between two looks at a feed in which nothing was due, and between two measurements.
_LOOK_SECONDS = 1.0
_MEASURE_SECONDS = 15.0
#: Pauses after a batch of which nothing was taken, doubling from the least to the longest.
_LEAST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_SECONDS = 10.0


class EventFeed:
    """The feed of one deliverer."""

    def __init__(
        self,
        config: Callable[[], Config],
        outbox: Outbox,
        *,
        wall: Callable[[], datetime],
        steady: Callable[[], float],
        wait: Callable[[float], Awaitable[bool]],
    ) -> None:
        """`config` is asked before each batch, `wall` for signatures; `wait` returns True if all must end."""
        self._config = config
        self._outbox = outbox
        self._wall = wall
        self._steady = steady
        self._wait = wait
        self._kept: bool | None = None
        self._bus: Bus | None = None
        self._bus_name = ""
        self._stack = AsyncExitStack()
        self._measured_at: float | None = None

    async def run(self) -> None:
        """Send what is due, until told to end."""
        pause, idle = 0.0, _LEAST_PAUSE_SECONDS
        async with self._stack:
            while not await self._wait(pause):
                try:
                    taken, count = await self._step()
                except SpoolError as exc:
                    telemetry.spool_failed(where="events.feed", why=str(exc))
                    taken, count = 0, 0
                if count and not taken:
                    pause, idle = idle, min(2 * idle, _LONGEST_PAUSE_SECONDS)
                else:
                    pause, idle = (0.0 if count else _LOOK_SECONDS), _LEAST_PAUSE_SECONDS

    async def _step(self) -> tuple[int, int]:
        """Send one batch. Returns how many events were taken, and how many were due."""
        config = self._config()
        if self._kept is not config.events.is_on:
            await self._outbox.keep_feed(wanted=config.events.is_on)
            self._kept = config.events.is_on
        if not config.events.is_on:
            return 0, 0
        events = await self._outbox.pending_feed(now=self._outbox.now(), limit=MOST_ENTRIES)
        if not events:
            await self._measure()
            return 0, 0
        whys = await self._send(events, config)
        failed = [event for event, why in zip(events, whys, strict=True) if why]
        given_up = await self._outbox.settle_feed(
            sent=[event.number for event, why in zip(events, whys, strict=True) if not why],
            failed=[event.number for event in failed],
            max_tries=config.events.max_tries,
            now=self._outbox.now(),
        )
        telemetry.events_told(
            taken=len(events) - len(failed),
            failed=len(failed),
            given_up=given_up,
            why=next(filter(None, whys), ""),
        )
        await self._measure()
        return len(events) - len(failed), len(events)

    async def _send(self, events: Sequence[FeedEvent], config: Config) -> Sequence[str]:
        """Send each event once. Returns for each why it was not taken; "" if it was."""
        if config.events.eventbridge:
            try:
                bus = await self._find_bus(config.events.eventbridge)
            except ConfigError as exc:
                return [str(exc)] * len(events)
            host = config.hostname
            return await bus.put(
                [BusEvent(event.kind, event.at, build_document(event, host=host)) for event in events]
            )
        posts = [
            build_event_post(event, host=config.hostname, key=config.events.webhook_key, sent_at=self._wall())
            for event in events
        ]
        url = config.events.webhook
        answers = await asyncio.gather(*(send_post(url, post, timeout_seconds=_SECONDS) for post in posts))
        return [answer.why for answer in answers]

    async def _find_bus(self, name: str) -> Bus:
        if self._bus is None or name != self._bus_name:
            await self._stack.aclose()
            self._bus, self._bus_name = await self._stack.enter_async_context(open_bus(name)), name
        return self._bus

    async def _measure(self) -> None:
        now = self._steady()
        if self._measured_at is None or now - self._measured_at >= _MEASURE_SECONDS:
            self._measured_at = now
            waiting, given_up = await self._outbox.measure_feed()
            telemetry.feed_measured(waiting=waiting, given_up=given_up)
