"""The entries that an operator's ids name, as they stand.

Owns what an id is: a spool id (all entries of the mail), or a reference as it is printed (one of them).
Never changes a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import apsw

from relay.spool.local.ids import build_reference, split_id
from relay.spool.local.rows import IN_DOUBT_SINCE, from_microseconds
from relay.spool.local.schema import query
from relay.spool.local.shown import SHOWN_STATE
from relay.spool.model import State


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

    def stands_in(self, states: Sequence[State]) -> bool:
        """`Entry.stands_in`."""
        return self.state in states or self.shown in states


def find_named(connection: apsw.Connection, ids: Sequence[str]) -> tuple[list[Named], list[str]]:
    """The entries that these ids name, each once, and those of the ids that name none."""
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
