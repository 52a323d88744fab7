"""The removal of finished mail and of old records by the deliverer, in small steps.

Owns the order of the steps, and why mail is removed: for its age, or for want of room. `retention` has the
changes. Never removes mail that is owed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import apsw

from relay import telemetry
from relay.config.model import Config
from relay.config.retentions import list_retentions
from relay.spool.interface import Pause
from relay.spool.local import actions, retention
from relay.spool.local.database import query
from relay.spool.local.layout import Layout
from relay.spool.local.raw import remove_raw
from relay.spool.local.retention import Gone, Place
from relay.spool.local.room import Reserve, Room
from relay.spool.local.steps import run_steps
from relay.spool.records import to_microseconds

#: Runs something of the tables, and gives its answer: a change that is on the disk then, or a query.
Run = Callable[[Callable[[apsw.Connection], Any]], Awaitable[Any]]
#: Later than any mail can have been finished, by whatever clock.
_EVER = datetime.max.replace(tzinfo=UTC)


class Expiry:
    """The end of finished mail in one spool."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        reserve: Reserve,
        room: Room,
        *,
        change: Run,
        read: Run,
    ) -> None:
        self._limits = config.spool
        self._largest = config.max_message_bytes
        #: The days of routes with a retention of their own.
        self._own: Mapping[str, float] = list_retentions(config)
        self._layout = layout
        self._reserve = reserve
        self._room = room
        self._change = change
        self._read = read

    async def expire(self, *, now: datetime, pause: Pause | None = None) -> int:
        """Remove what is past its retention. Returns the number of mails."""
        mails = records = 0
        hours = self._limits.duplicate_window_hours
        days = max(self._limits.retain_days, *self._own.values(), 0)

        async def forget() -> bool:
            forget = partial(retention.expire_ledger, now=now, window_hours=hours)
            return bool(await self._change(forget) == retention.STEP)

        async def shorten() -> bool:
            nonlocal records
            shorten = partial(
                retention.shorten_ledger,
                now=now,
                most=self._limits.max_ledger_rows,
                window_hours=hours,
                retain_days=days,
            )
            forgotten = await self._change(shorten)
            records += forgotten
            return bool(forgotten == retention.STEP)

        async def forget_actions() -> bool:
            return bool(await self._change(partial(actions.forget, now=now)) == retention.STEP)

        async def shrink() -> bool:
            return bool(await self._change(retention.give_back))

        mails, stopped = await (self._expire_by_route if self._own else self._expire_all)(now, pause)
        mails += await self.make_room()
        for step in (forget, forget_actions, *([shorten] if self._limits.max_ledger_rows else []), shrink):
            stopped = stopped or await run_steps(step, pause)
        if records:
            telemetry.ledger_shortened(records=records)
        return mails

    async def _expire_all(self, now: datetime, pause: Pause | None) -> tuple[int, bool]:
        """Remove mail past the one retention of all routes. Returns the number of mails, and whether a pause
        ended that before.
        """
        mails = 0
        before = now - timedelta(days=self._limits.retain_days)

        async def remove() -> bool:
            nonlocal mails
            gone, more = await self._remove_finished(before)
            mails += gone
            return more

        stopped = await run_steps(remove, pause)
        return mails, stopped

    async def _expire_by_route(self, now: datetime, pause: Pause | None) -> tuple[int, bool]:
        """The same by a walk over all finished mail, since that of one route may stay among others."""
        mails = 0
        place: Place | None = retention.BEGINNING
        usual = to_microseconds(now - timedelta(days=self._limits.retain_days))
        own = {route: to_microseconds(now - timedelta(days=days)) for route, days in self._own.items()}

        async def remove() -> bool:
            nonlocal mails, place
            if place is None:
                return False
            find = partial(retention.find_expired, usual=usual, own=own, after=place)
            found, place = await self._read(find)
            if found:
                mails += await self._remove(partial(retention.remove_done, found=found))
            return True

        stopped = await run_steps(remove, pause)
        return mails, stopped

    async def make_room(self) -> int:
        """Remove finished mail early if room is short. Returns the number of mails."""
        mails = 0

        async def remove() -> bool:
            nonlocal mails
            if not await asyncio.to_thread(self._lacks_room):
                return False
            gone, more = await self._remove_finished(_EVER)
            mails += gone
            return more

        await run_steps(remove)
        if await asyncio.to_thread(self._reserve.is_needed):
            await self._give_back_all()
        return mails

    def _lacks_room(self) -> bool:
        self._reserve.lay()
        return self._room.lacks_room(largest=self._largest)

    async def _give_back_all(self) -> None:
        """Return free pages of the database to the disk, until the reserve has room."""

        async def shrink() -> bool:
            if not await self._change(partial(retention.give_back, kept=0)):
                return False
            await self._read(lambda connection: query(connection, "PRAGMA wal_checkpoint(PASSIVE)"))
            return not await asyncio.to_thread(self._reserve.lay)

        await run_steps(shrink)

    async def _remove_finished(self, before: datetime) -> tuple[int, bool]:
        """Remove some finished mails. Returns their number, and whether there may be more."""
        more, gone = await self._change(partial(retention.expire_done, before=before))
        await asyncio.to_thread(self.remove_files, gone.filed)
        return gone.mails, more

    async def _remove(self, change: Callable[[apsw.Connection], Gone]) -> int:
        gone = await self._change(change)
        await asyncio.to_thread(self.remove_files, gone.filed)
        return int(gone.mails)

    def remove_files(self, filed: Sequence[str]) -> None:
        """Remove the files of mails whose rows are gone."""
        for spool_id in filed:
            remove_raw(self._layout.raw_path(spool_id))
