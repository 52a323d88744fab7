"""The leader of a fleet: the one node that delivers, chosen by a lease in the table.

Owns the lease. It ends by silence: a standby that has seen its record unchanged for a whole lease, on its own
steady clock, takes it over; no two wall clocks are compared. Leadership is for liveness and pace. Safety
never rests on it, because every change of an entry has the leader's epoch in its condition.

    acquire   no record: make it with epoch 1. A record unchanged for a whole lease, or released: raise its
              epoch, if it is still the same
    resign    release it to the other nodes: this one stays out for five minutes
    renew     four times in a lease, by the same record alone
    deadline  0.8 of a lease after the *question* of the last renewal; after it nothing more is sent
    lost      the record is another's, or the deadline has passed: this is final
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from relay import telemetry
from relay.aws.database import Condition, Put, Update
from relay.errors import LeaseLostError, SpoolBusyError, SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader
from relay.spool.fleet.made import Made
from relay.spool.fleet.silence import Silence
from relay.spool.fleet.store import Store, new_op
from relay.timing import is_set_within

_KEY: Final = (tables.CONTROL, tables.LEADER)
#: The part of a lease for which its holder trusts it; the rest is for a call that is on its way.
_TRUSTED = 0.8
_RENEWALS = 4
_LOOKS = 6
#: The longest pause between two looks of a standby: mail waits for it after an orderly stop of the leader.
_LOOK_SECONDS = 1.0
#: Seconds for which a node that resigned leaves the lead to others (it does not reach Connect).
_OUT_SECONDS = 300.0
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The leader's record."""

    who: str
    node: str
    #: Raised by every take-over; each entry that a leader leases has it.
    epoch: int
    #: Raised by every renewal.
    version: int
    is_released: bool
    #: True if it was released because its node does not reach Connect.
    is_resigned: bool = False
    #: The instant of its last renewal, for people alone: no decision compares it.
    renewed_at: int = 0

    def age_seconds(self, now: int) -> float:
        """The seconds since its last renewal, at an instant in microseconds."""
        return max(now - self.renewed_at, 0) / _SECOND


class Leadership:
    """The part of one process in the choice of the leader."""

    def __init__(self, store: Store, *, lease_seconds: float) -> None:
        self._store = store
        self._seconds = lease_seconds
        #: This process, unlike any other and any earlier one.
        self.who = f"{store.node}/{new_op()}"
        self.epoch = 0
        #: The contacts of the last minute, which each renewal tells.
        self.made = Made()
        #: True if the leader before did not release the lease: it died, or was cut off.
        self.took_over = False
        self._deadline = 0
        self._lost = ""
        self._keeping: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._acquiring = asyncio.Lock()
        #: The record as this process has seen it last, and since when it is the same.
        self._seen: tuple[Lease, int] | None = None
        self._silence = Silence()

    @property
    def holds(self) -> bool:
        """Returns whether this process leads, and may send."""
        return self.epoch > 0 and not self._lost and self._store.clock.steady() < self._deadline

    @property
    def is_lost(self) -> bool:
        """Returns whether this process led, and never will again."""
        return bool(self._lost) or (self.epoch > 0 and not self.holds)

    def check(self) -> None:
        """Raise LeaseLostError unless this process leads."""
        if not self.holds:
            raise LeaseLostError(
                f"this node does not lead: {self._lost or 'its lease was not renewed in time'}"
            )

    async def acquire(self, *, patience_seconds: float | None = None) -> None:
        """Wait until this process leads; it then does so until the lease is lost or released.

        Raises:
            SpoolBusyError: another node led for all of `patience_seconds`, or this process has lost
                the lease.
            SpoolSickError: the table gave no answer for all of that time.
        """
        async with self._acquiring:
            if self.is_lost:
                raise SpoolBusyError(f"this node leads no more: {self._lost or 'its lease ended'}")
            steady = self._store.clock.steady
            begun, told = steady(), ""
            while not self.epoch:
                trouble: SpoolError = SpoolBusyError("another node delivers")
                try:
                    if await self._try():
                        break
                    if self._seen:
                        trouble = SpoolBusyError(
                            f"{self._seen[0].node} delivers, in epoch {self._seen[0].epoch}"
                        )
                except SpoolError as exc:
                    if (why := str(exc)) != told:  # told once, not with each look
                        telemetry.spool_failed(where="fleet.acquire", why=why)
                    trouble, told = exc, why
                if patience_seconds is not None and steady() - begun > patience_seconds * _SECOND:
                    raise trouble
                pause = min(self._seconds / _LOOKS, _LOOK_SECONDS)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads looks
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep())

    async def _try(self) -> bool:
        """One look at the record, and a take-over if it is time. Returns whether this process leads."""
        lease = await self.look()
        now = self._store.clock.steady()  # after the answer: the lease counts as late as it can be
        record = None if lease is None else (lease.epoch, lease.version)
        telemetry.fleet_silent(seconds=self._silence.see(record, at=now))
        if lease is None:
            return await self._begin(None)
        if self._seen is None or self._seen[0] != lease:
            self._seen = (lease, now)
        return await self._begin(lease) if self._is_free(lease, now - self._seen[1]) else False

    def _is_free(self, lease: Lease, unchanged: int) -> bool:
        """Returns whether a lease that has been the same for so many microseconds may be taken."""
        if lease.is_resigned and lease.node == self._store.node:
            return unchanged > _OUT_SECONDS * _SECOND
        return lease.is_released or unchanged > self._seconds * _SECOND

    async def look(self, *, seconds: float | None = None) -> Lease | None:
        """The record as it is now. Returns None if there is none."""
        async with self._store.asked() as (database, _):
            item = await database.get(_KEY, seconds=seconds or self._call_seconds)
        if item is None:
            return None
        with Reader(item) as read:
            return Lease(
                who=read.text("who"),
                node=read.text("node"),
                epoch=read.number("epoch"),
                version=read.number("rvn"),
                is_released=read.flag("released"),
                is_resigned=read.flag("resigned"),
                renewed_at=read.maybe_number("renewed") or 0,
            )

    @property
    def _call_seconds(self) -> float:
        """The seconds for an answer; a later one would come after the deadline that it sets."""
        return self._seconds * _TRUSTED

    async def _begin(self, before: Lease | None) -> bool:
        """Take the lease, if its record is still as it was. Returns whether that worked."""
        asked_at = self._store.clock.steady()
        epoch = before.epoch + 1 if before else 1
        condition = Condition(text="attribute_not_exists(#pk)")
        if before:
            condition = Condition(
                text="#epoch = :before AND #rvn = :version",
                values={"before": before.epoch, "version": before.version},
            )
        # The epoch is in `op`: a repetition whose answer was lost is ours in this epoch alone.
        op = f"{self.who}#{epoch}"
        item: dict[str, str | int] = {
            tables.PARTITION: _KEY[0],
            tables.SORT: _KEY[1],
            "who": self.who,
            "node": self._store.node,
            "epoch": epoch,
            "rvn": before.version + 1 if before else 1,
            "renewed": self._store.clock.microseconds(),
            "op": op,
        }
        answer = await self._store.change(
            Put(item=item, condition=condition), op=op, seconds=self._call_seconds
        )
        if not answer.done:
            return False
        self._deadline = asked_at + int(self._seconds * _TRUSTED * _SECOND)
        self.took_over = before is not None and not before.is_released
        self.epoch = epoch
        telemetry.fleet_silent(seconds=0.0)
        telemetry.fleet_led(epoch=epoch, after=before.node if before else "")
        return True

    async def _keep(self) -> None:
        """Renew until the lease is lost or released.

        A renewal that is under way keeps none back: its answer may be lost or late, and the next is asked for
        at its time.
        """
        asked: set[asyncio.Task[None]] = set()
        try:
            while not await is_set_within(self._ended, self._seconds / _RENEWALS):
                if not self._lost and self._store.clock.steady() >= self._deadline:
                    self._lose("the lease was not renewed in time")
                if self._lost:
                    return
                asked = {task for task in asked if not task.done()}
                asked.add(asyncio.create_task(self._renew()))
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _renew(self) -> None:
        """Raise the version of the record; the lease is lost if the record is another's."""
        asked_at = self._store.clock.steady()
        op = f"{self.who}#{self.epoch}#{new_op()}"
        now = self._store.clock.microseconds()
        update = Update(
            key=_KEY,
            text="SET #rvn = #rvn + :one, #renewed = :now, #made = :made, #op = :op",
            values={"one": 1, "now": now, "made": self.made.build(now), "op": op},
            condition=self._mine(),
        )
        try:
            answer = await self._store.change(update, op=op, seconds=self._call_seconds)
        except SpoolError as exc:
            telemetry.spool_failed(where="fleet.renew", why=str(exc))
            return
        if self._lost:
            return
        if self._store.clock.steady() >= self._deadline:
            self._lose("the lease was not renewed in time")  # final, though the record may be ours still
        elif answer.done:
            self._deadline = max(self._deadline, asked_at + int(self._seconds * _TRUSTED * _SECOND))
        else:
            other = (answer.item or {}).get("node")
            self._lose(f"{other if isinstance(other, str) else 'nobody'} leads")

    def _mine(self) -> Condition:
        """The condition of a renewal. The version is left out: a renewal of which nobody knows has raised it
        or not, and the record is ours in both cases.
        """
        return Condition(
            text="#who = :who AND #epoch = :epoch", values={"who": self.who, "epoch": self.epoch}
        )

    def _lose(self, why: str) -> None:
        self._lost = why
        telemetry.fleet_lost(epoch=self.epoch, why=why)

    async def release(self, *, resigned: bool = False) -> None:
        """End the lease, so that another node need not wait for it; harmless when called twice. Where this
        node has `resigned`, another is to take it.
        """
        self._ended.set()
        if self._keeping is not None:
            await asyncio.wait({self._keeping})
            self._keeping = None
        if not self.holds:
            return
        self._lost = "it was released"
        update = Update(
            key=_KEY,
            text="SET #released = :yes, #resigned = :resigned",
            values={"yes": True, "resigned": resigned},
            condition=self._mine(),
        )
        try:
            await self._store.change(update, seconds=self._seconds / _RENEWALS)
        except SpoolError as exc:  # the others wait for the end of the lease
            telemetry.spool_failed(where="fleet.release", why=str(exc))
