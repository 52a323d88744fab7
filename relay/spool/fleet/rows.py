"""Entries of a fleet read together: their mails, themselves, and what their last outcome says for the page.

Owns the reads of many items at once. Never changes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.aws.values import Item
from relay.errors import SpoolCorruptError
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader
from relay.spool.fleet.listing import Found
from relay.spool.fleet.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An entry with what its last outcome says of it; empty before the first one."""

    found: Found
    document: bytes = b""
    classification: str = ""
    marks: str = ""
    words: str = ""

    @property
    def has_words(self) -> bool:
        """Returns whether an outcome has described it."""
        return bool(self.document)


async def read_described(store: Store, found: Sequence[Found]) -> list[Described]:
    """These entries in their order, with what is shown of each."""
    keys = [tables.shown_key(each.entry.spool_id, each.entry.number) for each in found]
    async with store.asked() as (database, _):
        items = await database.get_all(keys)
    return [_describe(each, items.get(key)) for each, key in zip(found, keys, strict=True)]


def _describe(found: Found, item: Item | None) -> Described:
    if item is None:
        return Described(found=found)
    try:
        with Reader(item) as read:
            return Described(
                found=found,
                document=read.octets("doc"),
                classification=read.text("class"),
                marks=read.text("marks"),
                words=read.text("words"),
            )
    except SpoolCorruptError:
        return Described(found=found)
