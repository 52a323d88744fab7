"""The audit's table `actions`: who did what.

Owns its rows, which are only appended, and removed by nothing but their age; an erasure puts a name in the
place of an address. Runs within the caller's
transactions, so that what an operator does to the spool is in the audit exactly if it was done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import apsw

from relay.spool.action import Action, Via, bound_action
from relay.spool.audit import KEPT, Audited, AuditFilter, Stage, bound_detail
from relay.spool.local.database import query
from relay.spool.local.retention import STEP
from relay.spool.records import from_microseconds, to_microseconds

#: The mark of the last row that stands in the log.
_TOLD = "actions_told"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = Action(actor="unknown", via=Via.CLI, command="(this row cannot be read)")
_COLUMNS = "number, at, actor, via, command, about, stage, counts, reason, detail, begun"


def add(
    connection: apsw.Connection,
    action: Action,
    *,
    at: int,
    stage: Stage,
    counts: Mapping[str, int] | None = None,
    detail: str = "",
    begun: int | None = None,
) -> int:
    """Append a row. Returns its number."""
    action = bound_action(action)
    rows = query(
        connection,
        "INSERT INTO actions (at, actor, via, command, about, stage, counts, reason, detail, begun) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        (
            at,
            action.actor,
            str(action.via),
            action.command,
            json.dumps(action.about, ensure_ascii=False),
            str(stage),
            json.dumps(dict(counts or {})),
            action.reason,
            bound_detail(detail),
            begun,
        ),
    )
    return int(rows[0][0])


def read(connection: apsw.Connection, wanted: AuditFilter) -> list[Audited]:
    """The newest rows that are wanted, the newest last."""
    rows = query(
        connection,
        # From the last row back, without a sort: the plus keeps the index of instants out.
        f"SELECT {_COLUMNS} FROM actions WHERE +at >= ?1 AND +at <= ?2 "  # noqa: S608 - our own columns
        # The actor's own words follow the name that the kernel knows: "ann (login bob)".
        "AND (?3 IS NULL OR actor = ?3 OR substr(actor, 1, length(?3) + 2) = ?3 || ' (') "
        "AND (?4 IS NULL OR command = ?4 OR substr(command, 1, length(?4) + 1) = ?4 || ' ') "
        "ORDER BY number DESC LIMIT ?5",
        (
            to_microseconds(wanted.since) if wanted.since else -(1 << 62),
            to_microseconds(wanted.until) if wanted.until else 1 << 62,
            wanted.actor,
            wanted.command,
            wanted.limit,
        ),
    )
    return [_build(row) for row in reversed(rows)]


def read_untold(connection: apsw.Connection, limit: int = STEP) -> list[Audited]:
    """The oldest rows that do not stand in the log yet."""
    rows = query(
        connection,
        f"SELECT {_COLUMNS} FROM actions WHERE number > "  # noqa: S608 - our own columns
        "coalesce((SELECT value FROM marks WHERE name = ?), 0) ORDER BY number LIMIT ?",
        (_TOLD, limit),
    )
    return [_build(row) for row in rows]


def note_told(connection: apsw.Connection, *, number: int) -> None:
    """Note that the rows up to this one stand in the log."""
    connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (_TOLD, number))


def forget(connection: apsw.Connection, *, now: datetime) -> int:
    """Remove some rows of over a year ago, the only ones that ever go. Returns their number."""
    connection.execute(
        "DELETE FROM actions WHERE number IN (SELECT number FROM actions WHERE at < ? LIMIT ?)",
        (to_microseconds(now - KEPT), STEP),
    )
    return connection.changes()


def find_naming(connection: apsw.Connection, names: re.Pattern[str]) -> list[int]:
    """The numbers of the rows whose words have an address in them."""
    rows = query(connection, "SELECT number, command, about, reason, detail FROM actions")
    return [number for number, *texts in rows if any(names.search(text) for text in texts)]


def rename(connection: apsw.Connection, numbers: Sequence[int], names: re.Pattern[str], name: str) -> None:
    """Put a name in the place of an address in these rows: the one change of what was written, made where a
    person is erased, of which a row of its own tells. A row is removed and written again under its number,
    since the table refuses every update.
    """
    for number in numbers:
        ((_, *row),) = query(connection, f"SELECT {_COLUMNS} FROM actions WHERE number = ?", (number,))  # noqa: S608 - our own columns
        texts = [names.sub(name, value) if isinstance(value, str) else value for value in row]
        connection.execute("DELETE FROM actions WHERE number = ?", (number,))
        connection.execute(
            f"INSERT INTO actions ({_COLUMNS}) VALUES ({', '.join('?' * (len(texts) + 1))})",  # noqa: S608 - our own columns
            (number, *texts),
        )


def _build(row: tuple[Any, ...]) -> Audited:
    """The row; one that cannot be read stands for itself, and hides no other."""
    try:
        return _read_row(row)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return Audited(number=row[0], at=_EPOCH, action=_UNREADABLE, stage=Stage.FAILED, detail="spoiled")


def _read_row(row: tuple[Any, ...]) -> Audited:
    number, at, actor, via, command, about, stage, counts, reason, detail, begun = row
    return Audited(
        number=number,
        at=from_microseconds(at),
        action=Action(
            actor=actor, via=Via(via), command=command, about=tuple(json.loads(about)), reason=reason
        ),
        stage=Stage(stage),
        counts={name: int(count) for name, count in json.loads(counts).items()},
        detail=detail,
        begun=begun,
    )
