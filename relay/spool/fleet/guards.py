"""The guards of a fleet against duplicates, once their mail is dropped.

Owns how a guard is taken away. What was dropped vouches for no other mail, but the guard may be that of a
newer one, which it then stays.
"""

from __future__ import annotations

from relay.aws.database import Action, Condition, Delete
from relay.spool.fleet import tables
from relay.spool.fleet.encoding import parse_guard
from relay.spool.fleet.records import EntryRecord, MailRecord
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
