"""The claim in a fleet: the leader leases due entries, each in its turn, with the attempt counted.

Owns the way from S3 to S4 and, when a leader has ended or a lease has, back. The index of due entries gives
hints; the condition of each change decides. Entries under way are kept in memory: while they are leased,
nobody else may change them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from relay import telemetry
from relay.aws.database import Condition, Update
from relay.config.model import Config
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.fleet import fence, outcomes, queue, tables
from relay.spool.fleet.control import Control
from relay.spool.fleet.encoding import build_instant, parse_entry, parse_mail
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.octets import read_request
from relay.spool.fleet.outage import Outage
from relay.spool.fleet.records import EntryRecord, MailRecord, join
from relay.spool.fleet.running import Running, hint_of, key_of, reference_of
from relay.spool.fleet.store import Store, new_op
from relay.spool.fleet.suspects import FleetSuspects
from relay.spool.fleet.turns import FleetTurns, Line, Waiting
from relay.spool.groups import KEY_BITS
from relay.spool.model import Entry, State
from relay.spool.records import to_microseconds

#: Destinations of a held route that are probed at once: some wrong addresses must not hide a right one.
_PROBES = 10
_SECOND = 1_000_000
#: An entry of ours that no attempt knows was leased by a claim whose answer was lost, if it is older.
_LOST_SECONDS = 10.0


class Claims:
    """The claims of one leader."""

    def __init__(self, store: Store, lead: Leadership, config: Config) -> None:
        self._store = store
        self._lead = lead
        self._config = config
        self._lanes = queue.Lanes(store)
        self._turns = FleetTurns(lambda: secrets.randbits(KEY_BITS))
        self.running = Running()
        self.outage = Outage()
        self.suspects = FleetSuspects(store)

    # -- S3 to S4

    async def claim(
        self,
        looked: Control,
        *,
        now: datetime,
        limit: int,
        lease_seconds: float,
        held_routes: Sequence[str],
        probes: Sequence[str],
    ) -> list[Entry]:
        """Lease up to `limit` entries; a single one while S3 has not given a mail since it failed to.

        Raises:
            SpoolSickError: S3 is left alone for a while, because it gave no mail.
        """
        await self.end_leases(now=now)
        limit = self.outage.limit(limit, at=self._store.clock.steady())
        paused = looked.paused
        if paused.delivery or limit <= 0:
            return []
        held = {*held_routes, *(hold.route for hold in paused.holds)} - {*paused.routes}
        alone = await self.suspects.next_entry(
            now=now, stopped={*held, *paused.routes}, is_busy=bool(self.running.entries())
        )
        if self.suspects.keep_waiting:
            return []
        chosen = [hint_of(alone)] if alone else await self._choose(looked, held, probes, now=now, limit=limit)
        is_probe = {*probes}
        until = now + timedelta(seconds=lease_seconds)
        leased = await asyncio.gather(
            *(
                self._lease(each, now=now, until=until, early=reference_of(each.key) in is_probe)
                for each in chosen
            ),
            return_exceptions=True,
        )
        entries = [each for each in leased if isinstance(each, EntryRecord)]
        failed = [each for each in leased if isinstance(each, BaseException)]
        if failed and not entries:
            raise failed[0]
        return await self._complete(entries, now=now)

    async def _choose(
        self, looked: Control, held: set[str], probes: Sequence[str], *, now: datetime, limit: int
    ) -> list[Waiting]:
        """The entries whose turn it is: due ones of free routes, and probes of held ones."""
        free = self.routes(looked) - held - {*looked.paused.routes}
        lines = await self._lanes.look(sorted(free), until=to_microseconds(now), limit=max(queue.LOOK, limit))
        chosen = self._turns.choose(
            {route: Line(entries) for route, entries in lines.items()},
            await self._find_queued(probes, held),
            limit=limit,
        )
        self._lanes.forget(chosen)
        return chosen

    def routes(self, control: Control) -> set[str]:
        """The routes that may have mail: those of the configuration, and those that mail was accepted for."""
        return {*control.routes, *(route.name for route in self._config.routes)}

    async def _find_queued(self, probes: Sequence[str], held: set[str]) -> dict[str, list[Waiting]]:
        """The probes that are still queued, by route. Probes of a route that is no longer held are left to
        the normal claim.
        """
        found: dict[str, list[Waiting]] = {}
        keys = [key for reference in probes if (key := key_of(reference))]
        if not keys:
            return found
        async with self._store.asked() as (database, _):
            items = await database.get_all(keys)
        for key in keys:
            if key not in items:
                continue
            entry = parse_entry(items[key])
            if entry.state is State.QUEUED and entry.destination.route in held:
                found.setdefault(entry.destination.route, []).append(hint_of(entry))
        return found

    async def _lease(
        self, hint: Waiting, *, now: datetime, until: datetime, early: bool
    ) -> EntryRecord | None:
        """Lease one entry and count the attempt. Returns None if it is not there to be leased any more."""
        at, op = to_microseconds(now), new_op()
        self._lead.check()
        answer = await self._store.change(
            Update(
                key=hint.key,
                text="SET #st = :leased, #q = :leased, #due = :now, #lease = :until, #epoch = :epoch, "
                "#by = :node, #att = #att + :one, #upd = :at, #op = :op",
                values={
                    "leased": tables.LEASED_QUEUE,
                    "now": build_instant(at),
                    "until": to_microseconds(until),
                    "epoch": self._lead.epoch,
                    "node": self._store.node,
                    "one": 1,
                    "at": at,
                    "op": op,
                },
                condition=Condition(
                    text="#st = :queued" if early else "#st = :queued AND #due <= :now",
                    values={"queued": State.QUEUED},
                ),
            ),
            op=op,
        )
        if not answer.done or answer.item is None:
            return None
        try:
            entry = parse_entry(answer.item)
        except SpoolCorruptError as exc:
            await self._set_aside(hint, detail=str(exc), at=at)
            return None
        self.running.add(entry)
        return entry

    async def _set_aside(self, hint: Waiting, *, detail: str, at: int) -> None:
        """Bury an entry that cannot be read, which would come up at every claim."""
        await self._store.change(
            Update(
                key=hint.key,
                text="SET #st = :dead, #q = :dead, #due = :due, #reason = :reason, #detail = :detail, #upd = :at",
                values={
                    "dead": tables.DEAD_QUEUE,
                    "due": build_instant(hint.accepted_at),
                    "reason": "spool_corrupt",
                    "detail": detail[: outcomes.DETAIL_LIMIT],
                    "at": at,
                },
                condition=Condition(text="#st = :leased", values={"leased": State.LEASED}),
            )
        )
        reference = reference_of(hint.key)
        telemetry.spool_record_corrupt(
            spool_id=reference.partition(".")[0], entry_id=reference, detail=detail
        )

    async def _complete(self, entries: Sequence[EntryRecord], *, now: datetime) -> list[Entry]:
        """The leased entries with their mails and stored requests. If these cannot be read, all of them go
        back.
        """
        if not entries:
            return []
        try:
            mails = await self._read_mails({entry.spool_id for entry in entries})
            requests = await asyncio.gather(*(self._read_request(entry) for entry in entries))
        except SpoolError as exc:
            self.outage.begin(str(exc), at=self._store.clock.steady())
            await asyncio.gather(*(self.put_back(entry, now=now) for entry in entries))
            raise
        found: list[Entry] = []
        for entry, request in zip(entries, requests, strict=True):
            mail = mails.get(entry.spool_id)
            if mail is None:
                why = "its mail cannot be read"
            elif isinstance(request, str):
                why = request
            else:
                self.running.add(entry, mail)
                found.append(join(mail, entry, request=request))
                continue
            dead = outcomes.buried(
                entry, reason="spool_corrupt", detail=why, afresh=False, doubt=entry.in_doubt_since, now=now
            )
            await fence.write(self._store, dead, fence.leased_as(entry))
            self.running.end(entry)
            telemetry.spool_record_corrupt(spool_id=entry.spool_id, entry_id=entry.reference, detail=why)
        return found

    async def put_back(self, entry: EntryRecord, *, now: datetime) -> None:
        """Have an entry due as if it had not been leased. If that fails, its lease ends by itself."""
        back = outcomes.deferred(
            entry,
            until=now,
            reason=entry.reason,
            detail=entry.detail,
            rung=None,
            void=False,
            doubt=entry.in_doubt_since,
            begun=False,
            now=now,
        )
        try:
            await fence.write(self._store, back, fence.leased_as(entry))
        except SpoolError as exc:
            telemetry.spool_failed(where="fleet.put_back", why=str(exc), spool_id=entry.spool_id)
        else:
            self.running.end(entry)

    async def _read_mails(self, spool_ids: Iterable[str]) -> dict[str, MailRecord]:
        async with self._store.asked() as (database, _):
            items = await database.get_all([tables.mail_key(spool_id) for spool_id in spool_ids])
        mails: dict[str, MailRecord] = {}
        for item in items.values():
            try:
                mail = parse_mail(item)
            except SpoolCorruptError as exc:
                telemetry.spool_failed(where="fleet.mail", why=str(exc))
            else:
                mails[mail.spool_id] = mail
        return mails

    async def _read_request(self, entry: EntryRecord) -> bytes | str | None:
        """The stored request of an entry, None if it has none; a sentence in its place if it is not what was
        stored.
        """
        if entry.request is None:
            return None
        try:
            return await read_request(self._store, entry)
        except SpoolCorruptError as exc:
            return str(exc)

    # -- S4 to S3

    async def end_leases(self, *, now: datetime, everyone: bool = False) -> int:
        """Return the entries whose lease has ended, or all, to the queue. Returns their number."""
        at = to_microseconds(now)
        ended = [
            entry
            for entry in self.running.entries()
            if everyone or entry.lease_until is None or entry.lease_until <= at
        ]
        written = await asyncio.gather(*(self._return(entry, now=now) for entry in ended))
        return sum(written)

    async def _return(self, entry: EntryRecord, *, now: datetime) -> bool:
        back = await fence.write(self._store, outcomes.returned(entry, now=now), fence.leased_as(entry))
        self.running.end(entry)
        return back is not None

    async def recover(self, looked: Control, *, now: datetime, blame: bool, hung: bool) -> int:
        """Return every entry that was leased before now: by leaders before this one, or by a runner of this
        one that ended. Returns their number.
        """
        hints = await queue.look_at_leased(self._store)
        entries = await self._read_leased([hint for hint in hints if hint.epoch <= self._lead.epoch])
        counted = blame and (len(entries) == 1 or not hung)
        limits = self._config.deliver
        number = 0
        for place, entry in enumerate(entries):
            back = outcomes.returned(entry, now=now, due_at=self._due_after(entry, now=now))
            if blame:
                back = outcomes.blamed(
                    entry,
                    counted=counted,
                    limit=limits.max_attempts_cut_short,
                    delay_seconds=limits.backoff_min_seconds,
                    place=place,
                    hung=hung,
                    now=now,
                )
            number += await fence.write(self._store, back, fence.leased_as(entry)) is not None
            self.running.end(entry)
        await self.suspects.load(self.routes(looked))
        return number

    async def find_lost(self, *, now: datetime) -> int:
        """Return the entries that are leased though nobody has them under way: by a claim whose answer was
        lost, or by a leader before this one whose lease the index showed late. Returns their number.
        """
        lost_at = to_microseconds(now) - int(_LOST_SECONDS * _SECOND)
        stale = [
            hint
            for hint in await queue.look_at_leased(self._store)
            if hint.epoch < self._lead.epoch or (hint.due_at < lost_at and hint.key not in self.running)
        ]
        number = 0
        for entry in await self._read_leased(stale):
            if entry.epoch == self._lead.epoch and entry.key in self.running:
                continue
            back = outcomes.returned(entry, now=now, due_at=self._due_after(entry, now=now))
            number += await fence.write(self._store, back, fence.leased_as(entry)) is not None
        return number

    def _due_after(self, entry: EntryRecord, *, now: datetime) -> int:
        """The instant at which an entry of another leader is due. Its request may be on its way still, and
        nobody knows what Connect does with two of one token at the same instant.
        """
        waits = entry.request is not None and self._lead.took_over
        return to_microseconds(now) + int(self._config.connect.timeout_seconds * _SECOND * waits)

    async def _read_leased(self, hints: Sequence[Waiting]) -> list[EntryRecord]:
        """The entries that are leased as the index showed, in the order of their keys."""
        async with self._store.asked() as (database, _):
            items = await database.get_all([hint.key for hint in hints])
        found: list[EntryRecord] = []
        for hint in sorted(hints, key=lambda hint: hint.key):
            if hint.key not in items:
                continue
            try:
                entry = parse_entry(items[hint.key])
            except SpoolCorruptError as exc:
                await self._set_aside(hint, detail=str(exc), at=hint.due_at)
                continue
            if entry.state is State.LEASED and entry.epoch <= self._lead.epoch:
                found.append(entry)
        return found

    # -- Questions

    async def find_probes(self, control: Control, route: str) -> list[str]:
        """The entry due first, now or later, of each of the first addresses of a route. Addresses with an
        entry under way are left out.
        """
        if control.paused.delivery or route in control.paused.routes:
            return []
        taken = {
            entry.destination.address for entry in self.running.entries() if entry.destination.route == route
        }
        first: dict[str, Waiting] = {}
        entries = (await queue.look_at_routes(self._store, [route])).get(route, [])
        for each in sorted(entries, key=lambda each: (each.due_at, each.key)):
            if each.address not in taken:
                first.setdefault(each.address, each)
        return [reference_of(each.key) for each in list(first.values())[:_PROBES]]

    async def next_due_at(self, control: Control, *, held_routes: Sequence[str]) -> int | None:
        """The instant at which `claim` will next find an entry. Returns None if no entry waits."""
        if self.suspects.keep_waiting:  # the runner sees when the entries under way have ended
            return None
        paused = control.paused
        if paused.delivery:
            return None
        stopped = {*held_routes, *paused.routes, *(hold.route for hold in paused.holds)}
        free = sorted(self.routes(control) - stopped)
        found = await queue.look_at_routes(self._store, free, limit=1)
        instants = [each.due_at for entries in found.values() for each in entries]
        instants += [entry.lease_until for entry in self.running.entries() if entry.lease_until is not None]
        return min(instants, default=None)
