"""The delivering half's view of the local spool (`Outbox`).

Owns the deliverer's lock: one process delivers from a spool, so that at its start every lease is a dead one's.
Changes go through one writer thread, each within a savepoint of the group's transaction; reads go beside it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, cast

import apsw

from relay import telemetry
from relay.config.model import Config
from relay.contact.plan import Rung
from relay.errors import SpoolBusyError, SpoolError
from relay.faults import fault_point
from relay.spool import claims, control, outcomes, retention
from relay.spool.base import Entry, Paused
from relay.spool.files import Layout, Sweep, lock_file, remove_raw
from relay.spool.gate import Gate
from relay.spool.raws import open_raw
from relay.spool.readers import Readers
from relay.spool.schema import close_database, open_database
from relay.spool.translate import translate_error, translated
from relay.spool.writer import Job, Writer

Answer = TypeVar("Answer")
_Change = Callable[[apsw.Connection], object]

#: Above this share of spool.max_bytes, finished mails go before their time.
_PRESSURE = 0.8


class LocalOutbox:
    """`Outbox` over SQLite and files; one a spool."""

    def __init__(self, config: Config) -> None:
        self._layout = Layout(data_dir=config.data_dir)
        self._limits = config.spool
        self._deliver = config.deliver
        self._layout.prepare()
        with translated():
            lock = lock_file(self._layout.data_dir / "deliver.lock")
        if lock is None:
            raise SpoolBusyError(f"another process delivers from {self._layout.root}")
        self._lock = lock
        try:
            self._connection: apsw.Connection | None = open_database(self._layout.database, create=True)
        except BaseException:
            os.close(lock)
            raise
        self._gate = Gate(self._layout.gate)
        self._readers = Readers(self._layout.database)
        self._turns = claims.Turns()
        self._writer: Writer[tuple[str, _Change], object] = Writer(
            self._commit, name="spool-outbox", close=self._drop
        )

    async def recover(self, *, now: datetime, blame: bool = False) -> int:
        """Every lease is a dead runner's, for we hold the lock; then the sweep."""
        returning: Callable[[apsw.Connection], int] = partial(claims.return_leases, now=now, everyone=True)
        if blame:
            returning = partial(
                claims.blame_leases,
                now=now,
                limit=self._deliver.max_attempts_cut_short,
                delay_seconds=self._deliver.backoff_min_seconds,
            )
        entries = await self._change("recover", returning)
        swept = await asyncio.to_thread(self._sweep)
        if swept:
            telemetry.spool_swept(files=swept)
        return entries

    def _sweep(self) -> int:
        sweep = Sweep(self._layout)
        try:
            with self._readers.borrow() as connection:
                rows = connection.execute("SELECT spool_id FROM mails WHERE filed = 1")
                named = {row[0] for row in rows}
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
        probe_routes: Sequence[str] = (),
    ) -> Sequence[Entry]:
        """Lease due entries."""
        claiming = partial(
            claims.claim,
            turns=self._turns,
            now=now,
            limit=limit,
            lease_seconds=lease_seconds,
            held_routes=held_routes,
            probe_routes=probe_routes,
        )
        return await self._change("claim", claiming)

    async def renew(self, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
        """Keep the lease for longer."""
        await self._change(
            "renew", partial(outcomes.renew, entry=entry, lease_seconds=lease_seconds, now=now)
        )

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        """When `claim` will next find something."""
        return await self._read(partial(claims.next_due_at, held_routes=held_routes))

    def open_raw(self, entry: Entry) -> AbstractContextManager[memoryview]:
        """The raw mail, checked."""
        return open_raw(self._readers, self._layout, entry.spool_id)

    async def save_request(
        self, entry: Entry, *, request: bytes, rung: Rung, expires_at: datetime, now: datetime
    ) -> None:
        """Store the exact request before it is sent."""
        saving = partial(
            outcomes.save_request, entry=entry, request=request, rung=rung, expires_at=expires_at, now=now
        )
        await self._change("request", saving)

    async def finish(
        self, entry: Entry, *, contact_id: str | None, reason: str = "", detail: str = "", now: datetime
    ) -> None:
        """S4 to S7."""
        finishing = partial(
            outcomes.finish, entry=entry, contact_id=contact_id, reason=reason, detail=detail, now=now
        )
        await self._change("finish", finishing)

    async def defer(
        self,
        entry: Entry,
        *,
        until: datetime,
        reason: str,
        detail: str,
        rung: Rung | None = None,
        now: datetime,
    ) -> None:
        """S4 to S3."""
        deferring = partial(
            outcomes.defer, entry=entry, until=until, reason=reason, detail=detail, rung=rung, now=now
        )
        await self._change("defer", deferring)

    async def hold(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        """S4 to S5."""
        holding = partial(outcomes.hold, entry=entry, reason=reason, detail=detail, now=now)
        await self._change("hold", holding)

    async def bury(
        self, entry: Entry, *, reason: str, detail: str, afresh: bool = False, now: datetime
    ) -> None:
        """S4 to S6."""
        burying = partial(outcomes.bury, entry=entry, reason=reason, detail=detail, afresh=afresh, now=now)
        await self._change("bury", burying)

    async def bury_aged(
        self, *, accepted_before: datetime, reason: str, detail: str, now: datetime
    ) -> Sequence[Entry]:
        """S3 and S5 to S6 for what waited too long."""
        burying = partial(
            outcomes.bury_aged, accepted_before=accepted_before, reason=reason, detail=detail, now=now
        )
        return await self._change("bury", burying)

    async def find_contact(
        self, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        """The contact that the newest known of these Message-IDs became."""
        if not message_ids:
            return None
        finding = partial(
            outcomes.find_contact, message_ids=message_ids, since=since, instance_id=instance_id
        )
        return await self._read(finding)

    async def hold_route(self, route: str, *, reason: str, detail: str, now: datetime) -> None:
        """Claim no more of this route."""
        holding = partial(control.hold_route, route=route, reason=reason, detail=detail, now=now)
        await self._change("hold_route", holding)

    async def resume_route(self, route: str) -> bool:
        """End a route's hold."""
        return await self._change("resume_route", partial(control.resume_route, route=route))

    async def paused(self) -> Paused:
        """What stands still on purpose."""
        return await self._read(control.read_paused)

    async def expire(self, *, now: datetime) -> int:
        """Remove what is finished and past its time, and more of it when room is short."""
        mails = 0
        before = now - timedelta(days=self._limits.retain_days)
        while True:
            entries, gone = await self._change("expire", partial(retention.expire_done, before=before))
            await asyncio.to_thread(self._remove_files, gone.filed)
            mails += gone.mails
            if entries < retention.STEP:
                if before == now or not await self._read(self._is_pressed):
                    break
                before = now
            elif before == now and not await self._read(self._is_pressed):
                break
        hours = self._limits.duplicate_window_hours
        forgetting = partial(retention.expire_ledger, now=now, window_hours=hours)
        while await self._change("expire", forgetting) == retention.STEP:
            continue
        while await self._change("expire", retention.give_back):
            continue
        return mails

    def _is_pressed(self, connection: apsw.Connection) -> bool:
        """Whether accepted mail is near the quota, so that finished mail must go for it."""
        limit = self._limits.max_bytes * _PRESSURE
        held: int = connection.execute("SELECT value FROM totals WHERE name = 'bytes'").get
        return 0 < limit < held

    def _remove_files(self, filed: Sequence[str]) -> None:
        for spool_id in filed:
            remove_raw(self._layout.raw_path(spool_id))

    async def close(self) -> None:
        """Commit what was begun and let the spool go; harmless when called twice."""
        await self._writer.close()
        self._readers.close()
        self._gate.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _read(self, read: Callable[[apsw.Connection], Answer]) -> Answer:
        def borrowed() -> Answer:
            with self._readers.borrow() as connection:
                return read(connection)

        return await asyncio.to_thread(borrowed)

    async def _change(self, name: str, change: Callable[[apsw.Connection], Answer]) -> Answer:
        job: Job[tuple[str, _Change], object] = Job((name, change))
        self._writer.submit(job)
        return cast("Answer", await job.future)

    def _commit(self, group: Sequence[Job[tuple[str, _Change], object]]) -> None:
        """In the writer's thread: all changes in one transaction, each able to fail alone."""
        try:
            if self._connection is None:
                self._connection = open_database(self._layout.database)
            with self._gate.transaction(self._connection):
                for job in group:
                    try:
                        with self._connection:
                            job.answer = job.payload[1](self._connection)
                    except SpoolError as exc:
                        job.error = exc
            for job in group:
                fault_point(f"spool.{job.payload[0]}.committed")
        except (apsw.Error, OSError) as exc:
            self._drop()
            error = translate_error(exc)
            for job in group:
                job.error = type(error)(*error.args)

    def _drop(self) -> None:
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None
