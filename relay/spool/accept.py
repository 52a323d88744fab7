"""The instant of acceptance: a group of mails becomes rows, all in one transaction.

Owns the rule of duplicates and the inserts of `put`. Never opens a connection or a transaction; runs in the
writer's thread. Rows go in by the dozen: each statement gives up the interpreter lock once, and taking it back
from a busy event loop costs more than the row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from relay.envelope import Destination
from relay.errors import SpoolError
from relay.spool.envelopes import build_envelope_json
from relay.spool.files import LargeFile
from relay.spool.model import Receipt, Submission
from relay.spool.records import build_json, to_microseconds
from relay.spool.schema import query
from relay.spool.turns import NEW, REPLY, group_of

#: Rows a statement, the largest first: few different statements, so that each stays prepared.
_STEPS = (64, 32, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)

#: A mail whose References lead to a contact of this many days is a reply to an open conversation.
CONVERSATION_DAYS = 90  # the reach of RelatedContactId: StartEmailContact, API reference
_MICROSECONDS_A_DAY = 86_400_000_000

_Key = tuple[str, str, str]


class Prepared(NamedTuple):
    """A submission with what was worked out before the writer's thread had it."""

    submission: Submission
    #: SHA-256 of our own trace header; with the fingerprint, all of the octets are vouched for.
    trace_sha256: bytes
    #: None for a small mail, kept in the database.
    file: LargeFile | None
    envelope: str
    accepted_at: int
    #: The network and the domain whose turn its entries wait for.
    group: tuple[int, int]


class Accepted(NamedTuple):
    """What became of one submission."""

    receipt: Receipt
    #: Whether its raw mail is wanted.
    stored: bool


def prepare(submission: Submission, *, file: LargeFile | None) -> Prepared:
    """What needs no database.

    Raises:
        SpoolError: this mail cannot be stored.
    """
    raw = submission.raw
    try:
        envelope = build_envelope_json(submission.envelope)
    except ValueError as exc:
        raise SpoolError(f"this mail cannot be stored: {exc}") from exc
    return Prepared(
        submission=submission,
        trace_sha256=hashlib.sha256(raw[: submission.trace_size]).digest() if isinstance(raw, bytes) else b"",
        file=file,
        envelope=envelope,
        accepted_at=to_microseconds(submission.envelope.received_at),
        group=group_of(submission.envelope.peer, submission.envelope.reverse_path),
    )


def accept(
    connection: apsw.Connection, group: Sequence[Prepared], *, window_microseconds: int
) -> list[Accepted]:
    """Store the group, within the caller's transaction; one answer for each, in order."""
    known = _known(connection, group)
    urgent = _conversations(connection, group)
    mail_id: int = connection.execute("SELECT coalesce(max(mail_id), 0) FROM mails").get
    mails: list[Sequence[Any]] = []
    raws: list[Sequence[Any]] = []
    entries: list[Sequence[Any]] = []
    answers: list[Accepted] = []
    for item in group:
        mail = item.submission
        fresh: list[Destination] = []
        first = mail.spool_id
        for destination in mail.destinations:
            key = (mail.fingerprint, destination.instance_id, destination.address)
            earlier = known.get(key)
            if earlier is not None and _is_duplicate(earlier, item, window_microseconds):
                first = earlier[0]
                continue
            fresh.append(destination)
            known[key] = (mail.spool_id, item.accepted_at, 0)
        if not fresh:
            answers.append(Accepted(receipt=Receipt(spool_id=first, duplicate=True), stored=False))
            continue
        mail_id += 1
        mails.append(_mail_row(mail_id, item))
        if item.file is None:
            raws.append((mail_id, mail.raw))
        priority = REPLY if not urgent.isdisjoint(mail.references) else NEW
        entries.extend(_entry_row(mail_id, item, destination, priority) for destination in fresh)
        answers.append(Accepted(receipt=Receipt(spool_id=mail.spool_id, duplicate=False), stored=True))
    _insert(connection, _MAIL_HEAD, 12, mails)
    _insert(connection, "INSERT INTO raws VALUES", 2, raws)
    _insert(connection, _ENTRY_HEAD, 12, entries)
    return answers


def _is_duplicate(earlier: Sequence[Any], item: Prepared, window_microseconds: int) -> bool:
    """Whether a mail with this fingerprint and destination is the one that was here before."""
    _, accepted_at, confirmed = earlier
    if item.accepted_at - accepted_at > window_microseconds:
        return False
    # Two mails without a Message-ID may be equal and still be two: only who missed our 250 sends one again.
    return item.submission.message_id is not None or not confirmed


#: The newest comes last, and counts.
_EARLIER = """
WITH wanted AS (SELECT value AS fingerprint FROM json_each(?))
SELECT fingerprint, instance_id, address, spool_id, mails.accepted_at AS accepted_at, confirmed
FROM wanted JOIN mails USING (fingerprint) JOIN entries USING (mail_id)
WHERE substr(mails.fingerprint, 1, 12) = substr(wanted.fingerprint, 1, 12)
UNION ALL
SELECT fingerprint, instance_id, address, spool_id, accepted_at, confirmed
FROM wanted JOIN ledger USING (fingerprint) WHERE dropped_at IS NULL
ORDER BY accepted_at
"""


def _known(connection: apsw.Connection, group: Sequence[Prepared]) -> dict[_Key, Sequence[Any]]:
    """What the spool and its ledger know of the group's fingerprints."""
    rows = query(connection, _EARLIER, (json.dumps([item.submission.fingerprint for item in group]),))
    return {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in rows}


def _conversations(connection: apsw.Connection, group: Sequence[Prepared]) -> set[str]:
    """Those of the group's references that became contacts lately."""
    references = [reference for item in group for reference in item.submission.references]
    if not references:
        return set()
    since = max(item.accepted_at for item in group) - CONVERSATION_DAYS * _MICROSECONDS_A_DAY
    rows = query(
        connection,
        "SELECT message_id FROM ledger WHERE message_id IN (SELECT value FROM json_each(?)) "
        "AND contact_id IS NOT NULL AND accepted_at >= ?",
        (json.dumps(references), since),
    )
    return {row[0] for row in rows}


_MAIL_HEAD = (
    "INSERT INTO mails (mail_id, spool_id, fingerprint, message_id, reverse_path, envelope, results, size, "
    "trace_size, trace_sha256, filed, accepted_at) VALUES"
)


def _mail_row(mail_id: int, item: Prepared) -> Sequence[Any]:
    mail = item.submission
    return (
        mail_id,
        mail.spool_id,
        mail.fingerprint,
        mail.message_id,
        mail.envelope.reverse_path,
        item.envelope,
        build_json(dict(mail.results)) if mail.results else "{}",
        mail.size,
        mail.trace_size,
        item.trace_sha256,
        int(item.file is not None),
        item.accepted_at,
    )


_ENTRY_HEAD = (
    "INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, due_at, accepted_at, "
    "updated_at, network, domain, ready) VALUES"
)


def _entry_row(mail_id: int, item: Prepared, destination: Destination, priority: int) -> Sequence[Any]:
    return (
        mail_id,
        destination.instance_id,
        destination.address,
        build_json(destination.forward_paths),
        destination.route,
        priority,
        item.accepted_at,
        item.accepted_at,
        item.accepted_at,
        *item.group,
        1,
    )


def _insert(connection: apsw.Connection, head: str, width: int, rows: Sequence[Sequence[Any]]) -> None:
    """All rows, in as few statements as the steps allow."""
    rest = list(rows)
    row = f"({','.join('?' * width)})"
    for step in _STEPS:
        statement = f"{head} {','.join([row] * step)}"
        while len(rest) >= step:
            connection.execute(statement, [value for values in rest[:step] for value in values])
            del rest[:step]
