"""The operator's pauses and switches, and the holds of routes.

Owns the tables `control` and `switches`. Runs within the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime

import apsw

from relay.errors import SpoolError
from relay.spool.local.database import query
from relay.spool.model import Hold, Paused
from relay.spool.records import from_microseconds, to_microseconds

#: Entries that a switch makes due, the oldest: others wait for their instant, an hour at most.
_MOST_DUE = 20_000


def read_paused(connection: apsw.Connection) -> Paused:
    """All pauses and holds."""
    rows = query(
        connection, "SELECT subject, name, reason, detail, since FROM control ORDER BY subject, name"
    )
    return Paused(
        intake=any(row[0] == "intake" for row in rows),
        delivery=any(row[0] == "delivery" for row in rows),
        routes=tuple(row[1] for row in rows if row[0] == "route"),
        standby=tuple(route for (route,) in query(connection, "SELECT route FROM switches ORDER BY route")),
        holds=tuple(
            Hold(route=row[1], reason=row[2], detail=row[3], since=from_microseconds(row[4]))
            for row in rows
            if row[0] == "hold"
        ),
    )


def read_holds(connection: apsw.Connection) -> dict[str, Hold]:
    """The routes that an error of configuration holds."""
    return {hold.route: hold for hold in read_paused(connection).holds}


def parse_subject(subject: str) -> tuple[str, str]:
    """The row that "intake", "delivery" or "route NAME" means.

    Raises:
        SpoolError: it is none of these.
    """
    word, _, name = subject.strip().partition(" ")
    if (word in {"intake", "delivery"} and not name) or (word == "route" and name):
        return word, name.strip()
    raise SpoolError(f'"{subject}" cannot be paused; say "intake", "delivery" or "route NAME"')


def pause(connection: apsw.Connection, subject: str, *, now: datetime) -> bool:
    """Add an operator's pause. Returns whether it is new."""
    connection.execute(
        "INSERT INTO control (subject, name, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (*parse_subject(subject), to_microseconds(now)),
    )
    return bool(connection.changes())


def resume(connection: apsw.Connection, subject: str) -> bool:
    """Remove an operator's pause and, for a route, its hold. Returns whether there was one."""
    word, name = parse_subject(subject)
    connection.execute("DELETE FROM control WHERE subject = ? AND name = ?", (word, name))
    found = bool(connection.changes())
    if word == "route":
        found = resume_route(connection, name) or found
    return found


def switch(connection: apsw.Connection, route: str, *, standby: bool, leaving: str, now: datetime) -> bool:
    """Lead a route to its standby, or back from it. Returns whether it led elsewhere before.

    The hold of the route ends, and its mail is due, since both may be the fault of the instance that it
    leaves. Requests of which nobody knows to which instance they went are taken to be with that one.
    """
    if standby:
        connection.execute(
            "INSERT INTO switches (route, since) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (route, to_microseconds(now)),
        )
    else:
        connection.execute("DELETE FROM switches WHERE route = ?", (route,))
    if not connection.changes():
        return False
    resume_route(connection, route)
    connection.execute(
        "UPDATE entries SET asked = ?2 WHERE route = ?1 AND in_doubt_since IS NOT NULL AND asked IS NULL "
        "AND state IN ('queued', 'leased', 'held', 'dead')",
        (route, leaving),
    )
    connection.execute(
        "UPDATE entries SET due_at = ?2 WHERE entry_id IN (SELECT entry_id FROM entries WHERE state = 'queued' "
        "AND route = ?1 AND due_at > ?2 AND in_doubt_since IS NULL ORDER BY entry_id LIMIT ?3)",
        (route, to_microseconds(now), _MOST_DUE),
    )
    return True


def hold_route(connection: apsw.Connection, route: str, *, reason: str, detail: str, now: datetime) -> bool:
    """Add a route's hold; an existing one keeps its beginning and gets the new reason. Returns whether it is
    new.
    """
    known = query(connection, "SELECT 1 FROM control WHERE subject = 'hold' AND name = ?", (route,))
    connection.execute(
        "INSERT INTO control VALUES ('hold', ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET reason = excluded.reason, detail = excluded.detail",
        (route, reason, detail, to_microseconds(now)),
    )
    return not known


def resume_route(connection: apsw.Connection, route: str) -> bool:
    """Remove a route's hold. Returns whether there was one."""
    connection.execute("DELETE FROM control WHERE subject = 'hold' AND name = ?", (route,))
    return bool(connection.changes())


def resume_unused(connection: apsw.Connection, route: str) -> bool:
    """Remove the hold of a route that no queued or leased entry names. Returns whether there was one."""
    connection.execute(
        "DELETE FROM control WHERE subject = 'hold' AND name = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM entries WHERE state = 'queued' AND route = ?1) AND NOT EXISTS "
        "(SELECT 1 FROM entries INDEXED BY entries_leased WHERE state = 'leased' AND route = ?1)",
        (route,),
    )
    return bool(connection.changes())
