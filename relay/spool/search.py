"""How an operator finds entries: filters, traces, history, and the age of what waits.

Owns the questions of `Desk`; never changes a row. No question touches the octets of mails.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import apsw

from relay.envelope import SpoolId
from relay.errors import SpoolCorruptError
from relay.spool.addresses import Fits, equals, fits_recipient, fits_sender, parse_pattern
from relay.spool.ids import mark_of
from relay.spool.model import Backlog, Entry, Event, Filter, Remembered, State
from relay.spool.named import find_named, split_id
from relay.spool.records import (
    ENTRY_COLUMNS,
    ENTRY_TABLES,
    LISTED_COLUMNS,
    from_microseconds,
    parse_entry,
    to_microseconds,
)
from relay.spool.schema import query


def select(connection: apsw.Connection, wanted: Filter) -> list[Entry]:
    """Entries that fit, oldest accepted first."""
    conditions, values = _conditions(connection, wanted)
    if wanted.ids:
        named, _ = find_named(connection, wanted.ids)
        conditions.append("e.entry_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([one.entry_id for one in named]))
    columns = ENTRY_COLUMNS if wanted.ids else LISTED_COLUMNS
    rows: list[Any] = []
    # State by state: each walks its own index from the oldest, and stops at the limit.
    for state in dict.fromkeys(wanted.states or State):
        where = " AND ".join(["e.state = ?", *conditions])
        rows += query(
            connection,
            f"SELECT {columns} FROM {ENTRY_TABLES} WHERE {where} ORDER BY e.entry_id LIMIT ?",  # noqa: S608 - constants of ours
            (state, *values, wanted.limit),
        )
    rows.sort(key=lambda row: row[0])
    return _entries(rows[: wanted.limit])


def _conditions(connection: apsw.Connection, wanted: Filter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.route is not None:
        conditions.append("e.route = ?")
        values.append(wanted.route)
    if wanted.reason is not None:
        conditions.append("substr(e.reason, 1, length(?)) = ?")
        values += [wanted.reason] * 2
    if wanted.sender in {"", "<>"}:
        conditions.append("m.reverse_path IS NULL")
    elif wanted.sender is not None:
        _ask_sender(connection, parse_pattern(wanted.sender))
        conditions.append("fits_sender(m.reverse_path)")
    if wanted.recipient is not None:
        _ask_recipient(connection, parse_pattern(wanted.recipient))
        conditions.append("fits_recipient(e.address, e.forward_paths)")
    if wanted.older_than is not None:
        conditions.append("e.accepted_at < ?")
        values.append(to_microseconds(wanted.older_than))
    return conditions, values


def _ask_sender(connection: apsw.Connection, fits: Fits) -> None:
    """What `fits_sender` answers in the questions to come: SQLite itself knows no letters beyond ASCII."""
    connection.create_scalar_function("fits_sender", fits_sender(fits), 1)


def _ask_recipient(connection: apsw.Connection, fits: Fits) -> None:
    """What `fits_recipient` answers in the questions to come."""
    connection.create_scalar_function("fits_recipient", fits_recipient(fits), 2)


def _entries(rows: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries of rows that can be read; one that cannot is found by `counts` and the log, and never stops a list."""
    entries: list[Entry] = []
    for row in rows:
        try:
            entries.append(parse_entry(row))
        except SpoolCorruptError:
            continue
    return entries


def trace(connection: apsw.Connection, word: str, *, limit: int) -> list[Entry]:
    """The newest entries that a Message-ID, spool id, contact id or address names, oldest first."""
    spool_id, entry_id = split_id(word)
    rows = query(
        connection,
        "SELECT entry_id FROM mails JOIN entries USING (mail_id) WHERE spool_id = ?1 AND coalesce(entry_id = ?2, 1) "
        "UNION SELECT entry_id FROM mails JOIN entries USING (mail_id) WHERE spool_id IN ("
        "SELECT spool_id FROM ledger WHERE message_id IN (?3, ?4)) "
        "UNION SELECT entry_id FROM entries WHERE contact_id = ?3 ORDER BY 1 DESC LIMIT ?5",
        (spool_id, entry_id, word, _bracketed(word), limit),
    )
    if "@" in word or not (rows or mark_of(spool_id)):
        # Addresses, and Message-IDs of mail that is no contact yet: a walk over the tables, asked for by a person.
        fits = parse_pattern(word) if "@" in word else equals(word)
        _ask_sender(connection, fits)
        _ask_recipient(connection, fits)
        rows += query(
            connection,
            "SELECT entry_id FROM entries JOIN mails USING (mail_id) WHERE fits_sender(reverse_path) "
            "OR fits_recipient(address, forward_paths) OR message_id IN (?1, ?2) ORDER BY entry_id DESC LIMIT ?3",
            (word, _bracketed(word), limit),
        )
    newest = sorted({row[0] for row in rows})[-limit:]
    return _entries(
        query(
            connection,
            f"SELECT {ENTRY_COLUMNS} FROM {ENTRY_TABLES} "  # noqa: S608 - constants of ours
            "WHERE e.entry_id IN (SELECT value FROM json_each(?)) ORDER BY e.entry_id",
            (json.dumps(newest),),
        )
    )


def _bracketed(word: str) -> str:
    return word if word.startswith("<") else f"<{word}>"


def history(connection: apsw.Connection, entry_id: int) -> list[Event]:
    """What happened to an entry, oldest first."""
    rows = query(
        connection,
        "SELECT at, event, attempt, reason, detail FROM history WHERE entry_id = ? ORDER BY rowid",
        (entry_id,),
    )
    return [
        Event(at=from_microseconds(at), event=event, attempt=attempt, reason=reason, detail=detail)
        for at, event, attempt, reason, detail in rows
    ]


def _is_here(connection: apsw.Connection, spool_id: str) -> bool:
    return bool(query(connection, "SELECT 1 FROM mails WHERE spool_id = ?", (spool_id,)))


def remembered(connection: apsw.Connection, word: str, *, limit: int) -> list[Remembered]:
    """The newest that the ledger knows of a Message-ID, spool id or contact id, oldest first."""
    spool_id, number = split_id(word)
    if number is not None and (number < 0 or _is_here(connection, spool_id)):
        spool_id = (
            ""  # the ledger has no numbers of entries, and the entries that are here speak for themselves
        )
    rows = query(
        connection,
        "SELECT spool_id, instance_id, address, message_id, contact_id, accepted_at, dropped_at FROM ledger "
        "WHERE spool_id = ?1 OR message_id IN (?2, ?3) OR contact_id = ?2 ORDER BY accepted_at DESC, rowid DESC LIMIT ?4",
        (spool_id, word, _bracketed(word), limit),
    )
    return [
        Remembered(
            spool_id=SpoolId(row[0]),
            instance_id=row[1],
            address=row[2],
            message_id=row[3],
            contact_id=row[4],
            accepted_at=from_microseconds(row[5]),
            dropped_at=from_microseconds(row[6]) if row[6] is not None else None,
        )
        for row in reversed(rows)
    ]


def aside(connection: apsw.Connection) -> dict[State, tuple[int, datetime | None]]:
    """Of what is held and what is dead: how many, and when the last of them came to be so."""
    rows = query(
        connection,
        "SELECT state, count(*), max(updated_at) FROM entries WHERE state IN ('held', 'dead') GROUP BY state",
    )
    found = {State(state): (count, from_microseconds(at)) for state, count, at in rows}
    return {state: found.get(state, (0, None)) for state in (State.HELD, State.DEAD)}


def backlog(connection: apsw.Connection, *, limits: Sequence[timedelta], now: datetime) -> list[Backlog]:
    """The undelivered entries of each route, counted by state and by age."""
    bounds = [to_microseconds(now - limit) for limit in sorted(limits, reverse=True)]  # oldest bound first
    counts: dict[str, dict[str, int]] = {}
    ages: dict[str, list[int]] = {}
    oldest: dict[str, int] = {}
    rows = query(
        connection,
        "SELECT route, state, accepted_at FROM entries WHERE state IN ('queued', 'leased', 'held', 'dead')",
    )
    for route, state, accepted_at in rows:
        of_route = counts.setdefault(route, dict.fromkeys(("queued", "leased", "held", "dead"), 0))
        of_route[state] += 1
        buckets = ages.setdefault(route, [0] * (len(bounds) + 1))
        if state == State.DEAD:
            continue
        # The youngest bucket first: an entry younger than the smallest limit is past every bound.
        buckets[len(bounds) - bisect_right(bounds, accepted_at)] += 1
        oldest[route] = min(oldest.get(route, accepted_at), accepted_at)
    return [
        Backlog(
            route=route,
            queued=of_route["queued"],
            leased=of_route["leased"],
            held=of_route["held"],
            dead=of_route["dead"],
            ages=tuple(ages[route]),
            oldest_at=from_microseconds(oldest[route]) if route in oldest else None,
        )
        for route, of_route in sorted(counts.items())
    ]
