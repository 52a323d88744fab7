"""The feed of the local spool: events that wait, those that were taken, and those that were given up.

Owns the table `feed`; `feed_tables` has the triggers that fill it. Runs within the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import apsw

from relay.spool.feed import FeedEvent, FeedKind, Refusal
from relay.spool.local.database import query
from relay.spool.records import from_microseconds, to_microseconds

#: Events that were given up, the newest of them: a person looks for the cause, and not for each.
_MOST_DEAD = 10_000
# A put off event waits from five seconds, doubling, to an hour.
_PUT_OFF = """
UPDATE feed SET tries = tries + 1, due_at = ?2 + min(3600, 5 * (1 << min(tries, 10))) * 1000000, dead = tries + 1 >= ?3
WHERE number IN (SELECT value FROM json_each(?1))
"""
_PENDING = """
SELECT number, at, kind, feed.spool_id, entry, route, instance_id, contact_id, reason, tries,
coalesce(message_id, (SELECT ledger.message_id FROM ledger WHERE ledger.spool_id = feed.spool_id LIMIT 1))
FROM feed LEFT JOIN mails ON mails.spool_id = feed.spool_id WHERE dead = 0 AND due_at <= ? ORDER BY due_at, number LIMIT ?
"""


def keep(connection: apsw.Connection, *, wanted: bool) -> None:
    """Have the triggers write events from now on; or none, and forget those that wait."""
    if wanted:
        connection.execute("INSERT INTO marks VALUES ('feed', 1) ON CONFLICT DO NOTHING")
    elif query(connection, "SELECT 1 FROM marks WHERE name = 'feed'"):
        connection.execute("DELETE FROM marks WHERE name = 'feed'")
        connection.execute("DELETE FROM feed")


def pending(connection: apsw.Connection, *, now: datetime, limit: int) -> Sequence[FeedEvent]:
    """The events that are due, the oldest first."""
    return [
        FeedEvent(
            number=row[0],
            at=from_microseconds(row[1]),
            kind=FeedKind(row[2]),
            spool_id=row[3],
            entry=row[4],
            route=row[5],
            instance_id=row[6],
            contact_id=row[7],
            reason=row[8],
            tries=row[9],
            message_id=row[10],
        )
        for row in query(connection, _PENDING, (to_microseconds(now), limit))
    ]


def settle(
    connection: apsw.Connection,
    *,
    sent: Sequence[int],
    failed: Sequence[int],
    max_tries: int,
    now: datetime,
) -> int:
    """Forget the events that were taken, and put the others off. Returns how many were given up."""
    connection.execute(
        "DELETE FROM feed WHERE number IN (SELECT value FROM json_each(?))", (json.dumps(sent),)
    )
    connection.execute(_PUT_OFF, (json.dumps(failed), to_microseconds(now), max_tries))
    ((dead,),) = query(
        connection,
        "SELECT count(*) FROM feed WHERE dead = 1 AND number IN (SELECT value FROM json_each(?))",
        (json.dumps(failed),),
    )
    if dead:
        connection.execute(
            "DELETE FROM feed WHERE number IN "
            "(SELECT number FROM feed WHERE dead = 1 ORDER BY number DESC LIMIT -1 OFFSET ?)",
            (_MOST_DEAD,),
        )
    return int(dead)


def measure(connection: apsw.Connection) -> tuple[int, int]:
    """The number of events that wait, and of those that were given up."""
    counts = dict(query(connection, "SELECT dead, count(*) FROM feed GROUP BY dead"))
    return int(counts.get(0, 0)), int(counts.get(1, 0))


def retry(connection: apsw.Connection) -> int:
    """Make the events due that were given up. Returns how many there are."""
    connection.execute("UPDATE feed SET dead = 0, tries = 0, due_at = 0 WHERE dead = 1")
    return connection.changes()


def add_refusals(connection: apsw.Connection, refusals: Iterable[Refusal]) -> None:
    """Write the events of mails that were refused, if the feed is kept."""
    connection.executemany(
        "INSERT INTO feed (at, kind, spool_id, entry, route, instance_id, reason) "
        "SELECT ?, 'refused', ?, 0, ?, ?, ? WHERE EXISTS (SELECT 1 FROM marks WHERE name = 'feed')",
        [(to_microseconds(each.at), *each[1:]) for each in refusals],
    )
