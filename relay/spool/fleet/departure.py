"""The mail that leaves a fleet's spool for a local one: read as values, and removed once it is there.

Owns how items become what moves, and the condition of their removal: each entry is as it was read, or nothing
of the mail is removed, and it is read again. Whoever moves mail out holds the lead, so that nobody delivers
meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from relay.aws.database import Action, Condition, Delete
from relay.aws.values import Item
from relay.errors import SpoolCorruptError
from relay.spool.fleet import aging, fence, outcomes, tables
from relay.spool.fleet.encoding import parse_entry, parse_guard, parse_ledger, parse_mail
from relay.spool.fleet.items import Reader
from relay.spool.fleet.octets import open_raw, read_request
from relay.spool.fleet.records import EntryRecord, LedgerRecord, MailRecord
from relay.spool.fleet.store import Store
from relay.spool.model import State
from relay.spool.moved import MovedEntry, MovedMail, MovedRecord
from relay.spool.page import Shown

#: Items that one transaction removes; a mail of more takes several.
MOST: Final = 90
_KEYS = 1_000
_ALL: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A mail that leaves, with its octets, and its entries as the table has them."""

    mail: MovedMail
    octets: bytes
    entries: tuple[EntryRecord, ...]
    #: True if some of its entries may have left before.
    is_part: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    """The facts that the guard of a mail that is gone still has."""

    fingerprint: str
    dmarc: str
    confirmed: bool


class Departure:
    """The way of mail out of a fleet's spool."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def list_ids(self) -> list[str]:
        """The ids of all mails, the oldest first, by their octets: S3 lists what is there now."""
        prefix, found = tables.raw_object(self._store.prefix, ""), ""
        ids: list[str] = []
        while True:
            async with self._store.asked() as (_, objects):
                keys = await objects.list(prefix, after=found, limit=_KEYS)
            if not keys:
                return ids
            ids += [key.removeprefix(prefix) for key in keys]
            found = keys[-1]

    async def _read(self, partition: str) -> list[Item]:
        wanted = Condition(text="#pk = :pk", values={"pk": partition})
        async with self._store.asked() as (database, _):
            return await database.query_all(wanted, limit=_ALL)

    async def read(self, spool_id: str, *, now: datetime) -> Leaving | None:
        """A mail with all that is known of it. Returns None if there is no such mail.

        Raises:
            SpoolCorruptError: it cannot be read.
        """
        items = await self._read(tables.mail_partition(spool_id))
        head = next((item for item in items if item.get(tables.SORT) == "M" and "env" in item), None)
        if head is None:
            return None
        record = parse_mail(head)
        entries = tuple(parse_entry(item) for item in items if item.get(tables.SORT) != "M")
        octets, is_gone = b"", aging.is_forgotten(items)
        if not is_gone:
            async with open_raw(self._store, record, self._folder) as (raw, _):
                octets = bytes(raw)
        shown = {str(item[tables.SORT]): item for item in await self._read(tables.shown_partition(spool_id))}
        mail = MovedMail(
            spool_id=record.spool_id,
            envelope=record.envelope,
            results=record.results,
            fingerprint=record.fingerprint,
            message_id=record.message_id,
            size=record.size,
            trace_size=record.trace_size,
            trace_sha256=record.trace_sha256,
            author=record.author,
            sender=record.sender,
            accepted_at=record.accepted_at,
            confirmed=await self._is_confirmed(record, entries),
            is_forgotten=head.get("forget") is True,
            is_gone=is_gone,
            entries=tuple([await self._build(entry, shown, now=now) for entry in entries]),
            records=tuple(
                _record(
                    parse_ledger(item),
                    guarded=_Guarded(
                        fingerprint=record.fingerprint,
                        dmarc=record.results.get("relay_dmarc", ""),
                        confirmed=False,
                    ),
                )
                for item in await self._read(f"L#{spool_id}")
            ),
        )
        return Leaving(mail=mail, octets=octets, entries=entries, is_part=record.entries >= MOST)

    async def _is_confirmed(self, record: MailRecord, entries: tuple[EntryRecord, ...]) -> bool:
        if record.message_id is not None:
            return False
        keys = [
            tables.guard_key(record.fingerprint, each.destination, sender=record.sender) for each in entries
        ]
        async with self._store.asked() as (database, _):
            guards = (await database.get_all(keys)).values()
        return any(item.get("sid") == record.spool_id and item.get("confirmed") is True for item in guards)

    async def _build(self, entry: EntryRecord, shown: Mapping[str, Item], *, now: datetime) -> MovedEntry:
        request = await read_request(self._store, entry)
        if entry.state is State.LEASED:
            entry = outcomes.returned(entry, now=now)
        return MovedEntry(
            number=entry.number,
            destination=entry.destination,
            state=entry.state,
            priority=entry.priority,
            group=entry.group,
            due_at=entry.due_at,
            accepted_at=entry.accepted_at,
            updated_at=entry.updated_at,
            attempts=entry.attempts,
            cut_short=entry.cut_short,
            rung=entry.rung,
            released=entry.released,
            token=entry.token,
            sent_at=entry.sent_at,
            in_doubt_since=entry.in_doubt_since,
            request=request,
            request_expires_at=entry.request.expires_at if entry.request else None,
            contact_id=entry.contact_id,
            reason=entry.reason,
            detail=entry.detail,
            captured=entry.captured,
            asked_instance=entry.asked_instance,
            dropped_at=entry.dropped_at,
            history=entry.history,
            shown=_read_shown(shown.get(entry.key[1])),
        )

    async def remove(self, leaving: Leaving) -> bool:
        """Remove a mail that is elsewhere now, its octets last. Returns False if an entry is not as it was
        read; then the mail must be read again.
        """
        actions: list[Action] = [
            Delete(key=entry.key, condition=fence.unchanged(entry)) for entry in leaving.entries
        ]
        actions.append(Delete(key=tables.mail_key(leaving.mail.spool_id)))
        while actions:
            some, actions = actions[:MOST], actions[MOST:]
            # Nothing was removed, or all of it by a removal whose answer was lost: then there is no mail.
            if await self._store.transact(some) and not await self._is_gone(leaving.mail.spool_id):
                return False
        for entry in leaving.entries:
            spool_id, number = entry.spool_id, entry.number
            await self._store.change(Delete(key=tables.shown_key(spool_id, number)))
            await self._store.change(Delete(key=tables.ledger_key(spool_id, number)))
        async with self._store.asked() as (_, objects):
            for key in await objects.list(
                tables.request_object(self._store.prefix, leaving.mail.spool_id, "")
            ):
                await objects.remove(key)
            await objects.remove(tables.raw_object(self._store.prefix, leaving.mail.spool_id))
        return True

    async def _is_gone(self, spool_id: str) -> bool:
        async with self._store.asked() as (database, _):
            return await database.get(tables.mail_key(spool_id)) is None

    async def read_records(self) -> AsyncIterator[list[MovedRecord]]:
        """The records of the ledger, in no order; with the octets' hash where a guard still has it."""
        guards: dict[tuple[str, int], _Guarded] = {}
        async for items in self._walk("G#"):
            for item in items:
                try:
                    guard = parse_guard(item)
                except SpoolCorruptError:
                    continue
                guards[guard.spool_id, guard.number] = _Guarded(
                    fingerprint=guard.key[0].removeprefix("G#"), dmarc=guard.dmarc, confirmed=guard.confirmed
                )
        nothing = _Guarded(fingerprint="", dmarc="", confirmed=False)
        seen: dict[str, list[MovedRecord]] = {}
        async for items in self._walk("L#"):
            for item in items:
                try:
                    record = parse_ledger(item)
                except SpoolCorruptError:
                    continue
                guarded = guards.get((record.spool_id, record.number), nothing)
                seen.setdefault(record.spool_id, []).append(_record(record, guarded=guarded))
        records = [record for some in seen.values() for record in some]
        for at in range(0, len(records), _KEYS):
            yield records[at : at + _KEYS]

    async def _walk(self, kind: str) -> AsyncIterator[list[Item]]:
        wanted, start = Condition(text="begins_with(#pk, :kind)", values={"kind": kind}), None
        while True:
            async with self._store.asked() as (database, _):
                page = await database.scan(wanted=wanted, start=start)
            yield list(page.items)
            start = page.next
            if not start:
                return


def _read_shown(item: Item | None) -> Shown | None:
    if item is None:
        return None
    with Reader(item) as read:
        return Shown(
            document=read.octets("doc"),
            classification=read.text("class"),
            marks=read.text("marks"),
            words=read.text("words"),
        )


def _record(record: LedgerRecord, *, guarded: _Guarded) -> MovedRecord:
    return MovedRecord(
        spool_id=record.spool_id,
        number=record.number,
        fingerprint=guarded.fingerprint,
        destination=replace(record.destination, forward_paths=()),
        message_id=record.message_id,
        confirmed=guarded.confirmed,
        token=record.token,
        contact_id=record.contact_id,
        asked_instance=record.asked_instance,
        accepted_at=record.accepted_at,
        dropped_at=record.dropped_at,
        author=record.author,
        sender=record.sender,
        dmarc=guarded.dmarc,
    )
