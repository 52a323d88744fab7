"""The figures of the page: entries by reason, and contacts of the last minute.

Owns their SQL; never changes a row. Each is read from an index alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import apsw

from relay.spool.ids import build_time
from relay.spool.local.control import read_holds
from relay.spool.local.database import query
from relay.spool.model import State
from relay.spool.records import to_microseconds

#: Mails of a day that are counted.
_MOST_MAILS = 1_000_000
#: Contacts that are counted at most: no pace of Connect's comes near it within a minute.
_MOST = 100_000


def count_reasons(connection: apsw.Connection) -> dict[State, Mapping[str, int]]:
    """The unfinished entries by shown state and reason; those that have no reason are not counted."""
    holds = read_holds(connection)
    found: dict[State, Counter[str]] = {state: Counter() for state in State if state is not State.DONE}
    explained: Counter[str] = Counter()
    for stored, route, reason, number in query(
        connection,
        "SELECT state, route, reason, count(*) FROM entries "
        "WHERE reason <> '' AND state IN ('queued', 'leased', 'held', 'dead') GROUP BY state, route, reason",
    ):
        waits = stored == State.QUEUED and route in holds
        found[State.HELD if waits else State(stored)][reason] += number
        explained[route] += number if waits else 0
    for route, hold in holds.items():
        ((number,),) = query(
            connection, "SELECT count(*) FROM entries WHERE state = 'queued' AND route = ?", (route,)
        )
        if number > explained[route]:
            found[State.HELD][hold.reason] += number - explained[route]
    return {state: dict(numbers) for state, numbers in found.items()}


def count_accepted(connection: apsw.Connection, *, since: datetime) -> int:
    """The mails accepted since then that are still there, by their ids, which begin with the time."""
    ((number,),) = query(
        connection,
        "SELECT count(*) FROM (SELECT 1 FROM mails WHERE spool_id >= ? LIMIT ?)",
        (build_time(to_microseconds(since)), _MOST_MAILS),
    )
    return int(number)


def count_contacts(connection: apsw.Connection, *, since: datetime) -> int:
    """The entries that became contacts since then."""
    ((number,),) = query(
        connection,
        "SELECT count(*) FROM (SELECT 1 FROM entries "
        "WHERE state = 'done' AND updated_at > ? AND contact_id IS NOT NULL LIMIT ?)",
        (to_microseconds(since), _MOST),
    )
    return int(number)
