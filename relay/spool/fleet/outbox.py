"""The delivering half's view of a fleet's spool (`Outbox`).

Owns what an attempt does with an entry that this process has under way. Every change of it asks for the lead
before it is sent, and has its fence in the table (`relay.spool.fleet.fence`): a change by a leader that lost
its lease raises LeaseLostError.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import BinaryIO

from relay.aws.database import Action
from relay.config.model import Config
from relay.errors import LeaseLostError, SpoolSickError
from relay.spool.fleet import aging, control, fence, memory, outcomes
from relay.spool.fleet.conversations import find_contact
from relay.spool.fleet.encoding import build_ledger
from relay.spool.fleet.guards import free_guard
from relay.spool.fleet.octets import open_raw, put_request
from relay.spool.fleet.records import EntryRecord, MailRecord
from relay.spool.fleet.running import key_of
from relay.spool.fleet.standby import Standby
from relay.spool.interface import Wake
from relay.spool.local.wake import Bell
from relay.spool.model import Aged, Entry, State
from relay.spool.page import Shown
from relay.spool.records import from_microseconds, to_microseconds
from relay.timing import MACHINE, Clocks
from relay.vocabulary import Rung


class FleetOutbox(Standby):
    """The `Outbox` over a table and S3; one in each process that may lead."""

    def __init__(self, config: Config, *, clocks: Clocks = MACHINE) -> None:
        super().__init__(config, clocks=clocks)
        self._folder = config.data_dir / "fleet"
        self._files: dict[str, BinaryIO] = {}

    # -- The queue

    async def claim(
        self,
        *,
        now: datetime,
        limit: int,
        lease_seconds: float,
        held_routes: Sequence[str] = (),
        probes: Sequence[str] = (),
    ) -> Sequence[Entry]:
        if not await self._led():
            return ()
        return await self._claims.claim(
            await control.look(self._store),
            now=now,
            limit=limit,
            lease_seconds=lease_seconds,
            held_routes=held_routes,
            probes=probes,
        )

    async def find_probes(self, route: str) -> Sequence[str]:
        if not await self._led():
            return ()
        return await self._claims.find_probes(await control.look(self._store), route)

    async def next_due_at(self, *, held_routes: Sequence[str] = ()) -> datetime | None:
        if self._standing is not None:
            return None
        at = await self._claims.next_due_at(await control.look(self._store), held_routes=held_routes)
        return None if at is None else from_microseconds(at)

    @contextmanager
    def open_wake(self) -> Iterator[Wake]:
        # Receivers of this node ring it; of mail that other nodes accept the polls tell.
        self._config.data_dir.mkdir(parents=True, exist_ok=True)
        with Bell(self._config.data_dir) as bell:
            yield bell

    # -- An attempt

    @asynccontextmanager
    async def open_raw(self, entry: Entry) -> AsyncIterator[memoryview]:
        record, mail = self._under_way(entry)
        async with AsyncExitStack() as stack:
            try:
                opened = open_raw(self._store, mail, self._folder)
                raw, file = await stack.enter_async_context(opened)
            except SpoolSickError as exc:
                # It was not begun: its lease need not end first, and no attempt is counted.
                self._claims.outage.begin(str(exc), at=self._store.clock.steady())
                await self._claims.put_back(record, now=self.now())
                raise
            self._claims.outage.end()
            if file is not None:
                self._files[entry.reference] = file
            try:
                yield raw
            finally:
                self._files.pop(entry.reference, None)

    def open_file(self, entry: Entry) -> int | None:
        file = self._files.get(entry.reference)
        return None if file is None else os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)

    def _under_way(self, entry: Entry) -> tuple[EntryRecord, MailRecord]:
        found = self._claims.running.find(entry.reference, attempts=entry.attempts)
        if found is None or found[1] is None:
            raise LeaseLostError(f"{entry.reference} is no longer leased under attempt {entry.attempts}")
        return found[0], found[1]

    async def _mail_of(self, entry: Entry) -> MailRecord:
        """The record of an entry's mail, under way or not."""
        found = self._claims.running.find(entry.reference, attempts=entry.attempts)
        if found and found[1]:
            return found[1]
        return await fence.read_mail(self._store, entry.spool_id)

    async def _change(
        self,
        entry: Entry,
        change: Callable[[EntryRecord], EntryRecord],
        *,
        also: Callable[[EntryRecord], list[Action]] = lambda _: [],
    ) -> None:
        """Write the changed record of an entry under way, and what goes with it."""
        record, _ = self._under_way(entry)
        self._lead.check()
        fresh = change(record)
        condition = fence.leased_as(record)
        if others := also(fresh):
            written = await fence.write_with(self._store, fresh, condition, others)
        else:
            written = await fence.write(self._store, fresh, condition)
        if written is None:
            self._claims.running.end(record)
            raise LeaseLostError(f"{entry.reference} is no longer leased under attempt {entry.attempts}")
        if written.state is State.LEASED:
            self._claims.running.add(written)
        else:
            self._claims.running.end(written)

    async def renew(self, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
        record, _ = self._under_way(entry)
        self._lead.check()
        # Nobody else looks at it: the lease of the leader is what other nodes wait for.
        until = to_microseconds(now + timedelta(seconds=lease_seconds))
        self._claims.running.add(replace(record, lease_until=until))

    async def save_request(
        self,
        entry: Entry,
        *,
        request: bytes,
        rung: Rung,
        token: str,
        expires_at: datetime,
        now: datetime,
        captured: Mapping[str, str] | None = None,
        instance_id: str | None = None,
    ) -> None:
        record, _ = self._under_way(entry)
        stored = await put_request(self._store, record, request, expires_at=to_microseconds(expires_at))
        await self._change(
            entry,
            lambda record: outcomes.with_request(
                record,
                stored,
                rung=rung,
                token=token,
                captured=captured,
                instance_id=instance_id,
                now=now,
            ),
        )
        self._lead.check()  # the answer may have taken longer than the lease

    async def begin_sending(self, entry: Entry, *, token: str, now: datetime) -> None:
        await self._change(entry, lambda record: outcomes.sending(record, token=token, now=now))
        self._lead.check()

    async def refuse(
        self, entry: Entry, *, rung: Rung, token: str, reason: str, detail: str, now: datetime
    ) -> None:
        await self._change(
            entry,
            lambda record: outcomes.refused(
                record, rung=rung, token=token, reason=reason, detail=detail, now=now
            ),
        )

    async def find_token(self, token: str) -> tuple[bool, str | None]:
        return await memory.find_token(self._store, token)

    async def begin_original(self, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
        await self._change(
            entry,
            lambda record: outcomes.original(record, reason=reason, detail=detail, now=now),
            also=lambda fresh: [memory.mark_original(fresh.reference, reason=reason, now=now)],
        )

    async def why_original(self, entry: Entry) -> str:
        return outcomes.why_original(self._under_way(entry)[0])

    async def find_contact(
        self, entry: Entry, *, message_ids: Sequence[str], since: datetime, instance_id: str | None = None
    ) -> str | None:
        if not message_ids:
            return None
        mail = await self._mail_of(entry)
        return await find_contact(
            self._store,
            message_ids,
            author=mail.author,
            sender=mail.sender,
            since=to_microseconds(since),
            instance_id=instance_id,
        )

    # -- The ways out of an attempt

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
        record, mail = self._under_way(entry)
        await memory.keep_shown(self._store, record, shown)
        freed = await free_guard(self._store, mail, record) if dropped else []
        await self._change(
            entry,
            lambda record: outcomes.finished(
                record, contact_id=contact_id, reason=reason, detail=detail, dropped=dropped, now=now
            ),
            also=lambda fresh: [
                memory.put_ledger(build_ledger(outcomes.ledger_of(mail, fresh, now=now))),
                *freed,
            ],
        )
        if contact_id:
            self._lead.made.note(self._store.clock.microseconds())
        if forget or mail.entries > 1:
            await aging.forget_raw(self._store, entry.spool_id, wanted=forget)

    async def defer(
        self,
        entry: Entry,
        *,
        until: datetime,
        reason: str,
        detail: str,
        rung: Rung | None = None,
        void: bool = False,
        settled: bool = False,
        begun: bool = True,
        shown: Shown | None = None,
        now: datetime,
    ) -> None:
        await memory.keep_shown(self._store, self._under_way(entry)[0], shown)
        await self._change(
            entry,
            lambda record: outcomes.deferred(
                record,
                until=until,
                reason=reason,
                detail=detail,
                rung=rung,
                void=void,
                doubt=outcomes.doubt_after(entry, record, settled=settled),
                begun=begun,
                now=now,
            ),
        )

    async def hold(
        self, entry: Entry, *, reason: str, detail: str, shown: Shown | None = None, now: datetime
    ) -> None:
        await memory.keep_shown(self._store, self._under_way(entry)[0], shown)
        await self._change(
            entry,
            lambda record: outcomes.moved(
                record, State.HELD, event="held", reason=reason, detail=detail, now=now
            ),
        )

    async def bury(
        self,
        entry: Entry,
        *,
        reason: str,
        detail: str,
        afresh: bool = False,
        settled: bool = False,
        shown: Shown | None = None,
        now: datetime,
    ) -> None:
        await memory.keep_shown(self._store, self._under_way(entry)[0], shown)
        await self._change(
            entry,
            lambda record: outcomes.buried(
                record,
                reason=reason,
                detail=detail,
                afresh=afresh,
                doubt=outcomes.doubt_after(entry, record, settled=settled),
                now=now,
            ),
        )

    async def recall(self, references: Sequence[str], *, now: datetime) -> None:
        at = to_microseconds(now)
        for key in filter(None, map(key_of, references)):
            entry = await fence.read(self._store, key)
            if entry is not None and entry.state is State.QUEUED and entry.due_at > at:
                await fence.write(self._store, replace(entry, due_at=at), fence.unchanged(entry))

    async def bury_aged(
        self,
        *,
        accepted_before: datetime,
        reason: str,
        detail: str,
        now: datetime,
        after: int = 0,  # noqa: ARG002 - one step finds all
    ) -> Aged:
        routes = self._claims.routes(await control.look(self._store))
        return await aging.bury_aged(
            self._store,
            routes,
            accepted_before=to_microseconds(accepted_before),
            reason=reason,
            detail=detail,
            now=now,
        )
