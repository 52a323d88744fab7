"""The entries of a fleet that an operator's ids and filters mean: found, joined and filtered as values.

Owns which partitions and indexes a question asks. What is owed is found by the index of due entries, and what
is finished by a walk over the whole table, which costs by its size. Never changes an item.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.aws.database import Condition
from relay.aws.values import Item
from relay.errors import SpoolCorruptError
from relay.spool.fleet import control, queue, tables
from relay.spool.fleet.encoding import parse_entry, parse_mail
from relay.spool.fleet.octets import read_request
from relay.spool.fleet.records import EntryRecord, MailRecord, join
from relay.spool.fleet.store import Store
from relay.spool.ids import split_id
from relay.spool.model import Entry, Filter, Hold, State, stands_in
from relay.spool.patterns import fits_recipient, fits_sender, parse_pattern
from relay.spool.records import build_json, to_microseconds

#: Entries that one question looks at, and mails that are read at the same time.
MOST: Final = 100_000
_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry with its mail, and the hold of its route while it waits for that."""

    entry: EntryRecord
    mail: MailRecord | None
    hold: Hold | None

    @property
    def shown_state(self) -> State:
        """The state as an operator sees it."""
        return State.HELD if self.hold else self.entry.state

    def stands_in(self, states: Sequence[State]) -> bool:
        """Returns whether the stored or the shown state is among these."""
        return stands_in(states, stored=self.entry.state, shown=self.shown_state)


async def read_mail_items(store: Store, spool_id: str) -> list[Item]:
    """The record of a mail and of its entries, as they are now."""
    if not spool_id:
        return []
    wanted = Condition(text="#pk = :pk", values={"pk": tables.mail_partition(spool_id)})
    async with store.asked() as (database, _):
        return await database.query_all(wanted, limit=MOST)


def _read(items: Iterable[Item]) -> tuple[dict[str, MailRecord], list[EntryRecord]]:
    """The mails and entries among some items. One that cannot be read is left out."""
    mails: dict[str, MailRecord] = {}
    entries: list[EntryRecord] = []
    for item in items:
        try:
            if item.get(tables.SORT) == "M":
                mail = parse_mail(item)
                mails[mail.spool_id] = mail
            else:
                entries.append(parse_entry(item))
        except SpoolCorruptError:
            continue
    return mails, entries


async def find_named(store: Store, ids: Sequence[str]) -> tuple[list[Found], list[str]]:
    """The entries that these ids name, each once, and the ids that name no entry."""
    holds = await _holds(store)
    found: dict[str, Found] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(ids):
        spool_id, number = split_id(word)
        mails, entries = _read(await read_mail_items(store, spool_id))
        named = [entry for entry in entries if number in (None, entry.number)]
        if not named:
            unknown.append(word)
        for entry in named:
            found[entry.reference] = _show(entry, mails.get(entry.spool_id), holds)
    return list(found.values()), unknown


async def _holds(store: Store) -> dict[str, Hold]:
    return {hold.route: hold for hold in (await control.look(store)).paused.holds}


def _show(entry: EntryRecord, mail: MailRecord | None, holds: dict[str, Hold]) -> Found:
    waits = entry.state is State.QUEUED
    return Found(entry=entry, mail=mail, hold=holds.get(entry.destination.route) if waits else None)


async def find(store: Store, wanted: Filter) -> list[Found]:
    """All entries that fit, in the order of their ids."""
    if wanted.ids:
        found, _ = await find_named(store, wanted.ids)
    elif not wanted.states or State.DONE in wanted.states:
        found = await _walk(store)
    else:
        found = await _find_owed(store, wanted.states)
    fits = _fits(wanted)
    return sorted(filter(fits, found), key=lambda each: (each.entry.spool_id, each.entry.number))


async def _find_owed(store: Store, states: Sequence[State]) -> list[Found]:
    """The entries in these states, as they are shown or stored."""
    looked = await control.look(store)
    hints = []
    if State.QUEUED in states or (State.HELD in states and looked.paused.holds):
        routes = looked.routes if State.QUEUED in states else {hold.route for hold in looked.paused.holds}
        by_route = await queue.look_at_routes(store, sorted(routes), limit=MOST)
        hints += [each for entries in by_route.values() for each in entries]
    for state, name in (
        (State.LEASED, tables.LEASED_QUEUE),
        (State.HELD, tables.HELD_QUEUE),
        (State.DEAD, tables.DEAD_QUEUE),
    ):
        if state in states:
            hints += await queue.look(store, name, limit=MOST)
    async with store.asked() as (database, _):
        keys = [hint.key for hint in hints]
        mail_keys = [tables.mail_key(tables.split_key(key)[0]) for key in keys]
        entries, mails = await asyncio.gather(database.get_all(keys), database.get_all(mail_keys))
    return _join(await _holds(store), [*entries.values(), *mails.values()])


async def _walk(store: Store) -> list[Found]:
    """Every entry, by a walk over the table."""
    wanted = Condition(text="begins_with(#pk, :mail)", values={"mail": "M#"})
    items: list[Item] = []
    start = None
    while True:
        async with store.asked() as (database, _):
            page = await database.scan(wanted=wanted, start=start)
        items += page.items
        start = page.next
        if not start:
            return _join(await _holds(store), items)


def _join(holds: dict[str, Hold], items: Iterable[Item]) -> list[Found]:
    mails, entries = _read(items)
    return [_show(entry, mails.get(entry.spool_id), holds) for entry in entries]


def _fits(wanted: Filter) -> Callable[[Found], bool]:
    """The test of a filter."""
    tests: list[Callable[[Found], bool]] = []
    if wanted.states:
        tests.append(lambda each: each.shown_state in wanted.states)
    if wanted.route is not None:
        tests.append(lambda each: each.entry.destination.route == wanted.route)
    if (reason := wanted.reason) is not None:
        tests.append(lambda each: _shown_reason(each).startswith(reason))
    if wanted.sender in {"", "<>"}:
        tests.append(lambda each: each.mail is not None and each.mail.envelope.reverse_path is None)
    elif wanted.sender is not None:
        sends = fits_sender(parse_pattern(wanted.sender))
        tests.append(lambda each: each.mail is not None and bool(sends(each.mail.envelope.reverse_path)))
    if wanted.recipient is not None:
        receives = fits_recipient(parse_pattern(wanted.recipient))
        tests.append(lambda each: bool(receives(each.entry.destination.address, _paths_of(each.entry))))
    if wanted.older_than is not None:
        before = to_microseconds(wanted.older_than)
        tests.append(lambda each: each.entry.accepted_at < before)
    return lambda each: all(test(each) for test in tests)


def _paths_of(entry: EntryRecord) -> str:
    return build_json(entry.destination.forward_paths)


def _shown_reason(each: Found) -> str:
    return each.hold.reason if each.hold and not each.entry.reason else each.entry.reason


async def show(store: Store, found: Sequence[Found], *, requests: bool) -> list[Entry]:
    """The entries of the interface, with their requests if they are asked for. An entry without its mail is
    left out.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def read(entry: EntryRecord) -> bytes | None:
        async with places:
            try:
                return await read_request(store, entry) if requests else None
            except SpoolCorruptError:
                return None

    octets = await asyncio.gather(*(read(each.entry) for each in found))
    shown: list[Entry] = []
    for each, request in zip(found, octets, strict=True):
        if each.mail is not None:
            entry = join(each.mail, each.entry, request=request)
            shown.append(replace(entry, route_hold=each.hold) if each.hold else entry)
    return shown
