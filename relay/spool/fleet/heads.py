"""The headers of a fleet's mails that no outcome has described yet: a bounded look at the mail in S3.

Owns how much of a mail is read for that, how many at once, and how many looks are remembered: a mail never
changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from relay.message.glimpse import glimpse_header
from relay.spool.fleet import tables
from relay.spool.fleet.records import MailRecord
from relay.spool.fleet.store import Store
from relay.spool.fleet.walk import unless_away
from relay.spool.page import Head

#: Octets of a mail that are read: a header is rarely longer, and From and Subject stand before its end.
_OCTETS: Final = 16_384
#: Looks that are remembered, some 300 octets each, and questions to S3 at the same time.
_MOST: Final = 5_000
_AT_ONCE: Final = 20
#: Characters of each text.
_CHARACTERS: Final = 400


class Heads:
    """The looks of one desk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Head] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def is_known(self, mail: MailRecord) -> bool:
        """Returns whether a look at this mail asks S3 for nothing."""
        return mail.spool_id in self._known

    async def read_all(self, mails: Sequence[MailRecord]) -> dict[str, Head]:
        """The looks at these mails, by their ids. Mails whose octets are gone are left out, and
        all that cannot be read now.
        """
        each = {mail.spool_id: mail for mail in mails}
        found = await asyncio.gather(*(unless_away(self._read(mail), None) for mail in each.values()))
        return {key: head for key, head in zip(each, found, strict=True) if head is not None}

    async def _read(self, mail: MailRecord) -> Head | None:
        if (known := self._known.get(mail.spool_id)) is not None:
            return known
        key = tables.raw_object(self._store.prefix, mail.spool_id)
        try:
            async with self._places, self._store.asked() as (_, objects):
                octets = await objects.begin(key, at=mail.trace_size, most=_OCTETS, size=mail.size)
        except KeyError:
            return None
        message = glimpse_header(octets)
        author = message.author[0] if message.author else None
        head = Head(
            subject=message.subject[:_CHARACTERS],
            author_name=author.name[:_CHARACTERS] if author else "",
            author=author.address[:_CHARACTERS] if author else "",
        )
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[mail.spool_id] = head
        return head
