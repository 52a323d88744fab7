"""Conversations in a fleet: which mail continues its own sender's contact, and which contact that is.

Owns the questions to the index of Message-IDs. The proof is that of `docs/spool.md`, "Conversations": author
or reverse-path are those of the mail that became the contact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from relay.aws.database import Condition
from relay.aws.values import Item
from relay.contact.limits import THREAD_DAYS
from relay.spool.fleet import tables
from relay.spool.fleet.store import Store

#: Message-IDs of one mail that are asked for, and mails of each: the first of them count.
_MOST_IDS: Final = 20
_MOST_MAILS: Final = 100
_DAY = 86_400_000_000


async def _find(store: Store, message_ids: Sequence[str]) -> list[list[Item]]:
    """The records of the ledger with each of these Message-IDs, the first accepted first."""
    asked = list(dict.fromkeys(message_ids))[:_MOST_IDS]
    async with store.asked() as (database, _):
        return await asyncio.gather(
            *(
                database.query_all(
                    Condition(
                        text="#mid = :mid AND begins_with(#pk, :ledger)",
                        values={"mid": tables.fit_key(message_id), "ledger": "L#"},
                    ),
                    index=tables.MESSAGE_INDEX,
                    limit=_MOST_MAILS,
                )
                for message_id in asked
                if message_id
            )
        )


def _contacts(
    items: Iterable[Item], *, author: str | None, sender: str, since: int, instance_id: str | None
) -> list[tuple[int, str]]:
    """The contacts of this sender among some records: when each mail was accepted, and its contact."""
    found: list[tuple[int, str]] = []
    for item in items:
        at, contact_id = item.get("at"), item.get("cid")
        if not (isinstance(at, int) and isinstance(contact_id, str)) or at < since:
            continue
        by_author = author is not None and item.get("auth") == author
        by_sender = sender and item.get("from") == sender
        if (by_author or by_sender) and instance_id in (None, item.get("asked") or item.get("inst")):
            found.append((at, contact_id))
    return found


async def is_answer(
    store: Store, references: Sequence[str], *, author: str | None, sender: str, at: int
) -> bool:
    """Returns whether one of these mails became a contact, and was sent by the same author or from the same
    reverse-path.
    """
    since = at - THREAD_DAYS * _DAY
    return any(
        _contacts(items, author=author, sender=sender, since=since, instance_id=None)
        for items in await _find(store, references)
    )


async def find_contact(
    store: Store,
    message_ids: Sequence[str],
    *,
    author: str | None,
    sender: str,
    since: int,
    instance_id: str | None,
) -> str | None:
    """The contact of the newest of these mails that was sent by the same author or reverse-path; of several
    contacts with one Message-ID the first counts.
    """
    firsts = [
        min(found)
        for items in await _find(store, message_ids)
        if (found := _contacts(items, author=author, sender=sender, since=since, instance_id=instance_id))
    ]
    return max(firsts)[1] if firsts else None
