"""The fence: a change of an entry is written only while the entry is as its writer knows it.

Owns the conditions of every change of an entry. A leader's change asks for the state, the epoch and the
attempt under which it leased the entry; another's asks for the operation that wrote what it has read. So a
leader that woke too late, or a person who looked too long ago, changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from relay.aws.database import Action, Condition, Put
from relay.aws.values import Item
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.encoding import build_entry, parse_entry, parse_mail
from relay.spool.fleet.records import EntryRecord, MailRecord
from relay.spool.fleet.store import Store, new_op
from relay.spool.model import State


def leased_as(entry: EntryRecord) -> Condition:
    """The condition that an entry is leased under this very attempt of this very leader."""
    return Condition(
        text="#st = :leased AND #epoch = :epoch AND #att = :attempts",
        values={"leased": State.LEASED, "epoch": entry.epoch, "attempts": entry.attempts},
    )


def unchanged(entry: EntryRecord) -> Condition:
    """The condition that nobody has written the entry since it was read."""
    return Condition(text="#op = :seen", values={"seen": entry.op})


async def read(store: Store, key: tables.Key) -> EntryRecord | None:
    """The entry of a key, as it is now. Returns None if there is none.

    Raises:
        SpoolCorruptError: it cannot be read.
    """
    async with store.asked() as (database, _):
        item = await database.get(key)
    return None if item is None else parse_entry(item)


async def read_mail(store: Store, spool_id: str) -> MailRecord:
    """The record of a mail.

    Raises:
        SpoolCorruptError: there is none that can be read.
    """
    async with store.asked() as (database, _):
        item = await database.get(tables.mail_key(spool_id))
    if item is None:
        raise SpoolCorruptError(f"mail {spool_id} has no record")
    return parse_mail(item)


def _build(entry: EntryRecord) -> Item:
    try:
        return build_entry(entry)
    except ValueError as exc:
        raise SpoolError(f"entry {entry.reference} cannot be stored: {exc}") from exc


async def write(store: Store, entry: EntryRecord, condition: Condition) -> EntryRecord | None:
    """Write an entry under a condition. Returns it as written; None if the condition did not hold.

    Raises:
        SpoolError: no item holds it.
        SpoolSickError: nobody knows whether it is written.
    """
    fresh = replace(entry, op=new_op())
    answer = await store.change(Put(item=_build(fresh), condition=condition), op=fresh.op)
    return fresh if answer.done else None


async def write_with(
    store: Store, entry: EntryRecord, condition: Condition, others: list[Action]
) -> EntryRecord | None:
    """Write an entry under a condition, and other items with it in one transaction. Returns it as written;
    None if a condition did not hold.
    """
    fresh = replace(entry, op=new_op())
    reasons = await store.transact([Put(item=_build(fresh), condition=condition), *others])
    if not reasons:
        return fresh
    item = reasons[0].item
    return fresh if item is not None and item.get("op") == fresh.op else None
