"""The delivering half's view of the local spool (`Outbox`).

Owns the deliverer's lock: only one process delivers from a spool, so every lease that it finds at its start
is a dead process's. Changes go through one writer thread, each in a savepoint of its group's transaction;
reads run beside it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from relay import telemetry
from relay.config.model import Config
from relay.spool.audit import Audited
from relay.spool.interface import Outbox, Pause
from relay.spool.local import actions, aging, claims, clock, control, conversations, days, outcomes
from relay.spool.local.changes import Changes
from relay.spool.local.clock import SpoolClock
from relay.spool.local.database import Readers, WriteLock, close_database
from relay.spool.local.errors import translated
from relay.spool.local.expiry import Expiry
from relay.spool.local.feed import keep, measure, pending, settle
from relay.spool.local.health import Place, diagnosed, probe_spool
from relay.spool.local.layout import Layout
from relay.spool.local.memory import load_text, save_text
from relay.spool.local.moving import lock_delivery, open_unmoved
from relay.spool.local.raw import Sweep, open_file, open_raw
from relay.spool.local.room import Reserve, Room
from relay.spool.local.suspects import Suspects
from relay.spool.local.turns import Turns
from relay.spool.local.wake import Bell
from relay.spool.model import Entry
from relay.spool.page import Shown
from relay.timing import MACHINE, Clocks

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

#: A mail over this size may be mapped; its memory is released in a thread, not on the event loop.
_LARGE_BYTES = 262_144
_EVER = datetime.max.replace(tzinfo=UTC)  # later than any mail can have been finished, by whatever clock


def _committed(
    name: str, change: Callable[Concatenate[apsw.Connection, Given], Answer]
) -> Callable[Concatenate[LocalOutbox, Given], Coroutine[Any, Any, Answer]]:
    """A method of the outbox that is one change; `name` is that of the fault point after its commit."""

    async def method(outbox: LocalOutbox, /, *given: Given.args, **more: Given.kwargs) -> Answer:
        return await outbox._change(name, change, *given, **more)  # noqa: SLF001 - a method of this class

    return method


def _asked(
    read: Callable[Concatenate[apsw.Connection, Given], Answer],
) -> Callable[Concatenate[LocalOutbox, Given], Coroutine[Any, Any, Answer]]:
    """A method of the outbox that is one query."""

    async def method(outbox: LocalOutbox, /, *given: Given.args, **more: Given.kwargs) -> Answer:
        return await outbox._read(read, *given, **more)  # noqa: SLF001 - a method of this class

    return method


class LocalOutbox(Outbox):
    """The `Outbox` over SQLite and files; one for each spool."""

    renew = _committed("renew", outcomes.renew)
    save_request = _committed("request", outcomes.save_request)
    begin_sending = _committed("send", outcomes.begin_sending)
    refuse = _committed("refuse", outcomes.refuse)
    find_token = _asked(outcomes.find_token)
    begin_original = _committed("rung", outcomes.begin_original)
    why_original = _asked(outcomes.why_original)
    defer = _committed("defer", outcomes.defer)
    recall = _committed("recall", outcomes.recall)
    hold = _committed("hold", outcomes.hold)
    bury = _committed("bury", outcomes.bury)
    bury_aged = _committed("bury", aging.bury_aged)
    hold_route = _committed("hold_route", control.hold_route)
    resume_route = _committed("resume_route", control.resume_route)
    resume_unused = _committed("resume_route", control.resume_unused)
    paused = _asked(control.read_paused)
    add_counts = _committed("counts", days.add_counts)
    keep_feed = _committed("feed", keep)
    pending_feed = _asked(pending)
    settle_feed = _committed("feed", settle)
    measure_feed = _asked(measure)

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        self._layout = Layout(data_dir=config.data_dir)
        self._limits = config.spool
        self._largest = config.max_message_bytes
        self._deliver = config.deliver
        self._reserve = Reserve(self._layout)
        self._reserve.pay(self._layout.prepare)
        self._lock = lock = lock_delivery(self._layout)
        try:
            connection = self._reserve.pay(lambda: open_unmoved(self._layout))
        except BaseException:
            os.close(lock)
            raise
        self._place = Place(self._layout)
        self._write_lock = WriteLock(self._layout.gate)
        self._clocks = clocks
        try:
            self._clock = self._reserve.pay(lambda: self._open_clock(connection))
        except BaseException:
            close_database(connection)
            os.close(lock)
            raise
        self._room_left = Room(self._layout, self._limits, clock=self._clock.microseconds)
        self._readers = Readers(self._layout.database)
        self._suspects = Suspects()
        self._turns = Turns()
        self._changes = Changes(connection, self._layout, self._write_lock, self._reserve)
        self._expiry = Expiry(
            config,
            self._layout,
            self._reserve,
            self._room_left,
            change=partial(self._change, "expire"),
            read=self._read,
        )

    def _open_clock(self, connection: apsw.Connection) -> SpoolClock:
        with translated(self._layout.database):
            return SpoolClock(connection, self._write_lock, self._clocks)

    def now(self) -> datetime:
        return self._clock.now()

    def is_clock_doubted(self) -> bool:
        return self._clock.is_doubted()

    async def look_at_clock(self) -> float:
        self._clock.state = state = await self._change("clock", clock.look, self._clocks)
        return state.step_seconds

    async def recover(self, *, now: datetime, blame: bool = False, hung: bool = False) -> int:
        returning: Callable[[apsw.Connection], int] = partial(claims.return_leases, now=now, everyone=True)
        if blame:
            returning = partial(
                claims.blame_leases,
                now=now,
                limit=self._deliver.max_attempts_cut_short,
                delay_seconds=self._deliver.backoff_min_seconds,
                hung=hung,
            )

        def recovering(connection: apsw.Connection) -> int:
            claims.bring_back(connection, now=now, longest_seconds=self._deliver.longest_wait_seconds)
            returned = returning(connection)
            self._suspects.load(connection)
            return returned

        with diagnosed(self._layout.data_dir):
            entries = await self._change("recover", recovering)
            swept = await asyncio.to_thread(self._sweep)
        if swept:
            telemetry.spool_swept(files=swept)
        return entries

    async def give_back(self, *, now: datetime) -> int:
        return await self._change("recover", claims.return_leases, now=now, everyone=True)

    def _sweep(self) -> int:
        sweep = Sweep(self._layout)
        try:
            with self._readers.borrow() as connection:
                named = {row[0] for row in connection.execute("SELECT spool_id FROM mails WHERE filed = 1")}
            return sweep.remove(path for path in sweep.files() if path.name not in named)
        finally:
            sweep.close()

    async def claim(
        self,
        *,
        now: datetime,
        limit: int,
        lease_seconds: float,
        held_routes: Sequence[str] = (),
        probes: Sequence[str] = (),
    ) -> Sequence[Entry]:
        return await self._change(
            "claim",
            claims.claim,
            turns=self._turns,
            suspects=self._suspects,
            now=now,
            limit=limit,
            lease_seconds=lease_seconds,
            held_routes=held_routes,
            probes=probes,
        )

    async def find_probes(self, route: str) -> Sequence[str]:
        # Beside the writer, since it may walk over all waiting entries.
        return await self._read(claims.find_probes, route=route)

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        if self._suspects.keep_waiting:  # the runner sees when the entries under way have ended
            return None
        return await self._read(claims.next_due_at, held_routes=held_routes)

    @asynccontextmanager
    async def open_raw(self, entry: Entry) -> AsyncIterator[memoryview]:
        opened = open_raw(self._readers, self._layout, entry.spool_id)
        raw = await asyncio.to_thread(opened.__enter__)
        try:
            yield raw
        finally:
            if len(raw) > _LARGE_BYTES:
                await asyncio.to_thread(opened.__exit__, None, None, None)
            else:
                opened.__exit__(None, None, None)

    def open_file(self, entry: Entry) -> int | None:
        return open_file(self._layout, entry.spool_id)

    async def find_contact(
        self, entry: Entry, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        if not message_ids:
            return None
        return await self._read(
            conversations.find_contact,
            entry=entry,
            message_ids=message_ids,
            since=since,
            instance_id=instance_id,
        )

    async def expire(self, *, now: datetime, pause: Pause | None = None) -> int:
        return await self._expiry.expire(now=now, pause=pause)

    async def untold_actions(self) -> Sequence[Audited]:
        return await self._read(actions.read_untold)

    async def note_told(self, number: int) -> None:
        await self._change("told", actions.note_told, number=number)

    async def probe(self) -> None:
        await asyncio.to_thread(probe_spool, self._layout)

    def is_short(self) -> bool:
        return self._reserve.is_needed()  # one that is being laid is out, too, and nothing is short

    async def make_room(self) -> int:
        return await self._expiry.make_room()

    async def finish(
        self,
        entry: Entry,
        *,
        contact_id: str | None,
        reason: str = "",
        detail: str = "",
        dropped: bool = False,
        shown: Shown | None = None,
        forget: bool = False,
        now: datetime,
    ) -> None:
        forgotten = await self._change(
            "finish",
            outcomes.finish,
            entry,
            contact_id=contact_id,
            reason=reason,
            detail=detail,
            dropped=dropped,
            shown=shown,
            forget=forget,
            now=now,
        )
        if forgotten:
            await asyncio.to_thread(self._expiry.remove_files, (forgotten,))

    def open_wake(self) -> Bell:
        return Bell(self._layout.data_dir)

    async def load_alarms(self) -> str:
        return await asyncio.to_thread(load_text, self._layout.standing)

    async def save_alarms(self, text: str) -> bool:
        return await asyncio.to_thread(save_text, self._layout.standing, text)

    def has_moved(self) -> bool:
        return self._place.has_changed()

    async def close(self) -> None:
        await self._changes.close()
        self._readers.close()
        self._room_left.close()
        self._write_lock.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _read(
        self,
        read: Callable[Concatenate[apsw.Connection, Given], Answer],
        *given: Given.args,
        **more: Given.kwargs,
    ) -> Answer:
        """The answer of a query that runs in a thread, beside the writer."""

        def borrowed() -> Answer:
            with self._readers.borrow() as connection:
                return read(connection, *given, **more)

        return await asyncio.to_thread(self._reserve.pay, borrowed)

    async def _change(
        self,
        name: str,
        change: Callable[Concatenate[apsw.Connection, Given], Answer],
        *given: Given.args,
        **more: Given.kwargs,
    ) -> Answer:
        """The answer of a change that is on disk; `name` is that of the fault point after it."""
        return await self._changes.run(name, lambda connection: change(connection, *given, **more))
