"""The memory of a fleet: what one leader keeps for the next, what the page shows of an entry, and what the
ledger knows of a token.

Owns the items of the partition `MEMORY`, and those that are shown.
"""

from __future__ import annotations

from datetime import datetime

from relay.aws.database import Condition, Put
from relay.aws.values import Item
from relay.errors import SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.encoding import build_instant
from relay.spool.fleet.items import Reader, check_texts
from relay.spool.fleet.records import EntryRecord
from relay.spool.fleet.store import Store
from relay.spool.model import FAULT_HOURS
from relay.spool.page import Shown
from relay.spool.records import to_microseconds

#: Records of the ledger with one token: its entry's, and perhaps that of a mail after the window.
_MOST_TOKENS = 20


async def load_text(store: Store, name: str) -> str:
    """The text that was kept last. Returns "" if there is none that can be read."""
    async with store.asked() as (database, _):
        item = await database.get((tables.MEMORY, name))
    if item is None:
        return ""
    with Reader(item) as read:
        return read.text("text")


async def save_text(store: Store, name: str, text: str) -> bool:
    """Replace the text that was kept. Returns whether it could be kept."""
    try:
        item = check_texts({tables.PARTITION: tables.MEMORY, tables.SORT: name, "text": text})
        await store.change(Put(item=item))
    except (SpoolError, ValueError):
        return False
    return True


async def keep_shown(store: Store, entry: EntryRecord, shown: Shown | None) -> None:
    """Keep what the page shows of an entry, beside its outcome; one that says less takes the place of none.

    Raises:
        SpoolError: it is none that an item holds.
    """
    if shown is None:
        return
    key = tables.shown_key(entry.spool_id, entry.number)
    try:
        item = check_texts(
            {
                tables.PARTITION: key[0],
                tables.SORT: key[1],
                "doc": shown.document,
                "class": shown.classification,
                "marks": shown.marks,
                "words": shown.words,
            }
        )
    except ValueError as exc:
        raise SpoolError(f"what is shown of {entry.reference} cannot be stored: {exc}") from exc
    missing = None if shown.whole else Condition(text="attribute_not_exists(#pk)")
    await store.change(Put(item=item, condition=missing))


def mark_original(reference: str, *, reason: str, now: datetime) -> Put:
    """The mark of an entry that goes on at the last rung, by which the alarms find it."""
    at = to_microseconds(now)
    return Put(
        item=check_texts(
            {
                tables.PARTITION: tables.ORIGINALS,
                tables.SORT: f"{build_instant(at)}#{reference}",
                "ref": reference,
                "reason": reason,
                tables.EXPIRES: at // 1_000_000 + FAULT_HOURS * 2 * 3_600,
            }
        )
    )


def put_ledger(item: Item) -> Put:
    """The writing of a record of the ledger; again, it writes the same."""
    return Put(item=item)


async def find_token(store: Store, token: str) -> tuple[bool, str | None]:
    """The ledger's record of a token: whether an entry has sent it, and the contact id if it is known."""
    wanted = Condition(text="#tok = :tok", values={"tok": token})
    async with store.asked() as (database, _):
        items = await database.query_all(wanted, index=tables.SENT_INDEX, limit=_MOST_TOKENS)
    contacts = [str(item["cid"]) for item in items if "cid" in item]
    return bool(items), contacts[0] if contacts else None
