"""The rows of the local spool, read and written as values.

Owns the form of instants, envelopes (a line of JSON whose keys are the names of our fields) and destinations
in a row. Never opens a database. A row that cannot be read is a `SpoolCorruptError`; an envelope that cannot
be read is a ValueError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.model import Entry, State
from relay.vocabulary import Rung

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600_000_000
_LONGEST = 1 << 62

#: Nobody knows when a request that an earlier version stored went out: the instant of acceptance is assumed.
_INHERITED = "iif(e.token IS NULL AND r.request IS NOT NULL, e.accepted_at, NULL)"
IN_DOUBT_SINCE = f"coalesce(e.in_doubt_since, {_INHERITED})"
#: The columns that `parse_entry` needs, in its order; from `entries AS e`, the mail as `m`, the request as
#: `r`.
ENTRY_COLUMNS = (
    "e.entry_id, m.spool_id, e.instance_id, e.address, e.forward_paths, e.route, m.envelope, m.results, "
    "m.fingerprint, m.message_id, m.size, m.trace_size, e.state, e.attempts, e.cut_short, e.due_at, "
    "e.lease_until, e.rung, r.request, r.expires_at, e.contact_id, e.reason, e.detail, e.accepted_at, e.updated_at, "
    f"e.released, e.tag, e.token, coalesce(e.sent_at, {_INHERITED}) IS NOT NULL, {IN_DOUBT_SINCE}, e.captured"
)
#: The same without the request, which may be large: for lists.
LISTED_COLUMNS = ENTRY_COLUMNS.replace("r.request,", "NULL,")
ENTRY_TABLES = "entries AS e JOIN mails AS m USING (mail_id) LEFT JOIN requests AS r USING (entry_id)"


def hours_in_microseconds(hours: float) -> int:
    """A span of hours as rows count time: at most what SQLite's integers hold beside an instant."""
    return int(min(hours * _HOUR, _LONGEST))


def to_microseconds(at: datetime) -> int:
    """An aware instant in the form in which a row keeps it."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """The instant that a row holds."""
    return _EPOCH + timedelta(microseconds=count)


#: One line of JSON.
build_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def parse_entry(row: Sequence[Any]) -> Entry:
    """The entry in a row of ENTRY_COLUMNS.

    Raises:
        SpoolCorruptError: the row cannot be read.
    """
    try:
        return _parse_entry(row)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        raise SpoolCorruptError(f"entry {row[0]} cannot be read: {exc}") from exc


def _parse_captured(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    return {str(name): str(value) for name, value in json.loads(text).items()}


def _parse_entry(row: Sequence[Any]) -> Entry:
    results = json.loads(row[7])
    return Entry(
        entry_id=row[0],
        spool_id=SpoolId(row[1]),
        destination=Destination(
            instance_id=row[2],
            address=row[3],
            forward_paths=tuple(json.loads(row[4])),
            route=row[5],
            tag=row[26] or "",
        ),
        envelope=parse_envelope_json(row[6]),
        results={str(name): str(value) for name, value in results.items()},
        fingerprint=row[8],
        message_id=row[9],
        size=row[10],
        trace_size=row[11],
        state=State(row[12]),
        attempts=row[13],
        cut_short=row[14],
        next_attempt_at=from_microseconds(row[15]),
        lease_until=from_microseconds(row[16]) if row[16] is not None else None,
        rung=Rung(row[17]),
        request=row[18],
        request_expires_at=from_microseconds(row[19]) if row[19] is not None else None,
        contact_id=row[20],
        reason=row[21],
        detail=row[22],
        accepted_at=from_microseconds(row[23]),
        updated_at=from_microseconds(row[24]),
        released=bool(row[25]),
        token=row[27],
        sent=bool(row[28]),
        in_doubt_since=from_microseconds(row[29]) if row[29] is not None else None,
        captured=_parse_captured(row[30]),
    )


def build_envelope_json(envelope: Envelope) -> str:
    """The envelope as one line of JSON, as a row keeps it.

    Raises:
        ValueError: a text holds a lone surrogate, which no peer's octets become.
    """
    if envelope.received_at.tzinfo is not UTC:
        envelope = replace(envelope, received_at=envelope.received_at.astimezone(UTC))
    try:
        return orjson.dumps(envelope).decode()
    except TypeError as exc:
        raise ValueError(f"not to be written as JSON: {exc}") from exc


def parse_envelope_json(text: str) -> Envelope:
    """The envelope that `build_envelope_json` wrote.

    Raises:
        ValueError: the text is no such record (KeyError and TypeError are turned into it).
    """
    try:
        record = orjson.loads(text)
        return Envelope(
            reverse_path=record["reverse_path"],
            forward_paths=tuple(ForwardPath(**path) for path in record["forward_paths"]),
            peer=Peer(**record["peer"]),
            received_at=datetime.fromisoformat(record["received_at"]),
            smtputf8=record["smtputf8"],
            ret=record["ret"],
            envid=record["envid"],
            repairs=tuple(record["repairs"]),
            # Missing in the records of earlier versions.
            attributes=tuple((str(name), str(value)) for name, value in record.get("attributes", ())),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not an envelope record: {exc!r}") from exc
