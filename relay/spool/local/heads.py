"""The headers of mails that no outcome has described yet: a bounded look at the mail itself.

Owns how much of a mail is read for that, and how many looks are remembered. Used from one thread at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import apsw

from relay.message.glimpse import glimpse_header
from relay.spool.local.database import query
from relay.spool.local.layout import Layout
from relay.spool.page import Head, fold

Kept = TypeVar("Kept")

#: Octets of a mail that are read: a header is rarely longer, and From and Subject stand before its end.
_OCTETS = 16_384
#: Looks of rows that were shown, and texts of entries that were searched, which are remembered: some 300
#: octets each.
_SHOWN = 2_000
_SEARCHED = 20_000
#: Mails that are looked at for one page.
_LOOKS = 5_000
_ENVELOPES = """
SELECT e.entry_id, m.mail_id, m.author, m.reverse_path, e.address, e.forward_paths, m.message_id
FROM entries AS e JOIN mails AS m USING (mail_id) WHERE e.entry_id IN (SELECT value FROM json_each(?))
"""
#: Characters of each text.
_CHARACTERS = 400


def _keep(known: dict[int, Kept], key: int, value: Kept, *, most: int) -> None:
    """Remember a value; of too many the first goes."""
    if len(known) >= most:
        del known[next(iter(known))]
    known[key] = value


class Heads:
    """The looks at the mails of one spool."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[int, Head] = {}
        #: By the number of the entry: when it was changed last, and what it is searched by.
        self._texts: dict[int, tuple[int, str]] = {}
        self._looks = 0
        #: The entries of this page whose mail was not looked at, because others were before them.
        self.unread = 0

    def begin(self) -> None:
        """Begin another page."""
        self._looks = self.unread = 0

    def read_texts(self, connection: apsw.Connection, rows: Sequence[tuple[int, int]]) -> dict[int, str]:
        """The texts that entries are searched by, folded: numbers of entries, each with its last change."""
        found = {
            number: known[1] for number, at in rows if (known := self._texts.get(number)) and known[0] == at
        }
        lacking = {number: at for number, at in rows if number not in found}
        envelopes = query(connection, _ENVELOPES, (json.dumps(list(lacking)),)) if lacking else []
        for number, mail_id, *texts in sorted(envelopes, reverse=True):
            head = None
            if self._looks < _LOOKS:
                self._looks += 1
                head = self.read(connection, mail_id)
            else:
                self.unread += 1
            told = (head.subject, head.author_name, head.author) if head else ()
            found[number] = fold(" ".join(text for text in (*texts, *told) if text))
            if head is not None:
                _keep(self._texts, number, (lacking[number], found[number]), most=_SEARCHED)
        return found

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
        _keep(self._known, mail_id, head, most=_SHOWN)
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
