"""The claim: which due entries are leased next, each in its turn (`turns`), with the attempt counted.

Owns the way from S3 to S4 and, when a lease ends, back. Runs within the caller's transaction. An entry is
*ready* from its acceptance, or from the claim that found it due, until its lease. Only ready entries have
turns, so that no turn is spent on an entry that waits for a later instant.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import apsw

from relay import telemetry
from relay.errors import SpoolCorruptError
from relay.spool.groups import PRIORITIES
from relay.spool.ids import build_reference, find_numbers
from relay.spool.local.control import read_paused
from relay.spool.local.database import query
from relay.spool.local.outcomes import record, remember
from relay.spool.local.rows import ENTRY_COLUMNS, ENTRY_TABLES, parse_entry
from relay.spool.local.suspects import HUNG, Suspects
from relay.spool.local.turns import Turns
from relay.spool.model import Entry
from relay.spool.records import from_microseconds, to_microseconds

#: Steps from route to route through the index instead of a walk over all entries: as many seeks as there are
#: routes.
_ROUTES = """
WITH RECURSIVE walk (route) AS (
    SELECT min(route) FROM entries INDEXED BY entries_due WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT min(route) FROM entries INDEXED BY entries_due WHERE state = 'queued' AND route > walk.route)
    FROM walk WHERE walk.route IS NOT NULL
)
SELECT route FROM walk WHERE route IS NOT NULL
"""
#: Marks entries that fell due since the last claim as ready, the first due first. After an outage a route's
#: whole queue may fall due at once, so one claim marks only some of it.
_RIPEN = """
UPDATE entries SET ready = 1 WHERE entry_id IN (
    SELECT entry_id FROM entries INDEXED BY entries_unready
    WHERE state = 'queued' AND ready = 0 AND route = ? AND due_at <= ? ORDER BY due_at LIMIT ?
)
"""
_RIPENED = 200
#: Entries of an earlier version with a stored request: its token wins. Nobody knows when it went out, so the
#: instant of acceptance is assumed.
_INHERIT = """
UPDATE entries SET token = json_extract(CAST(request AS TEXT), '$.ClientToken'), sent_at = accepted_at,
in_doubt_since = coalesce(in_doubt_since, accepted_at) FROM requests
WHERE requests.entry_id = entries.entry_id AND token IS NULL AND json_valid(CAST(request AS TEXT))
AND entries.entry_id IN (SELECT value FROM json_each(?))
"""
#: The next entry of a route for an address not among those given. Entries that are due before it are for one
#: of these.
_NEXT_ADDRESS = """
SELECT due_at, entry_id, address FROM entries INDEXED BY entries_due
WHERE state = 'queued' AND route = ? AND priority = ? AND due_at >= ?
AND address NOT IN (SELECT value FROM json_each(?)) ORDER BY due_at LIMIT 1
"""
#: Destinations of a held route that are probed at once: some wrong addresses must not hide a right one.
_PROBES = 10
_FOREVER = 1 << 62


def return_leases(connection: apsw.Connection, *, now: datetime, everyone: bool) -> int:
    """Move entries from S4 to S3 whose lease has ended, or all of them. Returns their number."""
    at = to_microseconds(now)
    ended = query(
        connection,
        "UPDATE entries INDEXED BY entries_leased SET state = 'queued', due_at = ?, lease_until = NULL, "
        "updated_at = ? WHERE state = 'leased' AND lease_until <= ? RETURNING entry_id",
        (at, at, _FOREVER if everyone else at),
    )
    for (entry_id,) in ended:
        remember(connection, entry_id, at=at, event="interrupted")
    return len(ended)


def bring_back(connection: apsw.Connection, *, now: datetime, longest_seconds: float) -> None:
    """Correct due times that are later than any wait of ours can be: the machine stopped before the
    spool's clock was kept, and its clock was set back meanwhile.
    """
    at = to_microseconds(now)
    latest = to_microseconds(now + timedelta(seconds=longest_seconds))
    # An entry that was never tried is due as soon as it is accepted.
    connection.execute(
        "UPDATE entries SET due_at = CASE attempts WHEN 0 THEN ?1 ELSE min(due_at, ?2) END "
        "WHERE state = 'queued' AND due_at > ?1",
        (at, latest),
    )


def blame_leases(
    connection: apsw.Connection, *, now: datetime, limit: int, delay_seconds: float, hung: bool
) -> int:
    """Move all entries that a runner had leased when it died from S4 to S3, or to S5 after `limit` such ends
    in a row. Returns their number.

    Nobody knows which of them ended it. They come back one after the other, so that innocent entries are
    delivered, and their counts cleared, before the guilty one is leased beside others again; each end in a
    row doubles the delay. `hung`: the runner hung and was ended, which no mail need have caused: an entry
    that was leased beside others is not counted. Each of them is then delivered alone (`Suspects`).
    """
    at = to_microseconds(now)
    leased = query(
        connection, "SELECT entry_id, cut_short FROM entries WHERE state = 'leased' ORDER BY entry_id"
    )
    counted = len(leased) == 1 or not hung
    for place, (entry_id, earlier) in enumerate(leased):
        count = earlier + counted
        held = counted and count >= limit
        reason = HUNG if hung and not held else "cut_short"
        delay = timedelta(seconds=delay_seconds * (2**earlier + place))
        detail = f"the runner ended by itself during delivery, {count} times in a row" if held else ""
        connection.execute(
            "UPDATE entries SET state = ?, due_at = ?, lease_until = NULL, cut_short = ?, reason = ?, "
            "detail = ?, updated_at = ? WHERE entry_id = ?",
            ("held" if held else "queued", to_microseconds(now + delay), count, reason, detail, at, entry_id),
        )
        event = "held" if held else "cut_short" if counted else "interrupted"
        remember(connection, entry_id, at=at, event=event, reason=reason, detail=detail)
    return len(leased)


def claim(
    connection: apsw.Connection,
    turns: Turns,
    *,
    now: datetime,
    limit: int,
    lease_seconds: float,
    held_routes: Sequence[str],
    probes: Sequence[str],
    suspects: Suspects,
) -> list[Entry]:
    """Lease up to `limit` entries. An entry that may have hung the deliverer is leased alone."""
    return_leases(connection, now=now, everyone=False)
    paused = read_paused(connection)
    if paused.delivery or limit <= 0:
        return []
    held = {*held_routes, *(hold.route for hold in paused.holds)} - {*paused.routes}
    at = to_microseconds(now)
    until = to_microseconds(now + timedelta(seconds=lease_seconds))
    suspect = suspects.next_entry(connection, at=at, stopped={*held, *paused.routes})
    if suspect is not None:
        _lease_one(connection, suspect, at=at, until=until)
        return _read(connection, [suspect], now=now)
    if suspects.keep_waiting:
        return []
    turns.load(connection)
    probed = _queued(connection, probes, held)
    free = [row[0] for row in query(connection, _ROUTES) if row[0] not in {*held, *paused.routes}]
    chosen = _lease(connection, turns, free, probed, at=at, until=until, limit=limit)
    return _read(connection, chosen, now=now)


def find_probes(connection: apsw.Connection, route: str) -> list[str]:
    """The entry due first, now or later, of each of the first addresses of a route. Addresses with an entry
    under way are left out.
    """
    paused = read_paused(connection)
    if paused.delivery or route in paused.routes:
        return []
    leased = query(
        connection,
        "SELECT address FROM entries INDEXED BY entries_leased WHERE state = 'leased' AND route = ?",
        (route,),
    )
    taken = {row[0] for row in leased}
    # Replies have no priority here, unlike in a claim: else only wrong addresses that have replies might be
    # tried.
    first: dict[str, tuple[int, int]] = {}
    for priority in PRIORITIES:
        for due_at, entry_id, address in _by_address(connection, route, priority, taken):
            first[address] = min(first.get(address, (due_at, entry_id)), (due_at, entry_id))
    ids = [entry_id for _, entry_id in sorted(first.values())[:_PROBES]]
    rows = query(
        connection,
        "SELECT spool_id, entry_id FROM json_each(?) AS j JOIN entries ON entry_id = j.value "
        "JOIN mails USING (mail_id) ORDER BY j.key",
        (json.dumps(ids),),
    )
    return [build_reference(*row) for row in rows]


def _by_address(
    connection: apsw.Connection, route: str, priority: int, taken: set[str]
) -> Iterator[tuple[int, int, str]]:
    """The first entries of a route for different addresses: one walk over the index that ends when there are
    enough.
    """
    seen, due_at = set(taken), -_FOREVER
    for _ in range(_PROBES):
        rows = query(connection, _NEXT_ADDRESS, (route, priority, due_at, json.dumps(sorted(seen))))
        if not rows:
            return
        due_at, entry_id, address = rows[0]
        yield due_at, entry_id, address
        seen.add(address)


def _queued(connection: apsw.Connection, probes: Sequence[str], held: Container[str]) -> dict[str, list[int]]:
    """The probes that are still queued, by route. Probes of a route that is no longer held are left to the
    normal claim.
    """
    found: dict[str, list[int]] = {}
    if probes:
        # CROSS JOIN: by the few ids. SQLite itself would walk over all entries that are queued.
        for route, entry_id in query(
            connection,
            "SELECT route, entry_id FROM json_each(?) AS j CROSS JOIN entries ON entry_id = j.value "
            "WHERE state = 'queued' ORDER BY j.key",
            (json.dumps(find_numbers(probes)),),
        ):
            if route in held:
                found.setdefault(route, []).append(entry_id)
    return found


def _lease(
    connection: apsw.Connection,
    turns: Turns,
    routes: Sequence[str],
    probed: Mapping[str, list[int]],
    *,
    at: int,
    until: int,
    limit: int,
) -> list[int]:
    """Lease ready entries of `routes` and probes of other routes, one of each route in turn, until there are
    enough.
    """
    probes = {route: iter(ids) for route, ids in probed.items()}
    waiting = turns.order([*routes, *probes])
    ripe: set[str] = set()
    chosen: list[int] = []
    while waiting and len(chosen) < limit:
        for route in tuple(waiting)[: limit - len(chosen)]:
            if route in probes:
                entry_id = next(probes[route], None)
            else:
                if route not in ripe:
                    connection.execute(_RIPEN, (route, at, max(_RIPENED, limit)))
                    ripe.add(route)
                entry_id = turns.next_entry(connection, route, at=at)
            if entry_id is None:
                waiting.remove(route)
                continue
            _lease_one(connection, entry_id, at=at, until=until)
            turns.serve(route)
            chosen.append(entry_id)
    return chosen


def _lease_one(connection: apsw.Connection, entry_id: int, *, at: int, until: int) -> None:
    connection.execute(
        "UPDATE entries SET state = 'leased', ready = 0, lease_until = ?, attempts = attempts + 1, "
        "updated_at = ? WHERE entry_id = ?",
        (until, at, entry_id),
    )


def _read(connection: apsw.Connection, chosen: Sequence[int], *, now: datetime) -> list[Entry]:
    """The leased entries, in their order, without those whose row cannot be read."""
    if not chosen:
        return []
    ids = json.dumps(chosen)
    connection.execute(_INHERIT, (ids,))
    rows = query(
        connection,
        f"SELECT {ENTRY_COLUMNS} FROM json_each(?) AS j JOIN {ENTRY_TABLES} "  # noqa: S608 - constants of ours
        "WHERE e.entry_id = j.value ORDER BY j.key",
        (ids,),
    )
    entries: list[Entry] = []
    for row in rows:
        try:
            entries.append(parse_entry(row))
        except SpoolCorruptError as exc:
            # A row that cannot be read would come up at every claim: it is set aside at once, with an alarm.
            record(
                connection,
                row[0],
                state="dead",
                event="dead",
                reason="spool_corrupt",
                detail=str(exc),
                now=now,
            )
            telemetry.spool_record_corrupt(
                spool_id=str(row[1]), entry_id=build_reference(row[1], row[0]), detail=str(exc)
            )
    return entries


def next_due_at(connection: apsw.Connection, *, held_routes: Sequence[str]) -> datetime | None:
    """The instant at which `claim` will next find an entry. Returns None if no entry waits."""
    paused = read_paused(connection)
    if paused.delivery:
        return None
    stopped = {*held_routes, *paused.routes, *(hold.route for hold in paused.holds)}
    instants = [
        row[0]
        for (route,) in query(connection, _ROUTES)
        if route not in stopped
        for priority in PRIORITIES
        for row in query(
            connection,
            "SELECT due_at FROM entries INDEXED BY entries_due WHERE state = 'queued' AND route = ? AND priority = ? "
            "ORDER BY due_at LIMIT 1",
            (route, priority),
        )
    ]
    instants += [
        row[0]
        for row in query(
            connection,
            "SELECT lease_until FROM entries INDEXED BY entries_leased WHERE state = 'leased' ORDER BY lease_until LIMIT 1",
        )
    ]
    return from_microseconds(min(instants)) if instants else None
