"""The entries that an operator's filter means: chosen, counted, and read as values.

Owns what a filter asks of a row, and the state that an operator sees (`Entry.shown_state`) as a question. Never
changes a row, and never touches the octets of mails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import apsw

from relay.errors import SpoolCorruptError
from relay.spool.local.control import read_holds
from relay.spool.local.named import find_named
from relay.spool.local.patterns import Fits, fits_recipient, fits_sender, parse_pattern
from relay.spool.local.rows import ENTRY_COLUMNS, ENTRY_TABLES, LISTED_COLUMNS, parse_entry, to_microseconds
from relay.spool.local.schema import query
from relay.spool.model import Entry, Filter, Hold, State

#: What is queued on a route that an error of configuration holds, and what is queued on another.
_STANDING = "e.state = 'queued' AND e.route IN (SELECT value FROM json_each(?))"
_RUNNING = "e.state = 'queued' AND e.route NOT IN (SELECT value FROM json_each(?))"
#: `Entry.shown_reason`, as a question.
_REASON = """
(substr(e.reason, 1, length(?)) = ? OR e.reason = '' AND e.state = 'queued' AND e.route IN (
SELECT name FROM control WHERE subject = 'hold' AND substr(reason, 1, length(?)) = ?))
"""


def select(connection: apsw.Connection, wanted: Filter) -> list[Entry]:
    """Entries that fit, oldest accepted first."""
    conditions, values = _conditions(connection, wanted)
    columns = ENTRY_COLUMNS if wanted.ids else LISTED_COLUMNS
    holds = read_holds(connection)
    rows: list[Any] = []
    # State by state: each walks its own index from the oldest, and stops at the limit.
    for walk in _walks(wanted.states, holds):
        where = " AND ".join([walk.condition, *conditions])
        rows += query(
            connection,
            f"SELECT {columns} FROM {ENTRY_TABLES} WHERE {where} ORDER BY e.entry_id LIMIT ?",  # noqa: S608 - constants of ours
            (*walk.values, *values, wanted.limit),
        )
    rows.sort(key=lambda row: row[0])
    return read_entries(rows[: wanted.limit], holds)


def count(connection: apsw.Connection, wanted: Filter) -> dict[State, int]:
    """How many entries fit, by the state that an operator sees; the limit does not count."""
    conditions, values = _conditions(connection, wanted)
    holds = read_holds(connection)
    states = dict.fromkeys(wanted.states or State, 0)
    if not conditions:
        totals = dict(query(connection, "SELECT name, value FROM totals"))
        (moved,) = query(
            connection,
            "SELECT count(*) FROM entries WHERE state = 'queued' AND route IN (SELECT value FROM json_each(?))",
            (json.dumps([*holds]),),
        )[0]
        totals[State.QUEUED] -= moved
        totals[State.HELD] += moved
        return {state: totals[state] for state in states}
    for walk in _walks(wanted.states, holds):
        where = " AND ".join([walk.condition, *conditions])
        (found,) = query(
            connection,
            f"SELECT count(*) FROM entries AS e JOIN mails AS m USING (mail_id) WHERE {where}",  # noqa: S608 - constants of ours
            (*walk.values, *values),
        )[0]
        states[walk.state] += found
    return states


class _Walk(NamedTuple):
    """The rows of one stored state, all of them of one state that an operator sees."""

    state: State
    condition: str
    values: tuple[str, ...]


def _walks(states: Sequence[State], holds: Mapping[str, Hold]) -> Iterator[_Walk]:
    """`Entry.shown_state`, as questions."""
    routes = json.dumps([*holds])
    for state in dict.fromkeys(states or State):
        if state is not State.QUEUED or not holds:
            yield _Walk(state, "e.state = ?", (state,))
        else:
            yield _Walk(state, _RUNNING, (routes,))
        if state is State.HELD and holds:
            yield _Walk(state, _STANDING, (routes,))


def _conditions(connection: apsw.Connection, wanted: Filter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.route is not None:
        conditions.append("e.route = ?")
        values.append(wanted.route)
    if wanted.reason is not None:
        conditions.append(_REASON)
        values += [wanted.reason] * 4
    if wanted.sender in {"", "<>"}:
        conditions.append("m.reverse_path IS NULL")
    elif wanted.sender is not None:
        ask_sender(connection, parse_pattern(wanted.sender))
        conditions.append("fits_sender(m.reverse_path)")
    if wanted.recipient is not None:
        ask_recipient(connection, parse_pattern(wanted.recipient))
        conditions.append("fits_recipient(e.address, e.forward_paths)")
    if wanted.older_than is not None:
        conditions.append("e.accepted_at < ?")
        values.append(to_microseconds(wanted.older_than))
    if wanted.ids:
        named, _ = find_named(connection, wanted.ids)
        conditions.append("e.entry_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([one.entry_id for one in named]))
    return conditions, values


def ask_sender(connection: apsw.Connection, fits: Fits) -> None:
    """What `fits_sender` answers in the questions to come: SQLite itself knows no letters beyond ASCII."""
    connection.create_scalar_function("fits_sender", fits_sender(fits), 1)


def ask_recipient(connection: apsw.Connection, fits: Fits) -> None:
    """What `fits_recipient` answers in the questions to come."""
    connection.create_scalar_function("fits_recipient", fits_recipient(fits), 2)


def read_entries(rows: Sequence[Sequence[Any]], holds: Mapping[str, Hold]) -> list[Entry]:
    """The entries of rows that can be read; one that cannot is found by `counts` and the log, and never stops a list."""
    entries: list[Entry] = []
    for row in rows:
        try:
            entry = parse_entry(row)
        except SpoolCorruptError:
            continue
        hold = holds.get(entry.destination.route) if entry.state is State.QUEUED else None
        entries.append(replace(entry, route_hold=hold) if hold else entry)
    return entries
