"""Mail that has waited too long: found in small steps, and given up.

Owns that search and the step from S3 and S5 to S6 at its end. Runs within the caller's transaction.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import apsw

from relay.errors import SpoolCorruptError
from relay.spool.local.database import query
from relay.spool.local.outcomes import record
from relay.spool.local.rows import ENTRY_COLUMNS, ENTRY_TABLES, parse_entry
from relay.spool.model import Aged, Entry
from relay.spool.records import to_microseconds

#: Entries of each state that one step looks at: receivers wait for it.
_AGED_LIMIT = 100
#: An entry that an operator retried or released is not given up before its attempt, if that comes within this
#: time.
_ASKED = timedelta(hours=2)
# Entries come in the order of their ids, so the oldest of a state are at the front of its index. Only a
# person's word counts: the oldest mail of a held route is probed again and again, and would otherwise be kept
# for ever.
_OLDEST = """
SELECT entry_id, accepted_at, EXISTS (
    SELECT 1 FROM history WHERE history.entry_id = entries.entry_id AND event IN ('retried', 'released', 'rerouted')
    AND at >= ?2 AND attempt = entries.attempts
) FROM entries WHERE state = ?1 AND entry_id > ?4 ORDER BY entry_id LIMIT ?3
"""


def bury_aged(
    connection: apsw.Connection,
    *,
    accepted_before: datetime,
    reason: str,
    detail: str,
    now: datetime,
    after: int = 0,
) -> Aged:
    """Move entries that waited too long in S3 or S5 to S6: those of one step, whose ids are above `after`.
    The reason that an entry had is kept behind `detail`.
    """
    before = to_microseconds(accepted_before)
    asked_since = to_microseconds(now - _ASKED)
    ids: list[int] = []
    ends: list[int] = []
    for state in ("queued", "held"):
        rows = query(connection, _OLDEST, (state, asked_since, _AGED_LIMIT, after))
        ids += (entry_id for entry_id, accepted_at, asked in rows if accepted_at < before and not asked)
        if len(rows) == _AGED_LIMIT and rows[-1][1] < before:
            ends.append(rows[-1][0])
    # Rows beyond the end of the shorter walk come with the next step.
    end = min(ends, default=None)
    ids = [entry_id for entry_id in ids if end is None or entry_id <= end]
    buried: list[Entry] = []
    for entry_id in ids:
        ((last, why),) = query(
            connection, "SELECT reason, detail FROM entries WHERE entry_id = ?", (entry_id,)
        )
        earlier = f"; before: {last}{f': {why}' if why else ''}" if last else ""
        told = why if why and last == reason else f"{detail}{earlier}"  # once more, the story is told already
        record(connection, entry_id, state="dead", event="dead", reason=reason, detail=told, now=now)
        rows = query(
            connection,
            f"SELECT {ENTRY_COLUMNS} FROM {ENTRY_TABLES} WHERE e.entry_id = ?",  # noqa: S608 - constants of ours
            (entry_id,),
        )
        # An entry that cannot be read is buried all the same.
        with suppress(SpoolCorruptError):
            buried.append(parse_entry(rows[0]))
    return Aged(entries=tuple(buried), after=end)
