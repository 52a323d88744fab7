"""The changes of an operator in a fleet: each entry is decided on, and changed, by itself.

Owns what such an entry forgets and keeps. A change is written only if the entry is as it was read; if
somebody else changed it meanwhile, it is read again. Entries under way are never changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from relay.aws.database import Action, Condition, Delete
from relay.domains import normalise_address
from relay.envelope import Destination
from relay.errors import SpoolCorruptError, SpoolSickError
from relay.spool.change import Changed, Left, Target
from relay.spool.doubt import is_too_old
from relay.spool.duplicates import Likeness, build_token
from relay.spool.fleet import control, fence, tables
from relay.spool.fleet.encoding import build_ledger
from relay.spool.fleet.guards import add_guard, free_guard
from relay.spool.fleet.listing import MOST, Found, find, find_named, read_mail_items
from relay.spool.fleet.memory import put_ledger
from relay.spool.fleet.outcomes import ledger_of, moved, remembered
from relay.spool.fleet.records import EntryRecord
from relay.spool.fleet.store import Store
from relay.spool.model import DROPPABLE, RETRIABLE, Filter, State
from relay.spool.records import from_microseconds, to_microseconds
from relay.vocabulary import Rung

#: Tries of a change that others come before.
_TRIES: Final = 10
_POLICY_HELD = ("class.", "policy.")


class _LeftError(Exception):
    """An entry that is left as it was."""

    def __init__(self, left: Left) -> None:
        super().__init__(left.id)
        self.left = left


Change = Callable[[Found], EntryRecord]


def _left(found: Found, **facts: object) -> _LeftError:
    return _LeftError(Left(id=found.entry.reference, state=found.shown_state, **facts))  # type: ignore[arg-type]


async def change_each(store: Store, ids: Sequence[str], states: Sequence[State], change: Change) -> Changed:
    """Change each entry that these ids name and that stands in one of these states."""

    async def write(found: Found) -> bool:
        fresh = change(found)
        return await fence.write(store, fresh, fence.unchanged(found.entry)) is not None

    return await _each(store, ids, states, write)


async def _each(
    store: Store, ids: Sequence[str], states: Sequence[State], write: Callable[[Found], object]
) -> Changed:
    named, unknown = await find_named(store, ids)
    left: list[Left] = []
    routes: set[str] = set()
    count = 0
    for one in sorted(named, key=lambda each: (each.entry.spool_id, each.entry.number)):
        try:
            await _change_one(store, one, states, write)
        except _LeftError as exc:
            left.append(exc.left)
        else:
            count += 1
            routes.add(one.entry.destination.route)
    left += [Left(id=word, state=None) for word in unknown]
    return Changed(count=count, left=tuple(left), routes=tuple(sorted(routes)))


async def _change_one(
    store: Store, one: Found, states: Sequence[State], write: Callable[[Found], object]
) -> None:
    for _ in range(_TRIES):
        if not one.stands_in(states) or one.entry.state is State.LEASED:
            raise _left(one)
        if await write(one):  # type: ignore[misc]
            return
        again, _ = await find_named(store, [one.entry.reference])
        if not again:
            raise _LeftError(Left(id=one.entry.reference, state=None))
        one = again[0]
    raise SpoolSickError(f"fleet: {one.entry.reference} is changed by others again and again")


def requeue(*, event: str, now: datetime, agreed: bool) -> Change:
    """The change by which an entry is due now. One that has been in doubt for too long is left unless a
    person has `agreed` to a second contact.
    """
    at = to_microseconds(now)

    def change(found: Found) -> EntryRecord:
        since = _instant(found.entry.in_doubt_since)
        doubtful = is_too_old(since, now=now)
        if doubtful and not agreed:
            raise _left(found, in_doubt_since=since)
        fresh = _queued(found.entry, now=now, event=event)
        return replace(fresh, in_doubt_since=at) if doubtful else fresh

    return change


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)


def _queued(entry: EntryRecord, *, now: datetime, event: str, detail: str = "") -> EntryRecord:
    """The entry that is due now. A mail that a policy held and a person released is not judged by it again;
    the reason `operator` goes, since the history has it.
    """
    by_policy = any(each.event == "held" and each.reason.startswith(_POLICY_HELD) for each in entry.history)
    told = remembered(entry, event=event, detail=detail, now=now)
    return replace(
        told,
        state=State.QUEUED,
        due_at=to_microseconds(now),
        cut_short=0,
        reason="" if entry.reason == "operator" else entry.reason,
        released=entry.released or by_policy,
    )


def hold(*, now: datetime) -> Change:
    """The change by which a queued entry waits for a person."""
    return lambda found: replace(
        moved(found.entry, State.HELD, event="held", reason="operator", detail="", now=now),
        cut_short=found.entry.cut_short,
    )


async def reroute(
    store: Store, ids: Sequence[str], target: Target, *, now: datetime, agreed: bool
) -> Changed:
    """Have entries due now by another route, under a new token."""

    async def write(found: Found) -> bool:
        entry = found.entry
        if found.mail is None:
            raise SpoolCorruptError(f"mail {entry.spool_id} has no record")
        paths = entry.destination.forward_paths
        to = target.address or _without_tag(
            paths[0] if paths else entry.destination.address, entry.destination.tag
        )
        twin = await _find_twin(store, entry, target, to)
        if twin:
            raise _left(found, twin=twin)
        since = _instant(entry.in_doubt_since)
        if since is not None and not agreed:
            raise _left(found, in_doubt_since=since)
        place = replace(entry.destination, instance_id=target.instance_id, address=to, route=target.route)
        fresh = _queued(entry, now=now, event="rerouted", detail=_tell_way(entry.destination, place))
        likeness = Likeness(
            fingerprint=found.mail.fingerprint,
            instance_id=place.instance_id,
            address=to,
            route=place.route,
            tag=place.tag,
            sender=found.mail.sender,
            dmarc=found.mail.results.get("relay_dmarc", ""),
        )
        fresh = replace(
            fresh,
            destination=place,
            token=build_token(likeness, salt=f"{entry.reference} {secrets.token_hex(16)}"),
            sent_at=None,
            in_doubt_since=None,
            rung=Rung.FULL,
            request=None,
            captured=None,
            reason="",
            detail="",
        )
        guard = await add_guard(store, found.mail, fresh)
        return await fence.write_with(store, fresh, fence.unchanged(entry), guard) is not None

    # The leader looks where names of routes say: a route may have had no mail before.
    await control.name_routes(store, [target.route])
    changed = await _each(store, ids, RETRIABLE, write)
    return replace(changed, routes=(target.route,) if changed.count else ())


def _tell_way(old: Destination, new: Destination) -> str:
    return f"from {old.route} ({old.address} at {old.instance_id}) to {new.route} ({new.address} at {new.instance_id})"


def _without_tag(address: str, tag: str) -> str:
    """The address without its subaddress: Connect knows `support@`, not `support+vip@`."""
    local, _, domain = address.rpartition("@")
    return f"{local.removesuffix(f'+{tag}')}@{domain}" if tag else address


async def _find_twin(store: Store, entry: EntryRecord, target: Target, to: str) -> str:
    """The reference of the entry, this one perhaps, that has that way already. Returns "" if there is
    none.
    """
    named, _ = await find_named(store, [entry.spool_id])
    for other in named:
        way = other.entry.destination
        if (way.route, way.instance_id) == (target.route, target.instance_id) and normalise_address(
            way.address
        ) == normalise_address(to):
            return other.entry.reference
    return ""


async def switch(store: Store, route: str, *, standby: bool, leaving: str, now: datetime) -> bool:
    """Lead a route to its standby, or back. Returns whether it led elsewhere before.

    Requests of which nobody knows to which instance they went are taken to be with the one that is `leaving`;
    mail of which no request is in doubt is due.
    """
    owed = Filter(route=route, states=RETRIABLE, limit=MOST)
    for one in (await find(store, owed)).found:
        entry = one.entry
        if entry.in_doubt_since is not None and entry.asked_instance is None:
            await fence.write(store, replace(entry, asked_instance=leaving), fence.unchanged(entry))
    if not await control.switch(store, route, standby=standby, now=now):
        return False
    at = to_microseconds(now)
    for one in (await find(store, owed)).found:
        entry = one.entry
        if entry.state is State.QUEUED and entry.due_at > at and entry.in_doubt_since is None:
            await fence.write(store, replace(entry, due_at=at), fence.unchanged(entry))
    return True


async def drop(store: Store, ids: Sequence[str], *, now: datetime) -> Changed:
    """Remove entries for good, and the mail with the last of them."""

    async def write(found: Found) -> bool:
        entry = found.entry
        actions: list[Action] = [
            Delete(key=entry.key, condition=fence.unchanged(entry)),
            Delete(key=tables.shown_key(entry.spool_id, entry.number)),
        ]
        if entry.state is not State.DONE and found.mail is not None:
            dropped = replace(entry, dropped_at=to_microseconds(now))
            actions.append(put_ledger(build_ledger(ledger_of(found.mail, dropped, now=now))))
            actions += await free_guard(store, found.mail, entry)
        reasons = await store.transact(actions)
        if reasons and reasons[0].item is not None:
            return False
        # Without an item in the way the entry is gone: by this very change, whose answer was lost.
        await _remove_mail(store, entry.spool_id)
        return True

    return await _each(store, ids, DROPPABLE, write)


async def _remove_mail(store: Store, spool_id: str) -> None:
    """Remove a mail that has no entry any more, then its octets."""
    items = await read_mail_items(store, spool_id)
    if any(item.get(tables.SORT) != "M" for item in items):
        return
    await store.change(
        Delete(key=tables.mail_key(spool_id), condition=Condition(text="attribute_exists(#pk)"))
    )
    async with store.asked() as (_, objects):
        for key in await objects.list(f"{store.prefix}req/{spool_id}."):
            await objects.remove(key)
        await objects.remove(tables.raw_object(store.prefix, spool_id))
