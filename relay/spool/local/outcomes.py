"""The outcomes of an attempt: the ways out of S4, and what the ledger and the history learn of them.

Owns the fence: a change counts only while the lease under which it is made is held, and every lease has its
own attempt number. Runs within the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import apsw

from relay.errors import LeaseLostError
from relay.spool.ids import find_numbers
from relay.spool.local import addressed, forgotten
from relay.spool.local.database import query
from relay.spool.local.descriptions import describe
from relay.spool.model import Entry
from relay.spool.page import Shown
from relay.spool.records import build_json, to_microseconds
from relay.vocabulary import Rung

#: Events kept of one entry: the first days of hourly retries, and as many as a screen shows.
_HISTORY_LIMIT = 50
_DETAIL_LIMIT = 2_000
#: An entry as the ledger remembers it, with the instant at which it was dropped. A token that never went out
#: is left out.
REMEMBER = """
INSERT INTO ledger (fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id, accepted_at,
dropped_at, route, tag, sender, dmarc, token, author, asked)
SELECT fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id, mails.accepted_at,
?1, route, tag, sender, iif(json_valid(results), json_extract(results, '$.relay_dmarc'), ''),
iif(sent_at IS NULL, NULL, token), author, nullif(asked, instance_id)
FROM entries JOIN mails USING (mail_id) WHERE entry_id = ?2
"""


def record(
    connection: apsw.Connection,
    entry_id: int,
    *,
    state: str,
    event: str,
    reason: str,
    detail: str,
    now: datetime,
) -> None:
    """Put an entry into another state, and note why."""
    at = to_microseconds(now)
    detail = detail[:_DETAIL_LIMIT]
    connection.execute(
        "UPDATE entries SET state = ?, reason = ?, detail = ?, lease_until = NULL, cut_short = 0, updated_at = ? "
        "WHERE entry_id = ?",
        (state, reason, detail, at, entry_id),
    )
    remember(connection, entry_id, at=at, event=event, reason=reason, detail=detail)


def remember(
    connection: apsw.Connection, entry_id: int, *, at: int, event: str, reason: str = "", detail: str = ""
) -> None:
    """Add to an entry's history. A long history loses its middle, because its beginning and its end are asked
    for.
    """
    connection.execute(
        "INSERT INTO history SELECT ?1, ?2, ?3, attempts, ?4, ?5 FROM entries WHERE entry_id = ?1",
        (entry_id, at, event, reason, detail),
    )
    connection.execute(
        "DELETE FROM history WHERE entry_id = ?1 AND rowid IN ("
        "SELECT rowid FROM history WHERE entry_id = ?1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)",
        (entry_id, _HISTORY_LIMIT),
    )


def check_lease(connection: apsw.Connection, entry: Entry) -> None:
    """Check that the entry is leased under this very attempt.

    Raises:
        LeaseLostError: it is not.
    """
    held = query(
        connection,
        "SELECT 1 FROM entries JOIN mails USING (mail_id) "
        "WHERE entry_id = ? AND state = 'leased' AND attempts = ? AND spool_id = ?",
        (entry.entry_id, entry.attempts, entry.spool_id),
    )
    if not held:
        raise LeaseLostError(f"{entry.reference} is no longer leased under attempt {entry.attempts}")


def renew(connection: apsw.Connection, entry: Entry, *, lease_seconds: float, now: datetime) -> None:
    """Set a later end of the lease."""
    check_lease(connection, entry)
    until = to_microseconds(now + timedelta(seconds=lease_seconds))
    connection.execute("UPDATE entries SET lease_until = ? WHERE entry_id = ?", (until, entry.entry_id))


def save_request(
    connection: apsw.Connection,
    entry: Entry,
    *,
    request: bytes,
    rung: Rung,
    token: str,
    expires_at: datetime,
    now: datetime,
    captured: Mapping[str, str] | None = None,
    instance_id: str | None = None,
) -> None:
    """Store the request as it will go out; it is in doubt from now on. What was captured first stays."""
    begin_sending(connection, entry, token=token, now=now)
    connection.execute(
        "INSERT INTO requests VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET request = excluded.request, expires_at = excluded.expires_at",
        (entry.entry_id, request, to_microseconds(expires_at)),
    )
    connection.execute(
        "UPDATE entries SET rung = ?, updated_at = ?, captured = coalesce(captured, ?), asked = coalesce(?, asked) "
        "WHERE entry_id = ?",
        (
            rung,
            to_microseconds(now),
            build_json(dict(captured)) if captured is not None else None,
            instance_id,
            entry.entry_id,
        ),
    )


def begin_original(
    connection: apsw.Connection, entry: Entry, *, reason: str, detail: str, now: datetime
) -> None:
    """Continue at the last rung, in this attempt and in all that follow."""
    check_lease(connection, entry)
    _begin_at(connection, entry, Rung.ORIGINAL)
    at, detail = to_microseconds(now), detail[:_DETAIL_LIMIT]
    remember(connection, entry.entry_id, at=at, event="original", reason=reason, detail=detail)


def why_original(connection: apsw.Connection, entry: Entry) -> str:
    """The reason word of the last step to the last rung. Returns "" if the history has forgotten it."""
    rows = query(
        connection,
        "SELECT reason FROM history WHERE entry_id = ? AND event = 'original' ORDER BY rowid DESC LIMIT 1",
        (entry.entry_id,),
    )
    return str(rows[0][0]) if rows else ""


def begin_sending(connection: apsw.Connection, entry: Entry, *, token: str, now: datetime) -> None:
    """Note that a request goes out under this token: until its answer comes, nobody knows whether it is a
    contact.
    """
    check_lease(connection, entry)
    connection.execute(
        "UPDATE entries SET token = ?1, sent_at = coalesce(sent_at, ?2), in_doubt_since = coalesce(in_doubt_since, ?2) "
        "WHERE entry_id = ?3",
        (token, to_microseconds(now), entry.entry_id),
    )


def refuse(
    connection: apsw.Connection,
    entry: Entry,
    *,
    rung: Rung,
    token: str,
    reason: str,
    detail: str,
    now: datetime,
) -> None:
    """Record Connect's refusal of the payload, a definite answer. The next request is another one, on this
    rung and under this token.
    """
    check_lease(connection, entry)
    remember(
        connection,
        entry.entry_id,
        at=to_microseconds(now),
        event="refused",
        reason=reason,
        detail=detail[:_DETAIL_LIMIT],
    )
    connection.execute(
        "UPDATE entries SET token = ?, sent_at = NULL, in_doubt_since = NULL, updated_at = ? WHERE entry_id = ?",
        (token, to_microseconds(now), entry.entry_id),
    )
    _begin_at(connection, entry, rung)


def _settle(connection: apsw.Connection, entry: Entry) -> None:
    """Note that no contact came of the request of this attempt: only an earlier doubt remains."""
    since = to_microseconds(entry.in_doubt_since) if entry.in_doubt_since else None
    connection.execute("UPDATE entries SET in_doubt_since = ? WHERE entry_id = ?", (since, entry.entry_id))


def find_token(connection: apsw.Connection, token: str) -> tuple[bool, str | None]:
    """The ledger's record of this token: whether an entry has sent it, and the contact id if it is known."""
    rows = query(
        connection,
        "SELECT contact_id FROM ledger WHERE token = ? ORDER BY contact_id IS NULL LIMIT 1",
        (token,),
    )
    return bool(rows), rows[0][0] if rows else None


def finish(
    connection: apsw.Connection,
    entry: Entry,
    *,
    contact_id: str | None,
    reason: str = "",
    detail: str = "",
    dropped: bool = False,
    shown: Shown | None = None,
    forget: bool = False,
    now: datetime,
) -> str:
    """Move the entry to S7. Its request is removed; the ledger remembers the entry and its contact id.

    Returns the id of a mail whose file may be removed after the commit; "" if there is none.
    """
    check_lease(connection, entry)
    record(connection, entry.entry_id, state="done", event="done", reason=reason, detail=detail, now=now)
    connection.execute("DELETE FROM requests WHERE entry_id = ?", (entry.entry_id,))
    dropped_at = to_microseconds(now) if dropped else None
    connection.execute(
        "UPDATE entries SET contact_id = ?, dropped_at = ?, in_doubt_since = NULL WHERE entry_id = ?",
        (contact_id, dropped_at, entry.entry_id),
    )
    connection.execute(REMEMBER, (dropped_at, entry.entry_id))
    addressed.note(connection, entry.entry_id)
    describe(connection, entry, shown, ended=True)
    return forgotten.forget(connection, entry.entry_id, asked=forget)


def defer(
    connection: apsw.Connection,
    entry: Entry,
    *,
    until: datetime,
    reason: str,
    detail: str,
    rung: Rung | None = None,
    void: bool = False,
    settled: bool = False,
    begun: bool = True,
    shown: Shown | None = None,
    now: datetime,
) -> None:
    """Move the entry back to S3."""
    check_lease(connection, entry)
    if settled:
        _settle(connection, entry)
    if begun:
        record(
            connection,
            entry.entry_id,
            state="queued",
            event="deferred",
            reason=reason,
            detail=detail,
            now=now,
        )
    else:
        _put_back(connection, entry, reason=reason, detail=detail, now=now)
    connection.execute(
        "UPDATE entries SET due_at = ? WHERE entry_id = ?", (to_microseconds(until), entry.entry_id)
    )
    connection.execute(
        "UPDATE entries SET rung = coalesce(?, rung) WHERE entry_id = ?", (rung, entry.entry_id)
    )
    if void:
        connection.execute("DELETE FROM requests WHERE entry_id = ?", (entry.entry_id,))
    describe(connection, entry, shown)


def _put_back(connection: apsw.Connection, entry: Entry, *, reason: str, detail: str, now: datetime) -> None:
    """Move the entry back to S3 as if it had not been leased: the attempt is not counted, no event is noted,
    and the count of dead runners stays.
    """
    connection.execute(
        "UPDATE entries SET state = 'queued', reason = ?, detail = ?, lease_until = NULL, "
        "attempts = attempts - 1, updated_at = ? WHERE entry_id = ?",
        (reason, detail[:_DETAIL_LIMIT], to_microseconds(now), entry.entry_id),
    )


def recall(connection: apsw.Connection, references: Sequence[str], *, now: datetime) -> None:
    """Make entries in S3 due now if they are due later."""
    connection.execute(
        "UPDATE entries SET due_at = ?1 WHERE state = 'queued' AND due_at > ?1 "
        "AND entry_id IN (SELECT value FROM json_each(?2))",
        (to_microseconds(now), json.dumps(find_numbers(references))),
    )


def _begin_at(connection: apsw.Connection, entry: Entry, rung: Rung) -> None:
    """Have the next attempt build a new request, on this rung."""
    connection.execute("UPDATE entries SET rung = ? WHERE entry_id = ?", (rung, entry.entry_id))
    connection.execute("DELETE FROM requests WHERE entry_id = ?", (entry.entry_id,))


def hold(
    connection: apsw.Connection,
    entry: Entry,
    *,
    reason: str,
    detail: str,
    shown: Shown | None = None,
    now: datetime,
) -> None:
    """Move the entry to S5."""
    check_lease(connection, entry)
    record(connection, entry.entry_id, state="held", event="held", reason=reason, detail=detail, now=now)
    describe(connection, entry, shown)


def bury(
    connection: apsw.Connection,
    entry: Entry,
    *,
    reason: str,
    detail: str,
    afresh: bool = False,
    settled: bool = False,
    shown: Shown | None = None,
    now: datetime,
) -> None:
    """Move the entry to S6."""
    check_lease(connection, entry)
    if settled:
        _settle(connection, entry)
    record(connection, entry.entry_id, state="dead", event="dead", reason=reason, detail=detail, now=now)
    if afresh:
        _begin_at(connection, entry, Rung.FULL)
    describe(connection, entry, shown)
