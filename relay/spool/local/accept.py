"""The instant of acceptance: a group of mails becomes rows, all in one transaction.

Owns the inserts of `put`, and how the rule of duplicates (`relay.spool.duplicates`) is asked of many mails at
once. Never opens a connection or a transaction; runs in the writer's thread. Rows are inserted by the dozen:
each statement releases the interpreter lock once, and taking it back from a busy event loop costs more than
the row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from relay.domains import normalise_address
from relay.envelope import Destination, SpoolId
from relay.errors import SpoolError
from relay.spool.audit import Stage
from relay.spool.duplicates import (
    Likeness,
    build_token,
    is_retransmission,
    normalise_author,
    normalise_reverse_path,
)
from relay.spool.groups import NEW, REPLY, group_of
from relay.spool.local.actions import add as add_action
from relay.spool.local.conversations import find_answers
from relay.spool.local.database import query
from relay.spool.local.raw import LargeFile
from relay.spool.model import Receipt, Submission
from relay.spool.pseudonyms import FindKey, hide_likeness
from relay.spool.records import build_envelope_json, build_json, to_microseconds

#: Rows in one statement, the largest number first: there are few different statements, so each stays
#: prepared.
_STEPS = (64, 32, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)

#: Octets and destination: looked up first, before the rest of the rule is asked.
_Key = tuple[str, str, str]


class _Earlier(NamedTuple):
    """An earlier mail for one destination."""

    likeness: Likeness
    spool_id: SpoolId
    accepted_at: int
    #: True if its peer has shown that it saw our 250.
    confirmed: bool
    #: The key with which its likeness was hidden, when its names were erased; None else.
    key: bytes | None = None


class Prepared(NamedTuple):
    """A submission with everything that could be computed outside the writer's thread."""

    submission: Submission
    #: SHA-256 of our own trace header; together with the fingerprint it covers all octets.
    trace_sha256: bytes
    #: None for a small mail, kept in the database.
    file: LargeFile | None
    envelope: str
    accepted_at: int
    #: The author in the form in which authors are compared.
    author: str | None
    #: The network and the domain with which its entries take turns.
    group: tuple[int, int]
    #: The reverse-path in the form in which the rule of duplicates compares it.
    sender: str

    def likeness(self, destination: Destination) -> Likeness:
        """The facts that the rule of duplicates compares, for one of the mail's destinations."""
        return Likeness(
            fingerprint=self.submission.fingerprint,
            instance_id=destination.instance_id,
            address=destination.address,
            route=destination.route,
            tag=destination.tag,
            sender=self.sender,
            dmarc=self.submission.results.get("relay_dmarc", ""),
        )


class Accepted(NamedTuple):
    """The result for one submission."""

    receipt: Receipt
    #: True if its raw mail must be stored.
    stored: bool
    #: The entries that it has become.
    entries: int = 0


def prepare(submission: Submission, *, file: LargeFile | None) -> Prepared:
    """The submission with everything that needs no database.

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
        accepted_at=to_microseconds(submission.arrived_at or submission.envelope.received_at),
        author=normalise_author(submission.author),
        group=group_of(submission.envelope.peer, submission.envelope.reverse_path),
        sender=normalise_reverse_path(submission.envelope.reverse_path),
    )


def accept(
    connection: apsw.Connection, group: Sequence[Prepared], *, window_microseconds: int, find_key: FindKey
) -> list[Accepted]:
    """Store the group, within the caller's transaction. Returns one result for each submission, in their
    order. `find_key` is asked where a record was erased.
    """
    known = _known(connection, group, find_key)
    answers = find_answers(
        connection,
        [(item.submission.references, item.author, item.sender) for item in group],
        at=max(item.accepted_at for item in group),
    )
    mail_id: int = connection.execute("SELECT coalesce(max(mail_id), 0) FROM mails").get
    first_mail_id = mail_id + 1
    mails: list[Sequence[Any]] = []
    raws: list[Sequence[Any]] = []
    entries: list[Sequence[Any]] = []
    accepted: list[Accepted] = []
    for number, item in enumerate(group):
        mail = item.submission
        fresh: list[tuple[Destination, Likeness]] = []
        first = mail.spool_id
        for destination in mail.destinations:
            likeness = item.likeness(destination)
            before = known.setdefault(_key_of(likeness), [])
            earlier = _find_earlier(likeness, before, item, window_microseconds)
            if earlier is not None:
                first = earlier
                continue
            fresh.append((destination, likeness))
            before.append(_Earlier(likeness, mail.spool_id, item.accepted_at, confirmed=False))
        if not fresh:
            accepted.append(Accepted(receipt=Receipt(spool_id=first, duplicate=True), stored=False))
            continue
        mail_id += 1
        mails.append(_mail_row(mail_id, item))
        if item.file is None:
            raws.append((mail_id, mail.raw))
        usual = REPLY if number in answers else NEW
        entries.extend(
            _entry_row(mail_id, item, *one, priority=REPLY if one[0].route in mail.first else usual)
            for one in fresh
        )
        receipt = Receipt(spool_id=mail.spool_id, duplicate=False)
        accepted.append(Accepted(receipt=receipt, stored=True, entries=len(fresh)))
    _insert(connection, _MAIL_HEAD, 14, mails)
    _insert(connection, "INSERT INTO raws VALUES", 2, raws)
    _insert(connection, _ENTRY_HEAD, 17, entries)
    if any(item.submission.holds for item in group):
        _remember_holds(connection, first_mail_id)
    _note_actions(connection, group, accepted)
    return accepted


def _note_actions(
    connection: apsw.Connection, group: Sequence[Prepared], accepted: Sequence[Accepted]
) -> None:
    """Append to the audit what operators put into the spool."""
    for item, result in zip(group, accepted, strict=True):
        if (action := item.submission.action) is None:
            continue
        receipt = result.receipt
        add_action(
            connection,
            action,
            at=item.accepted_at,
            stage=Stage.REFUSED if receipt.duplicate else Stage.DONE,
            counts={"entries": result.entries},
            detail=f"{'was here before: ' if receipt.duplicate else ''}{receipt.spool_id}",
        )


def note_confirmed(connection: apsw.Connection, ids: Sequence[SpoolId]) -> None:
    """Note, within the caller's transaction, that the peers of these mails have seen our 250."""
    if ids:
        listed = json.dumps(ids)
        for table in ("mails", "ledger"):
            connection.execute(
                f"UPDATE {table} SET confirmed = 1 WHERE spool_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - constants of ours
                (listed,),
            )


def find_others(
    connection: apsw.Connection, submission: Submission, *, window_microseconds: int, find_key: FindKey
) -> list[SpoolId]:
    """The mails with these octets for a destination of this mail of which it would be no retransmission: the
    newest for each destination.
    """
    item = prepare(submission, file=None)
    known = _known(connection, [item], find_key)
    found: list[SpoolId] = []
    for destination in submission.destinations:
        likeness = item.likeness(destination)
        before = known.get(_key_of(likeness), [])
        if before and _find_earlier(likeness, before, item, window_microseconds) is None:
            found.append(before[-1].spool_id)
    return list(dict.fromkeys(found))


def _remember_holds(connection: apsw.Connection, mail_id: int) -> None:
    """Begin the history of the entries of this mail, and of later ones, that are held from the beginning."""
    connection.execute(
        "INSERT INTO history SELECT entry_id, accepted_at, 'held', 0, reason, detail FROM entries "
        "WHERE mail_id >= ? AND state = 'held'",
        (mail_id,),
    )


def _key_of(likeness: Likeness) -> _Key:
    return likeness.fingerprint, likeness.instance_id, normalise_address(likeness.address)


def _find_earlier(
    likeness: Likeness, before: Sequence[_Earlier], item: Prepared, window_microseconds: int
) -> SpoolId | None:
    """The spool id of the mail that this one repeats. Only the newest of several earlier mails counts."""
    for earlier in reversed(before):
        mine = hide_likeness(earlier.key, likeness) if earlier.key else likeness
        if is_retransmission(mine, earlier.likeness):
            within = item.accepted_at - earlier.accepted_at <= window_microseconds
            # Two mails without a Message-ID may be equal and still be two mails: only a peer that missed our
            # 250 sends one again.
            told = item.submission.message_id is not None or not earlier.confirmed
            return earlier.spool_id if within and told else None
    return None


#: The newest mails of the same octets, and the newest records of the ledger, among which a retransmission is
#: looked for: all receivers wait for it, and a stranger may send one mail to thousands of addresses. It comes
#: minutes after the mail that it repeats; an older one gets the same client token, by which Connect knows it.
_MAILS, _RECORDS = 50, 200
#: A mail that a policy or a person dropped vouches for no other. The newest comes last.
_EARLIER = f"""
WITH wanted AS (SELECT DISTINCT value AS fingerprint FROM json_each(?))
SELECT mails.fingerprint, instance_id, address, route, tag, sender,
iif(json_valid(results), json_extract(results, '$.relay_dmarc'), ''), spool_id, mails.accepted_at AS accepted_at, confirmed,
NULL
FROM wanted CROSS JOIN mails ON mails.mail_id IN (
    SELECT mail_id FROM mails AS m WHERE substr(m.fingerprint, 1, 12) = substr(wanted.fingerprint, 1, 12)
    ORDER BY m.mail_id DESC LIMIT {_MAILS}
) CROSS JOIN entries USING (mail_id)
WHERE mails.fingerprint = wanted.fingerprint AND dropped_at IS NULL
UNION ALL
SELECT ledger.fingerprint, instance_id, address, route, tag, sender, dmarc, spool_id, accepted_at, confirmed, erased_at
FROM wanted CROSS JOIN ledger ON ledger.rowid IN (
    SELECT rowid FROM ledger AS l WHERE l.fingerprint = wanted.fingerprint ORDER BY l.rowid DESC LIMIT {_RECORDS}
) WHERE dropped_at IS NULL
ORDER BY accepted_at
"""  # noqa: S608 - numbers of ours


def _known(
    connection: apsw.Connection, group: Sequence[Prepared], find_key: FindKey
) -> dict[_Key, list[_Earlier]]:
    """The earlier mails with the group's fingerprints, from the spool and its ledger, the newest last. An
    erased record whose key is lost vouches for none; the client token, which is the same again, does.
    """
    known: dict[_Key, list[_Earlier]] = {}
    for row in query(connection, _EARLIER, (json.dumps([item.submission.fingerprint for item in group]),)):
        (
            fingerprint,
            instance_id,
            address,
            route,
            tag,
            sender,
            dmarc,
            spool_id,
            accepted_at,
            confirmed,
            *rest,
        ) = row
        key = find_key() if rest[0] is not None else None
        if rest[0] is not None and key is None:
            continue
        likeness = Likeness(
            fingerprint=fingerprint,
            instance_id=instance_id,
            address=address,
            route=route,
            tag=tag,
            sender=sender,
            dmarc=dmarc or "",
        )
        earlier = _Earlier(likeness, SpoolId(spool_id), accepted_at, bool(confirmed), key)
        known.setdefault(_key_of(likeness), []).append(earlier)
    return known


_MAIL_HEAD = (
    "INSERT INTO mails (mail_id, spool_id, fingerprint, message_id, reverse_path, envelope, results, size, "
    "trace_size, trace_sha256, filed, accepted_at, sender, author) VALUES"
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
        item.sender,
        item.author,
    )


_ENTRY_HEAD = (
    "INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, due_at, accepted_at, "
    "updated_at, network, domain, ready, tag, token, state, reason, detail) VALUES"
)


def _entry_row(
    mail_id: int, item: Prepared, destination: Destination, likeness: Likeness, *, priority: int
) -> Sequence[Any]:
    mail = item.submission
    hold = next((hold for hold in mail.holds if hold.route == destination.route), None)
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
        destination.tag,
        build_token(likeness, salt=mail.spool_id if mail.message_id is None else ""),
        "queued" if hold is None else "held",
        "" if hold is None else hold.reason,
        "" if hold is None else hold.detail,
    )


def _insert(connection: apsw.Connection, head: str, width: int, rows: Sequence[Sequence[Any]]) -> None:
    """Insert all rows, in as few statements as `_STEPS` allows."""
    rest = list(rows)
    row = f"({','.join('?' * width)})"
    for step in _STEPS:
        statement = f"{head} {','.join([row] * step)}"
        while len(rest) >= step:
            connection.execute(statement, [value for values in rest[:step] for value in values])
            del rest[:step]
