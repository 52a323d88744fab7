"""The janitor of a fleet: finished mail past its retention, and octets that became no mail.

Owns what is removed, and in which order. It walks the raw mails in S3 from the oldest on, for their keys sort
by time. What is owed stays, whatever its age. Octets without a mail may belong to a commit that slept for
days: a tombstone in place of the mail makes that commit fail, and only then they are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.aws.database import Condition, Delete, Put
from relay.aws.values import Item
from relay.spool.fleet import tables
from relay.spool.fleet.listing import read_mail_items
from relay.spool.fleet.store import Store
from relay.spool.ids import time_of
from relay.spool.interface import Pause
from relay.spool.model import State
from relay.spool.records import to_microseconds

#: Keys that one step lists, and seconds between two steps.
_STEP = 100
_PAUSE_SECONDS = 0.05
#: A tombstone outlives every call and every clock that is wrong.
TOMBSTONE_SECONDS = 2 * 86_400
_ENTRY: Final = "E#"


class _Ends(NamedTuple):
    """The instants before which a mail must have ended to be removed: of routes, and of all others."""

    usual: int
    own: Mapping[str, int]


async def sweep(
    store: Store, *, now: datetime, retained: timedelta, by_route: Mapping[str, timedelta], pause: Pause
) -> int:
    """Remove what was finished for so long, by its route or by the usual rule, in small steps, until `pause`
    returns True. Returns how many mails were removed.
    """
    before = to_microseconds(now - min((retained, *by_route.values())))
    ends = _Ends(
        usual=to_microseconds(now - retained),
        own={route: to_microseconds(now - own) for route, own in by_route.items()},
    )
    prefix = tables.raw_object(store.prefix, "")
    removed, after = 0, ""
    while True:
        async with store.asked() as (_, objects):
            keys = await objects.list(prefix, after=after, limit=_STEP)
        for key in keys:
            spool_id = key.removeprefix(prefix)
            if (made_at := time_of(spool_id)) is not None and made_at >= before:
                return removed  # and so are all that follow
            removed += await _remove_finished(store, spool_id, ends=ends, now=now)
        if not keys or await pause(_PAUSE_SECONDS):
            return removed
        after = keys[-1]


async def _remove_finished(store: Store, spool_id: str, *, ends: _Ends, now: datetime) -> bool:
    """Remove a mail if all its entries are finished for long, or octets that became none. Returns whether a
    mail was removed.
    """
    items = await read_mail_items(store, spool_id)
    entries = [item for item in items if str(item.get(tables.SORT)).startswith(_ENTRY)]
    if any(item.get("st") == tables.ANNOUNCED for item in items):
        return False  # it is on its way here from another spool
    if not items and not await _condemn(store, spool_id, now=now):
        return False  # it was accepted at this moment
    if any(not _is_finished(entry, ends) for entry in entries):
        return False
    await _remove(store, spool_id, entries)
    return bool(entries)


def _is_finished(entry: Item, ends: _Ends) -> bool:
    ended_at, before = entry.get("upd"), ends.own.get(str(entry.get("route")), ends.usual)
    return entry.get("st") == State.DONE and isinstance(ended_at, int) and ended_at < before


async def remove_mail(store: Store, spool_id: str) -> bool:
    """Remove a finished mail before its time. Returns whether there was one."""
    items = await read_mail_items(store, spool_id)
    entries = [item for item in items if str(item.get(tables.SORT)).startswith(_ENTRY)]
    if not entries or any(entry.get("st") != State.DONE for entry in entries):
        return False
    await _remove(store, spool_id, entries)
    return True


async def _condemn(store: Store, spool_id: str, *, now: datetime) -> bool:
    """Put a tombstone where a mail would be. Returns whether there is none."""
    key = tables.mail_key(spool_id)
    item: dict[str, str | int] = {
        tables.PARTITION: key[0],
        tables.SORT: key[1],
        "st": tables.CONDEMNED,
        tables.EXPIRES: to_microseconds(now) // 1_000_000 + TOMBSTONE_SECONDS,
    }
    condition = Condition(
        text="attribute_not_exists(#pk) OR #st = :condemned", values={"condemned": tables.CONDEMNED}
    )
    return (await store.change(Put(item=item, condition=condition))).done


async def _remove(store: Store, spool_id: str, entries: Sequence[Item]) -> None:
    """Remove what belongs to a mail, its octets last: they are what a walk that was cut short finds again."""
    done = Condition(text="#st = :done", values={"done": State.DONE})
    for entry in entries:
        sort = str(entry[tables.SORT])
        await store.change(Delete(key=(tables.mail_partition(spool_id), sort), condition=done))
        await store.change(Delete(key=(tables.shown_partition(spool_id), sort)))
    if entries:
        await store.change(Delete(key=tables.mail_key(spool_id)))
    async with store.asked() as (_, objects):
        for key in await objects.list(tables.request_object(store.prefix, spool_id, "")):
            await objects.remove(key)
        await objects.remove(tables.raw_object(store.prefix, spool_id))
