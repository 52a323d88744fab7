"""The end of the wait in a fleet: mail that was queued or held for too long becomes a dead letter.

Owns the search for it, by the index of due entries, the question whether a route has mail, and the end of the
octets of a mail that is to be forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from relay import telemetry
from relay.aws.database import Condition, Update
from relay.aws.values import Item
from relay.errors import SpoolCorruptError, SpoolSickError
from relay.spool.fleet import fence, outcomes, queue, tables
from relay.spool.fleet.listing import read_mail_items
from relay.spool.fleet.records import join
from relay.spool.fleet.store import Store
from relay.spool.fleet.turns import Waiting
from relay.spool.model import Aged, Entry, State

#: Entries of a queue that one step looks at, and that it gives up.
_LOOK = 5_000
_MOST = 500
#: An entry that an operator retried or released is not given up before its attempt, if that comes within this
#: time.
_ASKED = timedelta(hours=2)


async def bury_aged(
    store: Store, routes: Iterable[str], *, accepted_before: int, reason: str, detail: str, now: datetime
) -> Aged:
    """Give up entries that were accepted before that instant and are queued or held."""
    found = await _find_aged(store, routes, before=accepted_before)
    buried: list[Entry] = []
    for hint in found[:_MOST]:
        entry = await fence.read(store, hint.key)
        if entry is None or entry.state not in (State.QUEUED, State.HELD):
            continue
        if outcomes.was_asked_for(entry, since=now - _ASKED):
            continue
        told = outcomes.told_again(entry, reason=reason, detail=detail)
        dead = outcomes.buried(
            entry, reason=reason, detail=told, afresh=False, doubt=entry.in_doubt_since, now=now
        )
        written = await fence.write(store, dead, fence.unchanged(entry))
        if written is not None:
            # An entry that cannot be shown is buried all the same.
            with suppress(SpoolCorruptError):
                mail = await fence.read_mail(store, written.spool_id)
                buried.append(join(mail, written, request=None))
    return Aged(entries=tuple(buried), after=None)


async def _find_aged(store: Store, routes: Iterable[str], *, before: int) -> list[Waiting]:
    held = await queue.look(store, tables.HELD_QUEUE, limit=_LOOK)
    queued = await queue.look_at_routes(store, sorted(routes), limit=_LOOK)
    found = [*held, *(each for entries in queued.values() for each in entries)]
    return sorted((each for each in found if each.accepted_at < before), key=lambda each: each.key)


async def is_used(store: Store, route: str) -> bool:
    """Returns whether a queued or leased entry names this route."""
    if await queue.look_at_routes(store, [route], limit=1):
        return True
    return any(each.route == route for each in await queue.look_at_leased(store))


async def forget_raw(store: Store, spool_id: str, *, wanted: bool) -> None:
    """Remove the octets of a mail once no entry of it is unfinished, if that is wanted now or was before.

    An object without octets stays, by which the janitor finds the mail.
    """
    if wanted:
        mark = Update(
            key=tables.mail_key(spool_id),
            text="SET #forget = :yes",
            values={"yes": True},
            condition=Condition(text="attribute_exists(#pk)"),
        )
        await store.change(mark)
    if not is_forgotten(await read_mail_items(store, spool_id)):
        return
    async with store.asked() as (_, objects):
        key = tables.raw_object(store.prefix, spool_id)
        await objects.put(key, b"", size=0, sha256=hashlib.sha256(b"").digest(), once=False)
    try:
        async with store.asked() as (_, objects):
            await objects.remove_older(key)
    except SpoolSickError as exc:  # the outcome is recorded, and stays one
        why = f"an older version of its octets may stay in the bucket: {exc}"
        telemetry.spool_failed(where="fleet.forget", why=why, spool_id=spool_id)


def is_forgotten(items: Sequence[Item]) -> bool:
    """Returns whether the octets of the mail among these items are to be removed, or were: that is wanted,
    and none of its entries is unfinished.
    """
    entries = [item for item in items if item.get(tables.SORT) != "M"]
    wanted = any(item.get("forget") is True for item in items)
    return wanted and all(item.get("st") == State.DONE for item in entries)
