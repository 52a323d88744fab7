"""The questions of `Desk` that are no filter: traces by a word, the history of an entry, and the age of
waiting mail.

Owns their SQL; never changes a row. No question touches the octets of mails.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from relay.envelope import SpoolId
from relay.spool.ids import mark_of, split_id
from relay.spool.local import addressed
from relay.spool.local.database import query, reading
from relay.spool.local.listing import SHOWN_COLUMNS, ask_recipient, ask_sender, read_entries
from relay.spool.local.rows import ENTRY_TABLES
from relay.spool.local.shown import SHOWN_STATE
from relay.spool.local.slices import EVER, View
from relay.spool.model import Backlog, Entry, Event, Remembered, State
from relay.spool.patterns import equals, is_whole, parse_pattern
from relay.spool.pseudonyms import is_name, name_address
from relay.spool.records import from_microseconds, to_microseconds

#: Finished mail is found by ids and by whole addresses, but not what ended before these had an index.
_BY_WALK = """
SELECT entry_id FROM entries AS e JOIN mails USING (mail_id)
WHERE {entries} AND e.entry_id > ?1 AND e.entry_id <= ?2 AND {fits} ORDER BY entry_id DESC
"""
_FITS = "(fits_sender(reverse_path) OR fits_recipient(address, forward_paths) OR message_id IN (?3, ?4))"
#: The null reverse-path.
_NULL = "<>"
_FITS_NULL = "reverse_path IS NULL"
_UNFINISHED = ("e.state = 'queued'", "e.state = 'leased'", "e.state = 'held'", "e.state = 'dead'")
_FINISHED = "e.state = 'done'"


def trace(view: View, word: str, *, limit: int) -> list[Entry]:
    """The newest entries that a Message-ID, spool id, contact id or address names, oldest first.

    A peer chooses its Message-IDs, and may take an address, or the id of another mail: what has an "@" is
    looked for as each of them, and what an index finds first hides nothing.
    """
    connection = view.connection
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
        rows += _look_for(view, word, limit=limit)
    newest = sorted({row[0] for row in rows})[-limit:]
    return read_entries(
        connection,
        query(
            connection,
            f"SELECT {SHOWN_COLUMNS} FROM {ENTRY_TABLES} "  # noqa: S608 - constants of ours
            "WHERE e.entry_id IN (SELECT value FROM json_each(?)) ORDER BY e.entry_id",
            (json.dumps(newest),),
        ),
    )


def _look_for(view: View, word: str, *, limit: int) -> list[Any]:
    """The entries of an address, of a part of one, or of a Message-ID that is no contact yet. A person asks
    for parts, and can wait for a walk over all mail.
    """
    if word == _NULL:
        return _walk_back(view, "true", _FITS_NULL, limit=limit)
    connection = view.connection
    fits = parse_pattern(word) if "@" in word else equals(word)
    ask_sender(connection, fits)
    ask_recipient(connection, fits)
    ids = (word, _bracketed(word))
    if "@" in word and not is_whole(word):
        return _walk_back(view, "true", _FITS, ids, limit=limit)
    named = addressed.find(connection, word, limit=limit) if "@" in word else []
    last = addressed.last_unindexed(connection)
    return [
        *query(
            connection,
            "SELECT entry_id FROM mails JOIN entries USING (mail_id) "
            "WHERE spool_id IN (SELECT value FROM json_each(?)) "
            "AND (fits_sender(reverse_path) OR fits_recipient(address, forward_paths))",
            (json.dumps(named),),
        ),
        *(row for state in _UNFINISHED for row in _walk_back(view, state, _FITS, ids, limit=limit)),
        *_walk_back(view, _FINISHED, _FITS, ids, limit=limit, last=last),
    ]


def _walk_back(
    view: View, entries: str, fits: str, values: Sequence[str] = (), *, limit: int, last: int = EVER
) -> list[Any]:
    """The newest entries that fit, of those that meet a condition, and up to the number `last`."""
    sql = _BY_WALK.format(entries=entries, fits=fits)
    found: list[Any] = []
    for span in view.spans_back(entries, last=last):
        found += query(view.connection, sql, (*span, *values))
        if len(found) >= limit:
            break
    return found


def find_finished(
    connection: apsw.Connection, message_ids: Sequence[str], *, contact_id: str, limit: int
) -> list[int]:
    """The numbers of the newest entries of the mails that the ledger knows by these Message-IDs, and of that
    which became the contact, newest first.
    """
    rows = query(
        connection,
        "SELECT entry_id FROM mails JOIN entries USING (mail_id) WHERE spool_id IN ("
        "SELECT spool_id FROM ledger WHERE message_id IN (SELECT value FROM json_each(?1))) "
        "UNION SELECT entry_id FROM entries WHERE contact_id = ?2 ORDER BY 1 DESC LIMIT ?3",
        (json.dumps(list(message_ids)), contact_id, limit),
    )
    return [row[0] for row in rows]


def _bracketed(word: str) -> str:
    return word if word.startswith("<") else f"<{word}>"


def history(connection: apsw.Connection, entry_id: int) -> list[Event]:
    """The events of an entry, oldest first."""
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


def remembered(connection: apsw.Connection, word: str, *, limit: int, key: bytes | None) -> list[Remembered]:
    """The newest records of the ledger for a Message-ID, spool id, contact id or whole address, or for the
    name of an erased one, oldest first. `key` is that of names, if there is one.
    """
    spool_id, number = split_id(word)
    if number is not None and (number < 0 or _is_here(connection, spool_id)):
        spool_id = ""  # the ledger has no numbers; entries of the spool are found there
    named = addressed.find(connection, word, limit=limit) if is_whole(word) or is_name(word) else []
    if key is not None and is_whole(word):
        named += addressed.find(connection, name_address(key, word), limit=limit)
    rows = query(
        connection,
        "SELECT spool_id, coalesce(asked, instance_id), address, message_id, contact_id, accepted_at, dropped_at, erased_at FROM ledger "
        "WHERE spool_id IN (SELECT value FROM json_each(?1)) OR message_id IN (?2, ?3) OR contact_id = ?2 "
        "ORDER BY accepted_at DESC, rowid DESC LIMIT ?4",
        (json.dumps([spool_id, *named]), word, _bracketed(word), limit),
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
            erased_at=from_microseconds(row[7]) if row[7] is not None else None,
        )
        for row in reversed(rows)
    ]


def read_ledger(path: Path) -> int:
    """The number of the ledger's records in a spool that is only read. Returns 0 if there is no spool yet.

    Raises:
        SpoolUnfitError: it is no spool of ours, or a newer relay's.
        SpoolFullError, SpoolSickError: it cannot be read now.
    """
    with reading(path) as connection:
        return count_ledger(connection) if connection is not None else 0


def count_ledger(connection: apsw.Connection) -> int:
    """The number of the ledger's records by the ends of its numbers: they are given in order, and the oldest
    go first, so that few are missing between.
    """
    (first,), (last,) = query(
        connection, "SELECT min(rowid) FROM ledger UNION ALL SELECT max(rowid) FROM ledger"
    )
    return last - first + 1 if last is not None else 0


def aside(connection: apsw.Connection) -> dict[State, tuple[int, datetime | None]]:
    """The number of held and of dead entries, and when the last of each came to be so."""
    counts = dict(query(connection, "SELECT name, value FROM totals WHERE name IN ('held', 'dead')"))
    found: dict[State, tuple[int, datetime | None]] = {}
    for state in (State.HELD, State.DEAD):
        # Says IN as the index does: else SQLite would not see that the index has all these entries.
        newest = query(
            connection,
            "SELECT updated_at FROM entries WHERE state = ? AND state IN ('held', 'dead') "
            "ORDER BY updated_at DESC LIMIT 1",
            (state,),
        )
        found[state] = (counts[state], from_microseconds(newest[0][0]) if newest else None)
    return found


def holds_after(
    connection: apsw.Connection, after: datetime | None, *, limit: int
) -> list[tuple[datetime, str]]:
    """The instants and the reasons of the held entries that came to be so after then, the earliest first."""
    # Says IN as the index does, as in `aside`.
    rows = query(
        connection,
        "SELECT updated_at, reason FROM entries WHERE state = 'held' AND state IN ('held', 'dead') "
        "AND updated_at > ? ORDER BY updated_at LIMIT ?",
        (to_microseconds(after) if after else 0, limit),
    )
    return [(from_microseconds(at), str(reason)) for at, reason in rows]


#: The condition of the index of held entries that no rule of the policy holds (`BY_POLICY`).
_HELD_OTHERWISE = "state = 'held' AND substr(reason, 1, 7) <> 'policy.' AND substr(reason, 1, 6) <> 'class.'"


def oldest_at(connection: apsw.Connection) -> datetime | None:
    """The acceptance of the oldest undelivered entry but those that the policy holds. Entries are numbered
    as they are accepted, so the oldest of each state is the first in its index.
    """
    firsts = [
        row[0]
        for condition in ("state = 'queued'", "state = 'leased'", _HELD_OTHERWISE)
        for row in query(
            connection,
            f"SELECT accepted_at FROM entries WHERE {condition} ORDER BY entry_id LIMIT 1",  # noqa: S608 - constants of ours
        )
    ]
    return from_microseconds(min(firsts)) if firsts else None


def held_by_policy(connection: apsw.Connection) -> int:
    """The number of entries that rules of the policy hold: all held ones, less those of the narrow index."""
    held: int
    others: int
    ((held,),) = query(connection, "SELECT value FROM totals WHERE name = 'held'")
    ((others,),) = query(connection, f"SELECT count(*) FROM entries WHERE {_HELD_OTHERWISE}")  # noqa: S608 - constants of ours
    return held - min(held, others)  # two looks: mail may have come between them


def originals(
    connection: apsw.Connection, *, reasons: Sequence[str], since: datetime
) -> tuple[int, datetime | None]:
    """The number of entries that began the last rung since then for one of these reasons, and when the last
    did.
    """
    # CROSS JOIN makes SQLite keep the order: few entries first, then a long history.
    ((count, newest),) = query(
        connection,
        "SELECT count(DISTINCT entry_id), max(at) FROM entries "
        "CROSS JOIN history USING (entry_id) WHERE rung = 'original' AND event = 'original' AND at >= ? "
        "AND history.reason IN (SELECT value FROM json_each(?))",
        (to_microseconds(since), json.dumps(list(reasons))),
    )
    return count, from_microseconds(newest) if count else None


def _read_waiting(view: View) -> Iterator[tuple[str, str, int]]:
    """Route, shown state and acceptance of each undelivered entry."""
    for condition in _UNFINISHED:
        for span in view.spans(condition):
            yield from query(
                view.connection,
                f"SELECT e.route, {SHOWN_STATE}, e.accepted_at FROM entries AS e "  # noqa: S608 - constants of ours
                f"WHERE {condition} AND e.entry_id > ? AND e.entry_id <= ?",
                span,
            )


def find_routes(view: View) -> list[str]:
    """The names of the routes of all entries."""
    found: set[str] = set()
    for span in view.spans("true"):
        rows = query(
            view.connection, "SELECT DISTINCT route FROM entries WHERE entry_id > ? AND entry_id <= ?", span
        )
        found.update(row[0] for row in rows)
    return sorted(found)


def backlog(view: View, *, limits: Sequence[timedelta], now: datetime) -> list[Backlog]:
    """The undelivered entries of each route, counted by shown state and by age."""
    bounds = [to_microseconds(now - limit) for limit in sorted(limits, reverse=True)]  # oldest bound first
    counts: dict[str, dict[str, int]] = {}
    ages: dict[str, list[int]] = {}
    oldest: dict[str, int] = {}
    for route, state, accepted_at in _read_waiting(view):
        of_route = counts.setdefault(route, dict.fromkeys(("queued", "leased", "held", "dead"), 0))
        of_route[state] += 1
        buckets = ages.setdefault(route, [0] * (len(bounds) + 1))
        if state == State.DEAD:
            continue
        # The youngest bucket comes first: an entry younger than the smallest limit is later than every bound.
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
