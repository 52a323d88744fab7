"""The rows of the local spool, read and written as values.

Owns the columns of an entry and how they are read. Never opens a database. A row that cannot be read is a
`SpoolCorruptError`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from relay.envelope import Destination, SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.model import Entry, State
from relay.spool.records import from_microseconds, parse_envelope_json
from relay.vocabulary import Rung

#: Nobody knows when a request that an earlier version stored went out: the instant of acceptance is assumed.
_INHERITED = "iif(e.token IS NULL AND r.request IS NOT NULL, e.accepted_at, NULL)"
IN_DOUBT_SINCE = f"coalesce(e.in_doubt_since, {_INHERITED})"
#: The columns that `parse_entry` needs, in its order; from `entries AS e`, the mail as `m`, the request as
#: `r`.
ENTRY_COLUMNS = (
    "e.entry_id, m.spool_id, e.instance_id, e.address, e.forward_paths, e.route, m.envelope, m.results, "
    "m.fingerprint, m.message_id, m.size, m.trace_size, e.state, e.attempts, e.cut_short, e.due_at, "
    "e.lease_until, e.rung, r.request, r.expires_at, e.contact_id, e.reason, e.detail, e.accepted_at, e.updated_at, "
    f"e.released, e.tag, e.token, coalesce(e.sent_at, {_INHERITED}) IS NOT NULL, {IN_DOUBT_SINCE}, e.captured, e.asked"
)
#: The same without the request, which may be large: for lists.
LISTED_COLUMNS = ENTRY_COLUMNS.replace("r.request,", "NULL,")
ENTRY_TABLES = "entries AS e JOIN mails AS m USING (mail_id) LEFT JOIN requests AS r USING (entry_id)"


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
        asked_instance=row[31],
    )
