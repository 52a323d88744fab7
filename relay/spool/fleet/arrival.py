"""The mail that comes into a fleet's spool out of a local one.

Owns its conditions. A mail is announced before its octets are stored, so that the janitor takes them for
nobody's waste; then one transaction makes its record, its entries, their guards and what the ledger knows of
them. Each step can be made again: what is there is known by the name of the operation, which is made of the
mail's id, and what has ended here meanwhile by the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from relay.aws.database import Action, Condition, Put
from relay.aws.values import Item, Value
from relay.envelope import Destination, SpoolId
from relay.errors import SpoolCorruptError, SpoolError, SpoolSickError
from relay.faults import fault_point
from relay.spool.fleet import control, tables
from relay.spool.fleet.encoding import build_entry, build_guard, build_ledger, build_mail, parse_guard
from relay.spool.fleet.janitor import TOMBSTONE_SECONDS
from relay.spool.fleet.memory import keep_shown
from relay.spool.fleet.outcomes import DETAIL_LIMIT, LEDGER_SECONDS
from relay.spool.fleet.records import EntryRecord, GuardRecord, LedgerRecord, MailRecord, StoredRequest
from relay.spool.fleet.store import Store
from relay.spool.ids import build_reference
from relay.spool.model import State
from relay.spool.moved import MovedEntry, MovedMail, MovedRecord

#: Entries in one transaction of at most 100 actions: each has a guard and perhaps a record of the ledger.
_MOST_WAYS: Final = 30
_SECOND = 1_000_000
#: Seconds after which whoever condemned a mail has removed its octets.
_CONDEMNED_SECONDS = 3_600
_MOST_NUMBER = 999_999
_TRIES = 5


class Arrival:
    """The way of mail into a fleet's spool."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._named: set[str] = set()

    async def put(self, mail: MovedMail, octets: bytes) -> bool:
        """Bring a mail in. Returns False if it was there already, or has ended here.

        Raises:
            SpoolError: another mail has its id, or no item holds it.
            SpoolSickError: nobody knows whether it is there; try it again.
        """
        op = f"moved:{mail.spool_id}"
        there = await self._read(tables.mail_partition(mail.spool_id))
        ended = {_way_of(item) for item in (await self._read(f"L#{mail.spool_id}")).values()}
        record = there.pop("M", None)
        if (
            record is not None
            and record.get("op") != op
            and not _may_take(record, now=self._store.clock.microseconds())
        ):
            return self._is_known(mail, record)
        numbers = number_entries(mail)
        coming = [
            entry
            for entry in mail.entries
            if _sort(numbers[entry.number]) not in there
            and (entry.state is State.DONE or _way(entry.destination) not in ended)
        ]
        is_begun = record is not None and record.get("op") == op and "st" not in record
        if not coming and (is_begun or ended):
            return False
        await self._name_routes(coming)
        if not is_begun:
            await self._announce(mail, op)
            fault_point("fleet.import.announced")
        await self._store_octets(mail, octets)
        entries = [await self._build(mail, entry, numbers[entry.number], op=op) for entry in coming]
        fault_point("fleet.import.stored")
        await self._commit(mail, entries, op=op, numbers=numbers, is_begun=is_begun)
        fault_point("fleet.import.committed")
        return True

    async def _read(self, partition: str) -> dict[str, Item]:
        wanted = Condition(text="#pk = :pk", values={"pk": partition})
        async with self._store.asked() as (database, _):
            items = await database.query_all(wanted, limit=2 * _MOST_NUMBER)
        return {str(item[tables.SORT]): item for item in items}

    def _is_known(self, mail: MovedMail, record: Item) -> bool:
        """Returns False: the mail came by another way, and what is known of it here is newer."""
        if record.get("fp") == mail.fingerprint:
            return False
        if record.get("st") == tables.CONDEMNED:
            raise SpoolSickError("its octets are being removed here; try again in an hour")
        raise SpoolError("another mail has its id here")

    async def _name_routes(self, entries: Sequence[MovedEntry]) -> None:
        """Have the leader know the routes of this mail before it is there."""
        routes = {entry.destination.route for entry in entries} - self._named
        if routes:
            await control.name_routes(self._store, routes)
            self._named |= routes

    async def _announce(self, mail: MovedMail, op: str) -> None:
        key = tables.mail_key(mail.spool_id)
        old = self._store.clock.microseconds() // _SECOND - _CONDEMNED_SECONDS + TOMBSTONE_SECONDS
        item: Item = {tables.PARTITION: key[0], tables.SORT: key[1], "st": tables.ANNOUNCED, "op": op}
        condition = Condition(
            text="attribute_not_exists(#pk) OR #st = :announced OR (#st = :condemned AND #ttl < :old)",
            values={"announced": tables.ANNOUNCED, "condemned": tables.CONDEMNED, "old": old},
        )
        if not (await self._store.change(Put(item=item, condition=condition), op=op)).done:
            raise SpoolSickError("its octets are being removed here; try again in an hour")

    async def _store_octets(self, mail: MovedMail, octets: bytes) -> None:
        key = tables.raw_object(self._store.prefix, mail.spool_id)
        sha256 = hashlib.sha256(octets).digest()
        about = {"fingerprint": mail.fingerprint, "trace": str(mail.trace_size)}
        async with self._store.asked() as (_, objects):
            if await objects.put(key, octets, size=len(octets), sha256=sha256, about=about):
                return
            found = await objects.find(key)
        if found is None or (found.get("fingerprint") != mail.fingerprint and not mail.is_gone):
            raise SpoolError("other octets have its id here")

    async def _build(self, mail: MovedMail, entry: MovedEntry, number: int, *, op: str) -> EntryRecord:
        """The record of an entry, whose request and description are stored before it."""
        request = None
        if entry.request is not None:
            request = await self._store_request(mail, entry, number)
        built = EntryRecord(
            spool_id=mail.spool_id,
            number=number,
            destination=entry.destination,
            state=entry.state,
            priority=entry.priority,
            group=entry.group,
            due_at=entry.due_at if entry.state is State.QUEUED else entry.updated_at,
            accepted_at=entry.accepted_at,
            updated_at=entry.updated_at,
            op=op,
            attempts=entry.attempts,
            cut_short=entry.cut_short,
            rung=entry.rung,
            released=entry.released,
            token=entry.token,
            sent_at=entry.sent_at,
            in_doubt_since=entry.in_doubt_since,
            request=request,
            contact_id=entry.contact_id,
            reason=entry.reason,
            detail=entry.detail[:DETAIL_LIMIT],
            captured=entry.captured,
            asked_instance=entry.asked_instance,
            dropped_at=entry.dropped_at,
            history=entry.history,
        )
        await keep_shown(self._store, built, entry.shown)
        return built

    async def _store_request(self, mail: MovedMail, entry: MovedEntry, number: int) -> StoredRequest:
        """Store a request under the name that a repetition of the move has, too."""
        octets = entry.request or b""
        sha256 = hashlib.sha256(octets).digest()
        request = StoredRequest(
            name=f"moved-{sha256.hex()[:32]}",
            size=len(octets),
            sha256=sha256,
            expires_at=entry.request_expires_at or 0,
        )
        reference = build_reference(mail.spool_id, number)
        key = tables.request_object(self._store.prefix, reference, request.name)
        async with self._store.asked() as (_, objects):
            await objects.put(key, octets, size=len(octets), sha256=sha256)
        return request

    async def _commit(
        self,
        mail: MovedMail,
        entries: Sequence[EntryRecord],
        *,
        op: str,
        numbers: Mapping[int, int],
        is_begun: bool,
    ) -> None:
        records = _place_records(mail, numbers)
        owing = {entry.number for entry in entries if entry.state is not State.DONE}
        waiting = list(entries)
        while waiting or not is_begun:
            some, waiting = waiting[:_MOST_WAYS], waiting[_MOST_WAYS:]
            for _ in range(_TRIES):
                actions: list[Action] = (
                    [] if is_begun else [self._put_mail(mail, op, entries=len(mail.entries))]
                )
                for entry in some:
                    fresh = Condition(text="attribute_not_exists(#pk)")
                    actions.append(Put(item=_item(entry), condition=fresh))
                    if entry.number in records and entry.number not in owing:
                        actions.append(Put(item=build_ledger(_ledger(records[entry.number], entry.number))))
                actions += await self._guard(mail, some)
                if not await self._store.transact(actions):
                    break
                if await self._is_there(mail, op, some):  # the answer of an earlier one was lost
                    break
            else:
                raise SpoolSickError("it is changed by others again and again; try it again")
            is_begun = True
        there = set(numbers.values())
        for number, record in records.items():
            if number not in there:
                await self.put_record(replace(record, number=number))

    def _put_mail(self, mail: MovedMail, op: str, *, entries: int) -> Put:
        record = MailRecord(
            spool_id=mail.spool_id,
            envelope=mail.envelope,
            results=mail.results,
            fingerprint=mail.fingerprint,
            message_id=mail.message_id,
            size=mail.size,
            trace_size=mail.trace_size,
            trace_sha256=mail.trace_sha256,
            author=mail.author,
            sender=mail.sender,
            entries=entries,
            accepted_at=mail.accepted_at,
            node=self._store.node,
            op=op,
        )
        try:
            item = {**build_mail(record), **({"forget": True} if mail.is_forgotten else {})}
        except ValueError as exc:
            raise SpoolError(f"no item holds it: {exc}") from exc
        condition = Condition(
            text="#op = :op AND #st = :announced", values={"op": op, "announced": tables.ANNOUNCED}
        )
        return Put(item=item, condition=condition)

    async def _is_there(self, mail: MovedMail, op: str, entries: Sequence[EntryRecord]) -> bool:
        there = await self._read(tables.mail_partition(mail.spool_id))
        record = there.get("M", {})
        return (
            record.get("op") == op
            and "st" not in record
            and all(_sort(entry.number) in there for entry in entries)
        )

    async def _guard(self, mail: MovedMail, entries: Sequence[EntryRecord]) -> list[Action]:
        """The guards of these entries. That of a newer mail stays, and so does what no window reaches."""
        window = self._store.window_seconds * _SECOND
        if mail.accepted_at < self._store.clock.microseconds() - window:
            return []
        guards = [
            build_moved_guard(
                mail.fingerprint,
                entry.destination,
                spool_id=mail.spool_id,
                number=entry.number,
                sender=mail.sender,
                dmarc=mail.results.get("relay_dmarc", ""),
                confirmed=mail.confirmed,
                accepted_at=mail.accepted_at,
                window_seconds=self._store.window_seconds,
            )
            for entry in entries
            if entry.dropped_at is None
        ]
        return list(await self._put_guards(guards))

    async def _put_guards(self, guards: Sequence[GuardRecord]) -> Sequence[Put]:
        unique = {guard.key: guard for guard in guards}
        async with self._store.asked() as (database, _):
            there = await database.get_all(list(unique))
        return [
            Put(
                item=build_guard(guard),
                condition=Condition(
                    text="attribute_not_exists(#pk) OR #at <= :at", values={"at": guard.accepted_at}
                ),
            )
            for key, guard in unique.items()
            if key not in there or parse_guard(there[key]).accepted_at <= guard.accepted_at
        ]

    async def put_record(self, record: MovedRecord) -> None:
        """Bring a record of the ledger in, of a mail that is gone, and the guard that it still is."""
        fresh = Condition(text="attribute_not_exists(#pk)")
        await self._store.change(Put(item=build_ledger(_ledger(record, record.number)), condition=fresh))
        window = self._store.window_seconds * _SECOND
        if record.dropped_at is not None or record.accepted_at < self._store.clock.microseconds() - window:
            return
        guard = build_moved_guard(
            record.fingerprint,
            record.destination,
            spool_id=record.spool_id,
            number=record.number,
            sender=record.sender,
            dmarc=record.dmarc,
            confirmed=record.confirmed,
            accepted_at=record.accepted_at,
            window_seconds=self._store.window_seconds,
        )
        for put in await self._put_guards([guard]):
            await self._store.change(put)


def _way(destination: Destination) -> tuple[Value, ...]:
    return destination.instance_id, destination.address, destination.route, destination.tag


def _way_of(record: Item) -> tuple[Value, ...]:
    """The way of a record of the ledger: numbers of entries are those of one spool."""
    return tuple(record.get(name, "") for name in ("inst", "to", "route", "tag"))


def _sort(number: int) -> str:
    return tables.entry_key("", number)[1]


def number_entries(mail: MovedMail) -> dict[int, int]:
    """The numbers of a mail's entries here, by those that they had: the same, or else from 1 on where one is
    larger than an item's may be.
    """
    numbers = [entry.number for entry in mail.entries]
    if all(0 < number <= _MOST_NUMBER for number in numbers):
        return {number: number for number in numbers}
    return {number: place for place, number in enumerate(sorted(numbers), 1)}


def _place_records(mail: MovedMail, numbers: Mapping[int, int]) -> dict[int, MovedRecord]:
    """The mail's records of the ledger by the numbers of their entries; those without an entry follow."""
    placed = {numbers[each.number]: each for each in mail.records if each.number in numbers}
    free = max([0, *numbers.values()]) + 1
    others = [each for each in mail.records if each.number not in numbers]
    return placed | dict(enumerate(others, free))


def _may_take(record: Item, *, now: int) -> bool:
    """Returns whether the record is that of no mail, and may be replaced."""
    if record.get("st") == tables.ANNOUNCED:
        return True
    condemned_until = record.get(tables.EXPIRES)
    return (
        record.get("st") == tables.CONDEMNED
        and isinstance(condemned_until, int)
        and condemned_until < now // _SECOND - _CONDEMNED_SECONDS + TOMBSTONE_SECONDS
    )


def _item(entry: EntryRecord) -> Item:
    try:
        return build_entry(entry)
    except ValueError as exc:
        raise SpoolError(f"no item holds its entry {entry.number}: {exc}") from exc


def _ledger(record: MovedRecord, number: int) -> LedgerRecord:
    if not 0 < number <= _MOST_NUMBER:
        raise SpoolCorruptError(f"record {number} of {record.spool_id} has no number that an item holds")
    return LedgerRecord(
        spool_id=record.spool_id,
        number=number,
        destination=record.destination,
        message_id=record.message_id,
        author=record.author,
        sender=record.sender,
        token=record.token,
        contact_id=record.contact_id,
        asked_instance=record.asked_instance,
        accepted_at=record.accepted_at,
        dropped_at=record.dropped_at,
        expires=record.accepted_at // _SECOND + LEDGER_SECONDS,
    )


def build_moved_guard(
    fingerprint: str,
    destination: Destination,
    *,
    spool_id: str,
    number: int,
    sender: str,
    dmarc: str,
    confirmed: bool,
    accepted_at: int,
    window_seconds: int,
) -> GuardRecord:
    """The guard that a mail which was accepted elsewhere is here."""
    return GuardRecord(
        key=tables.guard_key(fingerprint, destination, sender=sender),
        spool_id=SpoolId(spool_id),
        number=number,
        accepted_at=accepted_at,
        dmarc=dmarc,
        expires=accepted_at // _SECOND + window_seconds + 1,
        confirmed=confirmed,
    )
