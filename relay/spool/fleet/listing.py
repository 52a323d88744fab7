"""The entries of a fleet that an operator's ids and filters mean: found, joined and filtered as values.

Owns which partitions and indexes a question asks, and how many mails it looks at. What is owed is found by
the index of due entries; what is finished has no index, and is found by the walk over S3, mail by mail.
Never changes an item.
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
from relay.spool.fleet.turns import Waiting
from relay.spool.fleet.walk import Walk
from relay.spool.ids import split_id
from relay.spool.model import Entry, Filter, Hold, State, stands_in
from relay.spool.patterns import fits_recipient, fits_sender, parse_pattern
from relay.spool.records import build_json, to_microseconds

#: Entries that one question looks at, and requests that are read at the same time.
MOST: Final = 100_000
_AT_ONCE = 20
#: Mails that one question walks by, each of some three units of reads, and those that are read together.
MOST_WALKED: Final = 20_000
_TOGETHER = 100


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The entries that were found, and whether all were looked at."""

    found: Sequence[Found]
    is_cut: bool = False
    #: What was left out, as a sentence; "" if nothing was that was asked for.
    note: str = ""


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


async def find(store: Store, wanted: Filter, *, limit: int = MOST) -> Looked:
    """The entries that fit, in the order of their ids: about `limit` of the first at least, if there are so
    many.
    """
    fits = _fits(wanted)
    if not wanted.ids and (not wanted.states or State.DONE in wanted.states):
        looked = await _walk(store, fits, limit=limit)
        return replace(looked, found=sorted(looked.found, key=order_of))
    if wanted.ids:
        found, _ = await find_named(store, wanted.ids)
    else:
        found = await _find_owed(store, wanted.states)
    return Looked(found=sorted(filter(fits, found), key=order_of))


def order_of(found: Found) -> tuple[str, int]:
    """The order of entries: by the time of their ids."""
    return found.entry.spool_id, found.entry.number


async def _find_hints(store: Store, states: Sequence[State]) -> list[Waiting]:
    """The unfinished entries in these states, as they are shown or stored."""
    looked = await control.look(store)
    hints: list[Waiting] = []
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
    return hints


async def _find_owed(store: Store, states: Sequence[State]) -> list[Found]:
    """The entries in these states, as they are shown or stored."""
    hints = await _find_hints(store, states)
    async with store.asked() as (database, _):
        keys = [hint.key for hint in hints]
        mail_keys = [tables.mail_key(tables.split_key(key)[0]) for key in keys]
        entries, mails = await asyncio.gather(database.get_all(keys), database.get_all(mail_keys))
    return await join_items(store, [*entries.values(), *mails.values()])


async def _walk(store: Store, fits: Callable[[Found], bool], *, limit: int) -> Looked:
    """The oldest entries that fit, by the order of the raw mails in S3."""
    found: list[Found] = []
    walked = 0
    async for ids in Walk(store).forth():
        for at in range(0, len(ids), _TOGETHER):
            some = await read_found(store, [(each, None) for each in ids[at : at + _TOGETHER]])
            found += filter(fits, some)
            walked += min(_TOGETHER, len(ids) - at)
            if len(found) >= limit:
                return Looked(found=found, is_cut=True)
            if walked >= MOST_WALKED:
                return Looked(found=found, is_cut=True, note=_note(walked, "oldest"))
    return Looked(found=found)


async def walk_back(store: Store, fits: Callable[[Found], bool], *, limit: int) -> Looked:
    """The newest entries that fit, by the order of the raw mails in S3."""
    found: list[Found] = []
    walked = 0
    async for stretch in Walk(store).back():
        for at in range(0, len(stretch.ids), _TOGETHER):
            some = stretch.ids[at : at + _TOGETHER]
            found += filter(fits, await read_found(store, [(each, None) for each in some]))
            walked += len(some)
            if len(found) >= limit:
                return Looked(found=found, is_cut=True)
            if walked >= MOST_WALKED:
                return Looked(found=found, is_cut=True, note=_note(walked, "newest"))
    return Looked(found=found)


def _note(walked: int, which: str) -> str:
    return (
        f"a fleet looks at the {which} {walked:,} mails for a question about finished ones (docs/fleet.md), "
        "and there are more: ask for --state queued, leased, held or dead, or by an id"
    )


async def read_found(store: Store, wanted: Sequence[tuple[str, int | None]]) -> list[Found]:
    """The entries of these mails that have these numbers, or all of a mail where the number is None."""
    if not wanted:
        return []
    mail_keys = [tables.mail_key(spool_id) for spool_id, _ in wanted]
    known = [tables.entry_key(spool_id, number) for spool_id, number in wanted if number]
    async with store.asked() as (database, _):
        mails, entries = await asyncio.gather(database.get_all(mail_keys), database.get_all(known))
        others = [key for spool_id, number in wanted if number is None for key in _list_keys(mails, spool_id)]
        entries |= await database.get_all(others)
    return await join_items(store, [*entries.values(), *mails.values()])


def _list_keys(mails: dict[tables.Key, Item], spool_id: str) -> list[tables.Key]:
    """The keys of all entries of a mail; none if it has no record that can be read."""
    try:
        mail = parse_mail(mails[tables.mail_key(spool_id)])
    except (KeyError, SpoolCorruptError):
        return []
    return [tables.entry_key(spool_id, number) for number in range(1, mail.entries + 1)]


async def join_items(store: Store, items: Iterable[Item]) -> list[Found]:
    """The entries among some items, each with its mail if that is among them."""
    holds = await _holds(store)
    mails, entries = _read(items)
    return [_show(entry, mails.get(entry.spool_id), holds) for entry in entries]


def _fits(wanted: Filter) -> Callable[[Found], bool]:
    """The test of a filter."""
    tests: list[Callable[[Found], bool]] = []
    if wanted.states:
        tests.append(lambda each: each.shown_state in wanted.states)
    if wanted.route is not None:
        tests.append(lambda each: each.entry.destination.route == wanted.route)
    if (routes := wanted.routes) is not None:
        tests.append(lambda each: each.entry.destination.route in routes)
    if (reason := wanted.reason) is not None:
        tests.append(lambda each: shown_reason(each).startswith(reason))
    if wanted.sender in {"", "<>"}:
        tests.append(lambda each: each.mail is not None and each.mail.envelope.reverse_path is None)
    elif wanted.sender is not None:
        sends = fits_sender(parse_pattern(wanted.sender))
        tests.append(lambda each: each.mail is not None and bool(sends(each.mail.envelope.reverse_path)))
    if wanted.recipient is not None:
        receives = fits_recipient(parse_pattern(wanted.recipient))
        tests.append(lambda each: bool(receives(each.entry.destination.address, paths_of(each.entry))))
    if wanted.older_than is not None:
        before = to_microseconds(wanted.older_than)
        tests.append(lambda each: each.entry.accepted_at < before)
    return lambda each: all(test(each) for test in tests)


def paths_of(entry: EntryRecord) -> str:
    """The forward-paths that led to an entry, as JSON."""
    return build_json(entry.destination.forward_paths)


def shown_reason(each: Found) -> str:
    """The reason word as an operator sees it: that of the hold where the entry has none of its own."""
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
            shown.append(show_one(each, join(each.mail, each.entry, request=request)))
    return shown


def show_one(found: Found, entry: Entry) -> Entry:
    """The entry of the interface with the hold for which it waits."""
    return replace(entry, route_hold=found.hold) if found.hold else entry
