"""The headers of mails that no outcome has described yet: a bounded look at the mail itself.

Owns how much of a mail is read for that, and how many looks are remembered. Used from one thread at a time.
"""

from __future__ import annotations

import os
from contextlib import suppress

import apsw

from relay.message.glimpse import glimpse_header
from relay.spool.local.database import query
from relay.spool.local.layout import Layout
from relay.spool.page import Head

#: Octets of a mail that are read: a header is rarely longer, and From and Subject stand before its end.
_OCTETS = 16_384
#: Looks that are remembered, of some 300 octets each.
_REMEMBERED = 20_000
#: Characters of each text.
_CHARACTERS = 400


class Heads:
    """The looks at the mails of one spool."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[int, Head] = {}

    def find(self, mail_id: int) -> Head | None:
        """The remembered look at a mail."""
        return self._known.get(mail_id)

    def read(self, connection: apsw.Connection, mail_id: int) -> Head | None:
        """A look at a mail. Returns None if it cannot be read any more."""
        if (known := self._known.get(mail_id)) is not None:
            return known
        octets = self._read(connection, mail_id)
        if octets is None:
            return None
        message = glimpse_header(octets)
        author = message.author[0] if message.author else None
        head = Head(
            subject=message.subject[:_CHARACTERS],
            author_name=author.name[:_CHARACTERS] if author else "",
            author=author.address[:_CHARACTERS] if author else "",
        )
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[mail_id] = head
        return head

    def _read(self, connection: apsw.Connection, mail_id: int) -> bytes | None:
        """The first octets of a mail behind our own trace header."""
        rows = query(
            connection, "SELECT spool_id, trace_size, filed FROM mails WHERE mail_id = ?", (mail_id,)
        )
        if not rows:
            return None
        spool_id, trace_size, filed = rows[0]
        if filed:
            return self._read_file(spool_id, trace_size)
        try:
            blob = connection.blob_open("main", "raws", "octets", mail_id, False)
        except apsw.SQLError:  # there is no such row
            return None
        try:  # not by a query, which would read all of the mail
            return blob.read(trace_size + _OCTETS)[trace_size:]
        finally:
            blob.close()

    def _read_file(self, spool_id: str, trace_size: int) -> bytes | None:
        with suppress(OSError):
            handle = os.open(self._layout.raw_path(spool_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return os.pread(handle, _OCTETS, trace_size)
            finally:
                os.close(handle)
        return None
