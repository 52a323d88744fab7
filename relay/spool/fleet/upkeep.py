"""The upkeep of a fleet's spool by whoever delivers: holds of routes, counts, alarms, probes.

Owns the methods of an `Outbox` that need no lead and know of no entry under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from relay.spool.audit import Audited
from relay.spool.feed import FeedEvent
from relay.spool.fleet import aging, audit, control, days, janitor, memory, tables
from relay.spool.fleet.intake import probe
from relay.spool.fleet.store import Store
from relay.spool.interface import Outbox, Pause
from relay.spool.model import DayCount, Paused, PolicyCount


class Upkeep(Outbox):
    """The part of the `Outbox` that is not about attempts."""

    def __init__(self, store: Store, *, retain_days: float, by_route: Mapping[str, float]) -> None:
        self._store = store
        self._retained = timedelta(days=retain_days)
        self._by_route = {route: timedelta(days=days) for route, days in by_route.items()}

    async def hold_route(self, route: str, *, reason: str, detail: str, now: datetime) -> bool:
        return await control.hold_route(self._store, route, reason=reason, detail=detail, now=now)

    async def resume_route(self, route: str) -> bool:
        return await control.resume_route(self._store, route)

    async def resume_unused(self, route: str) -> bool:
        return False if await aging.is_used(self._store, route) else await self.resume_route(route)

    async def paused(self) -> Paused:
        return (await control.look(self._store)).paused

    async def keep_feed(self, *, wanted: bool) -> None:
        """The configuration refuses [events] in a fleet, so there is nothing to keep."""

    async def pending_feed(self, *, now: datetime, limit: int) -> Sequence[FeedEvent]:  # noqa: ARG002 - as above
        return ()

    async def settle_feed(
        self,
        *,
        sent: Sequence[int],  # noqa: ARG002 - as above
        failed: Sequence[int],  # noqa: ARG002 - as above
        max_tries: int,  # noqa: ARG002 - as above
        now: datetime,  # noqa: ARG002 - as above
    ) -> int:
        return 0

    async def measure_feed(self) -> tuple[int, int]:
        return 0, 0

    async def add_counts(self, counts: Sequence[PolicyCount | DayCount]) -> None:
        await days.add_counts(self._store, counts)

    async def expire(self, *, now: datetime, pause: Pause | None = None) -> int:
        if not self.leads():
            return 0

        async def sleep(seconds: float) -> bool:
            await asyncio.sleep(seconds)
            return False

        return await janitor.sweep(
            self._store, now=now, retained=self._retained, by_route=self._by_route, pause=pause or sleep
        )

    async def untold_actions(self) -> Sequence[Audited]:
        return await audit.read_untold(self._store)

    async def note_told(self, number: int) -> None:
        await audit.note_told(self._store, number)

    async def probe(self) -> None:
        await probe(self._store)

    def is_short(self) -> bool:
        return False

    async def make_room(self) -> int:
        return 0  # S3 has no end

    async def load_alarms(self) -> str:
        return await memory.load_text(self._store, tables.ALARMS)

    async def save_alarms(self, text: str) -> bool:
        return await memory.save_text(self._store, tables.ALARMS, text)
