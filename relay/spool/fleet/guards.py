"""The guards of a fleet against duplicates, once their mail is dropped or goes another way.

Owns how a guard is taken away, or added. What was dropped vouches for no other mail, but the guard may be
that of a newer one, which it then stays.
"""

from __future__ import annotations

from relay.aws.database import Action, Condition, Delete, Put
from relay.spool.fleet import tables
from relay.spool.fleet.encoding import build_guard, parse_guard
from relay.spool.fleet.records import EntryRecord, GuardRecord, MailRecord
from relay.spool.fleet.store import Store


async def free_guard(store: Store, mail: MailRecord, entry: EntryRecord) -> list[Action]:
    """The action that takes an entry's guard away with its drop. Returns none if the guard is another mail's:
    it never becomes this one's again.
    """
    key = tables.guard_key(mail.fingerprint, entry.destination, sender=mail.sender)
    async with store.asked() as (database, _):
        item = await database.get(key)
    if item is None or parse_guard(item).spool_id != entry.spool_id:
        return []
    condition = Condition(text="attribute_not_exists(#pk) OR #sid = :sid", values={"sid": entry.spool_id})
    return [Delete(key=key, condition=condition)]


async def add_guard(store: Store, mail: MailRecord, entry: EntryRecord) -> list[Action]:
    """The action by which an entry vouches for the way that it goes now. Returns none if a mail does already.

    The guard stays as long as that of its acceptance would, had the mail come by this way.
    """
    key = tables.guard_key(mail.fingerprint, entry.destination, sender=mail.sender)
    async with store.asked() as (database, _):
        if await database.get(key) is not None:
            return []
    guard = GuardRecord(
        key=key,
        spool_id=entry.spool_id,
        number=entry.number,
        accepted_at=mail.accepted_at,
        dmarc=mail.results.get("relay_dmarc", ""),
        expires=mail.accepted_at // 1_000_000 + store.window_seconds + 1,
    )
    return [Put(item=build_guard(guard), condition=Condition(text="attribute_not_exists(#pk)"))]
