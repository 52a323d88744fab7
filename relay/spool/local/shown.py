"""The state and reason of an entry as an operator sees them, as SQL over a row.

Owns one rule: an entry that is queued on a route held by an error of configuration is shown as held, with the
reason of the hold if the entry has none of its own. `Entry.shown_state` and `Entry.shown_reason` say the same
of a value. Each condition speaks of `entries AS e`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apsw

from relay.spool.local.database import query
from relay.spool.model import State

_HELD_ROUTE = "e.route IN (SELECT name FROM control WHERE subject = 'hold')"
#: The entry is queued, and shown as held.
WAITS_FOR_ROUTE = f"e.state = 'queued' AND {_HELD_ROUTE}"
SHOWN_STATE = f"iif({WAITS_FOR_ROUTE}, 'held', e.state)"
SHOWN_REASON = (
    "iif(e.reason = '' AND e.state = 'queued', "
    "coalesce((SELECT reason FROM control WHERE subject = 'hold' AND name = e.route), ''), e.reason)"
)


class Walk(NamedTuple):
    """The rows of one stored state that are all shown in one state. An index gives them, the oldest first."""

    shown: State
    condition: str


def find_walks(connection: apsw.Connection, states: Sequence[State]) -> Iterator[Walk]:
    """The walks over all rows that are shown in one of these states; over all rows if no state is given."""
    # Usually no route is held: then no row is asked for its route.
    holding = bool(query(connection, "SELECT 1 FROM control WHERE subject = 'hold' LIMIT 1"))
    for state in dict.fromkeys(states or State):
        if state is State.QUEUED and holding:
            yield Walk(state, f"e.state = 'queued' AND NOT {_HELD_ROUTE}")
        else:
            yield Walk(state, f"e.state = '{state}'")
        if state is State.HELD and holding:
            yield Walk(state, WAITS_FOR_ROUTE)
