"""Conversations: which mail continues its own sender's contact, and which contact that is.

Owns the proof that a mail which names another is by the same person: its author, or its reverse-path, is that
of the mail that became the contact (docs/spool.md, "Conversations"). Neither a Message-ID that a stranger
learned nor one that he used again is proof. While DMARC is not asked, an author is a claim: a forger of it
passes for that person. Runs within the caller's transaction; each question is a seek, however many contacts
strangers have made of one Message-ID.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import apsw

from relay.contact.limits import THREAD_DAYS
from relay.spool.duplicates import normalise_reverse_path
from relay.spool.local.database import query
from relay.spool.model import Entry
from relay.spool.records import to_microseconds

_MICROSECONDS_A_DAY = 86_400_000_000

_ANSWERS = """
SELECT key FROM json_each(?1) AS one WHERE EXISTS (
    SELECT 1 FROM ledger INDEXED BY ledger_author
    WHERE message_id = one.value ->> 0 AND author = one.value ->> 1 AND contact_id IS NOT NULL AND accepted_at >= ?2
) OR EXISTS (
    SELECT 1 FROM ledger INDEXED BY ledger_sender
    WHERE message_id = one.value ->> 0 AND sender = one.value ->> 2 AND contact_id IS NOT NULL AND accepted_at >= ?2
)
"""
_FIRST = """
SELECT accepted_at, rowid, contact_id FROM ledger INDEXED BY ledger_{column}
WHERE message_id = ? AND {column} = ? AND contact_id IS NOT NULL AND accepted_at >= ? AND coalesce(coalesce(asked, instance_id) = ?, 1)
ORDER BY accepted_at, rowid LIMIT 1
"""
_BY_AUTHOR, _BY_SENDER = _FIRST.format(column="author"), _FIRST.format(column="sender")


def find_answers(
    connection: apsw.Connection, mails: Sequence[tuple[Sequence[str], str | None, str]], *, at: int
) -> set[int]:
    """The numbers of those mails, given as (references, author, reverse-path), that answer a contact of their
    own sender.
    """
    asked: list[tuple[str, str | None, str | None]] = []
    number_of: list[int] = []
    for number, (references, author, sender) in enumerate(mails):
        asked += ((reference, author, sender or None) for reference in references)
        number_of += [number] * len(references)
    if not asked:
        return set()
    rows = query(connection, _ANSWERS, (json.dumps(asked), at - THREAD_DAYS * _MICROSECONDS_A_DAY))
    return {number_of[row[0]] for row in rows}


def find_contact(
    connection: apsw.Connection,
    entry: Entry,
    *,
    message_ids: Sequence[str],
    since: datetime,
    instance_id: str | None,
) -> str | None:
    """The contact of the newest of these mails that was sent by the entry's own sender, of any instance or of
    this one.

    Of several contacts with one Message-ID the first counts, so that nobody who uses it again can come
    between.
    """
    authors = query(connection, "SELECT author FROM mails WHERE spool_id = ?", (entry.spool_id,))
    author = authors[0][0] if authors else None
    sender = normalise_reverse_path(entry.envelope.reverse_path)
    firsts: list[tuple[int, int, str]] = []
    for message_id in dict.fromkeys(message_ids):
        found: list[Any] = []
        for sql, whose in ((_BY_AUTHOR, author), (_BY_SENDER, sender)):
            if whose:
                found += query(connection, sql, (message_id, whose, to_microseconds(since), instance_id))
        if found:
            firsts.append(min(found))
    return max(firsts)[2] if firsts else None
