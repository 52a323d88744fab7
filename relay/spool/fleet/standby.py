"""The lead of a process that may deliver, and its wait for it while another node has it.

Owns the steps from standing by to delivering: the lead, what the leader before had under way, and the search
at intervals for what was lost. While another node leads nothing is claimed.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from relay import telemetry
from relay.config.model import Config
from relay.config.retentions import list_retentions
from relay.errors import SpoolBusyError, SpoolError, SpoolSickError
from relay.spool.fleet import beats, control
from relay.spool.fleet.beats import Heart
from relay.spool.fleet.claims import Claims
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.store import Store
from relay.spool.fleet.upkeep import Upkeep
from relay.spool.local.wake import ring
from relay.spool.nodes import DELIVERER, Reach, find_heir, is_reach_wanted
from relay.timing import Clocks, is_set_within


class Standby(Upkeep):
    """The part of the `Outbox` that is about the lead."""

    def __init__(self, config: Config, *, clocks: Clocks) -> None:
        super().__init__(
            Store(config, clocks=clocks),
            retain_days=config.spool.retain_days,
            by_route=list_retentions(config),
        )
        self._config = config
        self._lease_seconds = config.fleet.lease_seconds
        self._lead = Leadership(self._store, lease_seconds=config.fleet.lease_seconds)
        self._claims = Claims(self._store, self._lead, config)
        self._heart = Heart(self._store, DELIVERER)
        #: True once this node has given the lead up, because another reaches Connect.
        self._resigned = False
        self._closed = asyncio.Event()
        self._recovering: asyncio.Task[None] | None = None
        #: The wait for the lead of another node.
        self._standing: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return self._store.clock.now()

    def is_clock_doubted(self) -> bool:
        return False  # it is the clock of AWS

    async def look_at_clock(self) -> float:
        return 0.0

    def leads(self) -> bool:
        return self._lead.holds and self._standing is None

    def is_shared(self) -> bool:
        return True

    async def wants_reach(self) -> bool:
        if self._heart.is_due(leads=self.leads()):
            return True
        if self.leads():
            return False
        try:
            known = await beats.look(self._store)
        except SpoolError:
            return False  # the lead is told of by the same table: there is none to be had
        return is_reach_wanted(known, node=self._store.node, now=self.now())

    async def note_reach(self, reach: Reach) -> None:
        if reach.is_reached is not None:
            asked_again = reach.is_reached and not self.leads()
            self._heart.note(connect=reach.is_reached, again=asked_again)
        await self._heart.beat(leads=self.leads())
        if self._resigned or not self.leads() or reach.is_reached is not False:
            return
        try:
            known = await beats.look(self._store)
        except SpoolError:
            return
        heir = find_heir(known, node=self._store.node, reach=reach, now=self.now())
        if heir is not None:
            self._resigned = True
            telemetry.fleet_resigned(to=heir, seconds=reach.failing_seconds)

    async def recover(self, *, now: datetime, blame: bool = False, hung: bool = False) -> int:
        if not await self._led():
            return 0
        return await self._claims.recover(
            await control.look(self._store), now=now, blame=blame or self._lead.took_over, hung=hung
        )

    async def _led(self) -> bool:
        """Take the lead if nobody has it, else stand by for it. Returns whether this process leads.

        Raises:
            SpoolBusyError: it led, and never will again.
        """
        if self._standing is None and not self._lead.holds:
            try:
                await self._lead.acquire(patience_seconds=0)
            except (SpoolBusyError, SpoolSickError):
                # Another node leads, or the table is away: both end, and this process has begun by then.
                if self._lead.is_lost:
                    raise
                self._standing = asyncio.create_task(self._stand_by())
        if self._standing is not None or self._resigned:
            return False
        self._begin_recovering()
        return True

    async def _stand_by(self) -> None:
        """Wait for the lead, and take back what the leader before had under way."""
        await self._lead.acquire()
        try:
            looked = await control.look(self._store)
            number = await self._claims.recover(
                looked, now=self.now(), blame=self._lead.took_over, hung=False
            )
            telemetry.spool_recovered(entries=number)
        except SpoolError as exc:  # what it did not find comes back with `find_lost`
            telemetry.spool_failed(where="fleet.stand_by", why=str(exc))
        self._standing = None
        ring(self._config.data_dir)  # what waits need not wait for a poll, too

    def _begin_recovering(self) -> None:
        if self._recovering is None:
            self._recovering = asyncio.create_task(self._recover_often())

    async def _recover_often(self) -> None:
        """Find what a claim leased whose answer was lost, and what the index has shown late."""
        while not await is_set_within(self._closed, self._lease_seconds):
            try:
                if self._lead.holds:
                    await self._claims.find_lost(now=self.now())
            except SpoolError as exc:
                telemetry.spool_failed(where="fleet.recover", why=str(exc))

    async def give_back(self, *, now: datetime) -> int:
        return await self._claims.end_leases(now=now, everyone=True)

    def has_moved(self) -> bool:
        return (self._lead.is_lost or self._resigned) and not self._closed.is_set()

    async def close(self) -> None:
        self._closed.set()
        if self._standing is not None:
            self._standing.cancel()
            await asyncio.wait({self._standing})
        if self._recovering is not None:
            await asyncio.wait({self._recovering})
            self._recovering = None
        await self._lead.release(resigned=self._resigned)
        await self._heart.stop()
        await self._store.close()
