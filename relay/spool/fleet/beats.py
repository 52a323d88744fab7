"""The signs of life of the processes of a fleet, by which `relay fleet status` and the page know its nodes.

Owns the items of the partition `NODES`, and when one is written: at intervals, and when something changes.
They say how things were at an instant; whoever leads is told by the lease alone.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from relay import __version__, telemetry
from relay.aws.database import Condition, Delete, Put
from relay.aws.values import Item
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader
from relay.spool.fleet.store import Store
from relay.spool.nodes import BEAT_SECONDS, FRESH_SECONDS, Beat
from relay.spool.records import from_microseconds, to_microseconds

_SECOND = 1_000_000
#: Days for which a node that died is remembered, by DynamoDB's own expiry.
_REMEMBERED_DAYS = 7
#: Processes of all nodes that one look reads.
_MOST_BEATS = 1_000
#: Seconds for the last word of a process that ends.
_FAREWELL_SECONDS = 2.0
_PARTITION: Final = Condition(text="#pk = :pk", values={"pk": tables.NODES})


def build_beat(beat: Beat) -> Item:
    """The item of a beat."""
    key = tables.beat_key(beat.node, beat.process)
    at = to_microseconds(beat.at)
    item: dict[str, str | int | bool] = {
        tables.PARTITION: key[0],
        tables.SORT: key[1],
        "v": tables.VERSION,
        "node": beat.node,
        "process": beat.process,
        "version": beat.version,
        "since": to_microseconds(beat.started_at),
        "at": at,
        "accepted": beat.accepted,
        "ms": round(beat.seconds * 1_000),
        "rcu": round(beat.read_units),
        "wcu": round(beat.written_units),
        "leads": beat.leads,
        tables.EXPIRES: at // _SECOND + int(timedelta(days=_REMEMBERED_DAYS).total_seconds()),
    }
    return item if beat.connect is None else {**item, "connect": beat.connect}


def parse_beat(item: Item) -> Beat:
    """The beat of an item.

    Raises:
        SpoolCorruptError: it cannot be read.
    """
    with Reader(item) as read:
        return Beat(
            node=read.text("node"),
            process=read.text("process"),
            version=read.text("version"),
            started_at=from_microseconds(read.number("since")),
            at=from_microseconds(read.number("at")),
            accepted=read.number("accepted"),
            seconds=read.number("ms") / 1_000,
            read_units=read.maybe_number("rcu") or 0,
            written_units=read.maybe_number("wcu") or 0,
            connect=read.flag("connect") if read.has("connect") else None,
            leads=read.flag("leads"),
        )


async def look(store: Store) -> list[Beat]:
    """The last beat of every process, by node and process; those that cannot be read are left out."""
    async with store.asked() as (database, _):
        items = await database.query_all(_PARTITION, limit=_MOST_BEATS)
    beats: list[Beat] = []
    for item in items:
        try:
            beats.append(parse_beat(item))
        except SpoolCorruptError as exc:
            telemetry.spool_failed(where="fleet.beats", why=str(exc))
    return beats


class Heart:
    """The beats of one process. It fails without harm: a node is silent then, and goes on."""

    def __init__(self, store: Store, process: str) -> None:
        self._store = store
        self._process = process
        #: The instant of the first beat: before it the clock may not know the time of AWS yet.
        self._started_at: datetime | None = None
        #: Mails accepted since the last beat.
        self.accepted = 0
        #: The last word on Connect.
        self.connect: bool | None = None
        self._counted_since = store.clock.steady()
        #: The capacity that the process had used by then, reading and writing.
        self._units = self._read_units()
        self._written_at: int | None = None
        self._is_listed = False
        self._told: tuple[bool | None, bool] = (None, False)
        self._writing = asyncio.Lock()

    def _read_units(self) -> tuple[float, float]:
        units = self._store.meter.units
        return units["read"], units["write"]

    def note(self, *, connect: bool, again: bool = False) -> None:
        """Keep the last word on Connect; with `again` it is told even if it is the same, since another node
        asks.
        """
        if again and self._written_at is not None and self.connect == connect:
            age = self._store.clock.steady() - self._written_at
            if age >= FRESH_SECONDS / 2 * _SECOND:
                self._written_at = None
        self.connect = connect

    def is_due(self, *, leads: bool = False) -> bool:
        """Returns whether a beat is due: the first, after a change, or after five minutes."""
        if self._written_at is None or self._told != (self.connect, leads):
            return True
        return self._store.clock.steady() - self._written_at >= BEAT_SECONDS * _SECOND

    async def beat(self, *, leads: bool = False) -> None:
        """Write a beat if it is due."""
        async with self._writing:
            if not self.is_due(leads=leads):
                return
            now, told = self._store.clock.steady(), (self.connect, leads)
            accepted, at = self.accepted, self._store.clock.now()
            units = self._read_units()
            self._started_at = self._started_at or at
            beat = Beat(
                node=self._store.node,
                process=self._process,
                version=__version__,
                started_at=self._started_at,
                at=at,
                accepted=accepted,
                seconds=(now - self._counted_since) / _SECOND,
                read_units=units[0] - self._units[0],
                written_units=units[1] - self._units[1],
                connect=told[0],
                leads=leads,
            )
            # A failure is tried again after the usual time, or with the next change: nobody waits for it.
            self._written_at, self._told, self._is_listed = now, told, True
            try:
                await self._store.change(Put(item=build_beat(beat)))
            except SpoolError as exc:
                telemetry.spool_failed(where="fleet.beat", why=str(exc))
            else:
                self.accepted -= accepted
                self._counted_since, self._units = now, units

    async def stop(self) -> None:
        """Take the process off the list, because it ends in good order."""
        if not self._is_listed:
            return
        self._is_listed = False
        key = tables.beat_key(self._store.node, self._process)
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._store.change(Delete(key=key), seconds=_FAREWELL_SECONDS)
        except (SpoolError, TimeoutError) as exc:
            telemetry.spool_failed(where="fleet.beat", why=str(exc) or type(exc).__name__)
