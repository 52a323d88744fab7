"""The entries that an operator's ids and filters mean: selected, counted, and read as values.

Owns the conditions that a filter puts on a row, and the meaning of an id: a spool id means all entries of the
mail, a reference one of them. Never changes a row, and never touches the octets of mails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import apsw

from relay.errors import SpoolCorruptError
from relay.spool.change import Changed, Left
from relay.spool.ids import build_reference, split_id
from relay.spool.local.control import read_holds
from relay.spool.local.database import query
from relay.spool.local.rows import ENTRY_COLUMNS, ENTRY_TABLES, IN_DOUBT_SINCE, LISTED_COLUMNS, parse_entry
from relay.spool.local.shown import SHOWN_REASON, SHOWN_STATE, WAITS_FOR_ROUTE, Walk, find_walks
from relay.spool.local.slices import EVER, View
from relay.spool.model import Entry, Filter, State, stands_in
from relay.spool.patterns import Fits, fits_recipient, fits_sender, parse_pattern
from relay.spool.records import from_microseconds, to_microseconds

#: The columns that `read_entries` needs: the entry, and its shown state.
SHOWN_COLUMNS = f"{ENTRY_COLUMNS}, {SHOWN_STATE}"
#: The same without the request.
SHOWN_LISTED_COLUMNS = f"{LISTED_COLUMNS}, {SHOWN_STATE}"
#: The rows of one slice.
_SPAN = "e.entry_id > ? AND e.entry_id <= ?"


def select(view: View, wanted: Filter) -> list[Entry]:
    """The entries that fit, oldest accepted first."""
    connection = view.connection
    conditions, values = _conditions(connection, wanted)
    columns = SHOWN_COLUMNS if wanted.ids else SHOWN_LISTED_COLUMNS
    entries: dict[int, Entry] = {}
    # One query for each state: each walks its own index from the oldest entry, and stops at the limit.
    for walk in find_walks(connection, wanted.states):
        where = " AND ".join([walk.condition, *conditions, _SPAN])
        left = wanted.limit
        for span in _spans(view, walk, wanted):
            found = query(
                connection,
                f"SELECT {columns} FROM {ENTRY_TABLES} WHERE {where} ORDER BY e.entry_id LIMIT ?",  # noqa: S608 - constants of ours
                (*values, *span, left),
            )
            entries.update((entry.entry_id, entry) for entry in read_entries(connection, found))
            left -= len(found)
            if left <= 0:
                break
    return [entries[number] for number in sorted(entries)[: wanted.limit]]


def _spans(view: View, walk: Walk, wanted: Filter) -> Iterable[tuple[int, int]]:
    """The slices of a walk; all of it at once where ids are asked for, which an index finds."""
    return [(-1, EVER)] if wanted.ids else view.spans(walk.condition)


def count(view: View, wanted: Filter) -> dict[State, int]:
    """The number of entries that fit, by shown state, whatever the limit."""
    connection = view.connection
    conditions, values = _conditions(connection, wanted)
    states = dict.fromkeys(wanted.states or State, 0)
    if not conditions:
        totals = dict(query(connection, "SELECT name, value FROM totals"))
        (moved,) = query(connection, f"SELECT count(*) FROM entries AS e WHERE {WAITS_FOR_ROUTE}")[0]  # noqa: S608 - a constant of ours
        totals[State.QUEUED] -= moved
        totals[State.HELD] += moved
        return {state: totals[state] for state in states}
    for walk in find_walks(connection, wanted.states):
        where = " AND ".join([walk.condition, *conditions, _SPAN])
        for span in _spans(view, walk, wanted):
            (found,) = query(
                connection,
                f"SELECT count(*) FROM entries AS e JOIN mails AS m USING (mail_id) WHERE {where}",  # noqa: S608 - constants of ours
                (*values, *span),
            )[0]
            states[walk.shown] += found
    return states


def _conditions(connection: apsw.Connection, wanted: Filter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.route is not None:
        conditions.append("e.route = ?")
        values.append(wanted.route)
    if wanted.routes is not None:
        conditions.append("e.route IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(wanted.routes))
    if wanted.reason is not None:
        conditions.append(f"substr({SHOWN_REASON}, 1, length(?)) = ?")
        values += [wanted.reason] * 2
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
    """Have `fits_sender` in the following queries of this connection use this test: SQLite's own lower()
    knows only ASCII.
    """
    connection.create_scalar_function("fits_sender", fits_sender(fits), 1)


def ask_recipient(connection: apsw.Connection, fits: Fits) -> None:
    """Have `fits_recipient` in the following queries of this connection use this test."""
    connection.create_scalar_function("fits_recipient", fits_recipient(fits), 2)


def read_entries(connection: apsw.Connection, rows: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries in rows of SHOWN_COLUMNS. A row that cannot be read is left out; `counts` and the log show
    it.
    """
    holds = read_holds(connection)
    entries: list[Entry] = []
    for row in rows:
        try:
            entry = parse_entry(row)
        except SpoolCorruptError:
            continue
        if entry.state != row[-1]:
            entry = replace(entry, route_hold=holds[entry.destination.route])
        entries.append(entry)
    return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An entry that an id names."""

    #: `Entry.reference`.
    id: str
    entry_id: int
    mail_id: int
    state: State
    #: `Entry.shown_state`.
    shown: State
    route: str
    #: `Entry.in_doubt_since`.
    in_doubt_since: datetime | None


def find_named(connection: apsw.Connection, ids: Sequence[str]) -> tuple[list[Named], list[str]]:
    """The entries that these ids name, each once, and the ids that name no entry."""
    found: dict[int, Named] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(ids):
        spool_id, number = split_id(word)
        rows = query(
            connection,
            f"SELECT entry_id, mail_id, state, {SHOWN_STATE}, route, {IN_DOUBT_SINCE} FROM entries AS e JOIN mails AS m USING (mail_id) "  # noqa: S608 - constants of ours
            "LEFT JOIN requests AS r USING (entry_id) WHERE spool_id = ? AND coalesce(entry_id = ?, 1) ORDER BY entry_id",
            (spool_id, number),
        )
        if not rows:
            unknown.append(word)
        for entry_id, mail_id, state, shown, route, since in rows:
            found[entry_id] = Named(
                id=build_reference(spool_id, entry_id),
                entry_id=entry_id,
                mail_id=mail_id,
                state=State(state),
                shown=State(shown),
                route=route,
                in_doubt_since=from_microseconds(since) if since is not None else None,
            )
    return list(found.values()), unknown


def sort_named(
    connection: apsw.Connection, ids: Sequence[str], states: Sequence[State]
) -> tuple[Sequence[Named], Changed]:
    """The named entries that a change of these states may have, and its result so far. Runs within the
    transaction of the change.
    """
    named, unknown = find_named(connection, ids)
    able: list[Named] = []
    left: list[Left] = []
    for one in named:
        if stands_in(states, stored=one.state, shown=one.shown):
            able.append(one)
        else:
            left.append(Left(id=one.id, state=one.shown))
    return able, Changed(
        count=len(able),
        left=(*left, *(Left(id=word, state=None) for word in unknown)),
        routes=tuple(sorted({one.route for one in able})),
    )
