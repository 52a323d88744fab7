"""The questions that an operator asks of a fleet's spool, from any node or from none.

Owns how each is asked of the table. What it shows is at most a moment old. Never changes an item.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from relay.aws.database import Condition
from relay.aws.values import Item
from relay.domains import normalise_address
from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.duplicates import normalise_reverse_path
from relay.spool.fleet import control, listing, queue, tables
from relay.spool.fleet.encoding import build_instant, parse_ledger
from relay.spool.fleet.listing import MOST, Found, find_named
from relay.spool.fleet.made import count_made
from relay.spool.fleet.store import Store
from relay.spool.fleet.turns import Waiting
from relay.spool.ids import split_id
from relay.spool.model import BY_POLICY, Backlog, Entry, Filter, Remembered, State, Submission
from relay.spool.patterns import equals, fits_recipient, fits_sender, is_whole, parse_pattern
from relay.spool.records import build_json, from_microseconds, to_microseconds

_ASIDE: Final = {State.HELD: tables.HELD_QUEUE, State.DEAD: tables.DEAD_QUEUE}


async def _lanes(store: Store) -> list[str]:
    looked = await control.look(store)
    return [tables.queue_of(route, priority) for route in sorted(looked.routes) for priority in (0, 1)]


async def counts(store: Store) -> dict[State, int]:
    """The number of entries stored in each state. Those that are done have no number that is cheap."""
    queued = [await queue.count(store, lane) for lane in await _lanes(store)]
    return {
        State.QUEUED: sum(queued),
        State.LEASED: await queue.count(store, tables.LEASED_QUEUE),
        State.HELD: await queue.count(store, tables.HELD_QUEUE),
        State.DEAD: await queue.count(store, tables.DEAD_QUEUE),
    }


async def tally(store: Store, wanted: Filter) -> tuple[dict[State, int], str]:
    """The number of entries that fit, by shown state, and what was left out. Those that are done are counted
    only where all mails could be looked at.
    """
    states: dict[State, int] = dict.fromkeys(wanted.states or State, 0)
    looked = await listing.find(store, wanted)
    if looked.is_cut:
        owed = replace(wanted, states=tuple(state for state in states if state is not State.DONE))
        states.pop(State.DONE, None)
        found = (await listing.find(store, owed)).found if owed.states else ()
    else:
        found = looked.found
    for each in found:
        states[each.shown_state] = states.get(each.shown_state, 0) + 1
    return states, looked.note


async def contacts(store: Store, *, since: datetime) -> int:
    """The number of contacts since then, as the leader has told it with its last renewal."""
    async with store.asked() as (database, _):
        item = await database.get((tables.CONTROL, tables.LEADER))
    return count_made((item or {}).get("made"), since=to_microseconds(since))


async def aside(store: Store) -> dict[State, tuple[int, datetime | None]]:
    """The number of entries held and dead, and the instants of the last of each."""
    found: dict[State, tuple[int, datetime | None]] = {}
    for state, name in _ASIDE.items():
        last = await queue.look(store, name, limit=1, backwards=True)
        number = await queue.count(store, name) if last else 0
        found[state] = (number, from_microseconds(last[0].due_at) if last else None)
    return found


async def holds_after(store: Store, after: datetime | None, *, limit: int) -> list[tuple[datetime, str]]:
    """The instants and reasons of the entries held that came to be so after then, the earliest first."""
    since = 0 if after is None else to_microseconds(after) + 1
    hints = await queue.look(store, tables.HELD_QUEUE, since=since, limit=limit)
    return [(from_microseconds(hint.due_at), hint.reason) for hint in hints]


async def held_by_policy(store: Store) -> int:
    """The number of entries that a rule of the policy holds."""
    hints = await queue.look(store, tables.HELD_QUEUE, limit=MOST)
    return sum(hint.reason.startswith(BY_POLICY) for hint in hints)


async def originals(store: Store, *, reasons: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
    """The number of entries that began the last rung since then for one of these reasons, and when the last
    did.
    """
    wanted = Condition(
        text="#pk = :pk AND #sk >= :since",
        values={"pk": tables.ORIGINALS, "since": build_instant(to_microseconds(since))},
    )
    async with store.asked() as (database, _):
        items = await database.query_all(wanted, limit=MOST)
    found = {
        str(item.get("ref")): int(str(item[tables.SORT])[: tables.INSTANT_DIGITS])
        for item in items
        if item.get("reason") in reasons
    }
    return len(found), from_microseconds(max(found.values())) if found else None


async def _undelivered(store: Store) -> list[tuple[State, Waiting]]:
    looked = await control.look(store)
    held = {hold.route for hold in looked.paused.holds}
    by_route = await queue.look_at_routes(store, sorted(looked.routes), limit=MOST)
    found = [
        (State.HELD if route in held else State.QUEUED, each)
        for route, entries in by_route.items()
        for each in entries
    ]
    for state, name in ((State.LEASED, tables.LEASED_QUEUE), *_ASIDE.items()):
        found += [(state, each) for each in await queue.look(store, name, limit=MOST)]
    return found


async def backlog(store: Store, *, limits: Sequence[timedelta], now: datetime) -> list[Backlog]:
    """The age histogram of each route with undelivered entries, by name of the route."""
    routes: dict[str, list[tuple[State, int]]] = {}
    for state, each in await _undelivered(store):
        routes.setdefault(each.route, []).append((state, each.accepted_at))
    return [_count(route, entries, limits=limits, now=now) for route, entries in sorted(routes.items())]


def _count(
    route: str, entries: Sequence[tuple[State, int]], *, limits: Sequence[timedelta], now: datetime
) -> Backlog:
    ages = [0] * (len(limits) + 1)
    waiting = [at for state, at in entries if state is not State.DEAD]
    for at in waiting:
        ages[bisect_right(limits, now - from_microseconds(at))] += 1
    number = {state: sum(each is state for each, _ in entries) for state in State}
    return Backlog(
        route=route,
        queued=number[State.QUEUED],
        leased=number[State.LEASED],
        held=number[State.HELD],
        dead=number[State.DEAD],
        ages=tuple(ages),
        oldest_at=from_microseconds(min(waiting)) if waiting else None,
    )


async def trace(store: Store, word: str, *, limit: int) -> tuple[list[Entry], str]:
    """The newest entries that a Message-ID, spool id, contact id or address names, oldest first, and what was
    left out: an address is looked for in the newest mails alone.
    """
    named, _ = await find_named(store, [word])
    found = {each.entry.reference: each for each in named}
    mails = {each[0] for each in await find_mails(store, word)}
    for each in (await find_named(store, sorted(mails)))[0]:
        found[each.entry.reference] = each
    note = ""
    if "@" in word or word == "<>":
        looked = await listing.walk_back(store, _names(word), limit=limit)
        found |= {each.entry.reference: each for each in looked.found}
        note = looked.note
    newest = sorted(found.values(), key=listing.order_of)[-limit:]
    return await listing.show(store, newest, requests=True), note


def _names(word: str) -> Callable[[Found], bool]:
    """The test for the entries of an address."""
    fits = equals(word) if is_whole(word) else parse_pattern(word)
    sends, receives = fits_sender(fits), fits_recipient(fits)

    def names(each: Found) -> bool:
        if each.mail is None:
            return False
        sender = each.mail.envelope.reverse_path
        if word == "<>":
            return sender is None
        paths = listing.paths_of(each.entry)
        return bool(sends(sender) or receives(each.entry.destination.address, paths))

    return names


async def find_mails(store: Store, word: str) -> list[tuple[SpoolId, Item]]:
    """The mails, or records of the ledger, with this Message-ID or contact id."""
    spellings = dict.fromkeys([word, word if word.startswith("<") else f"<{word}>"])
    async with store.asked() as (database, _):
        items = [
            item
            for spelling in spellings
            if spelling
            for item in await database.query_all(
                Condition(text="#mid = :mid", values={"mid": tables.fit_key(spelling)}),
                index=tables.MESSAGE_INDEX,
                limit=MOST,
            )
        ]
        if word:
            items += await database.query_all(
                Condition(text="#cid = :cid", values={"cid": tables.fit_key(word)}),
                index=tables.CONTACT_INDEX,
                limit=MOST,
            )
    return [(tables.split_key((str(item["pk"]), str(item["sk"])))[0], item) for item in items]


async def remembered(store: Store, word: str, *, limit: int) -> list[Remembered]:
    """The newest records of the ledger for a Message-ID, spool id or contact id, oldest first; for a whole
    address by a walk over the table.
    """
    keys = {
        (str(item["pk"]), str(item["sk"]))
        for _, item in await find_mails(store, word)
        if str(item["pk"]).startswith("L#")
    }
    async with store.asked() as (database, _):
        items = list((await database.get_all(sorted(keys))).values())
        spool_id, number = split_id(word)
        if spool_id:
            ledger = Condition(text="#pk = :pk", values={"pk": f"L#{spool_id}"})
            items += await database.query_all(ledger, limit=MOST)
    records = {}
    for item in items:
        try:
            record = parse_ledger(item)
        except SpoolCorruptError:
            continue
        if (record.spool_id, record.number) not in records:
            records[record.spool_id, record.number] = Remembered(
                spool_id=record.spool_id,
                instance_id=record.asked_instance or record.destination.instance_id,
                address=record.destination.address,
                message_id=record.message_id,
                contact_id=record.contact_id,
                accepted_at=from_microseconds(record.accepted_at),
                dropped_at=None if record.dropped_at is None else from_microseconds(record.dropped_at),
                erased_at=None if record.erased_at is None else from_microseconds(record.erased_at),
            )
    kept = [
        record for key, record in sorted(records.items()) if number in (None, key[1]) or key[0] != spool_id
    ]
    return kept[-limit:]


async def others(store: Store, submission: Submission) -> list[SpoolId]:
    """The mails with the octets and a destination of this one, of which it would be no retransmission."""
    sender = normalise_reverse_path(submission.envelope.reverse_path)
    wanted = Condition(text="#pk = :pk", values={"pk": f"G#{submission.fingerprint}"})
    async with store.asked() as (database, _):
        items = await database.query_all(wanted, limit=MOST)
    found: list[SpoolId] = []
    for destination in submission.destinations:
        own = tables.guard_key(submission.fingerprint, destination, sender=sender)[1]
        if any(item.get(tables.SORT) == own for item in items):
            continue
        begin = build_json([destination.instance_id, normalise_address(destination.address)])[:-1] + ","
        found += [SpoolId(str(item["sid"])) for item in items if str(item.get(tables.SORT)).startswith(begin)]
    return list(dict.fromkeys(found))
