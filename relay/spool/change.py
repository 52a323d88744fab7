"""The values of an operator's change: another route for entries, what was changed, and what was left and why.

Never does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.spool.doubt import tell_doubt
from relay.spool.model import State

_WHY = {
    None: "no such id",
    State.QUEUED: "is queued",
    State.LEASED: "is being delivered",
    State.HELD: "is held",
    State.DEAD: "is dead",
    State.DONE: "is done",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An entry that an operator's change left as it was, and why."""

    #: As the operator wrote it if it names no entry, else `Entry.reference`.
    id: str
    #: The shown state that does not allow the change; None if no entry has this id.
    state: State | None
    #: Since when its request is in doubt, if only that stood in the way: nobody has agreed to a second
    #: contact.
    in_doubt_since: datetime | None = None
    #: The entry, itself perhaps, by which its mail goes there already, if that stood in the way.
    twin: str = ""


def tell_left(left: Left, *, agree: str) -> str:
    """The reason why an entry was left, in words; `agree` says how a person agrees to a second contact."""
    if left.twin:
        return "goes there already" if left.twin == left.id else f"its mail goes there already ({left.twin})"
    if left.in_doubt_since is not None:
        return f"{tell_doubt(left.in_doubt_since)} {agree}"
    return tell_state(left.state)


def tell_state(state: State | None) -> str:
    """The state that stands in the way of a change; None: no entry has this id."""
    return _WHY[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A route as the way of an entry that was accepted for another."""

    route: str
    instance_id: str
    #: The route's own destination; "" if it has none, and the forward-path is taken.
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The result of an operator's change. Each entry is decided on in the transaction that changes it."""

    #: Entries that were changed.
    count: int
    left: tuple[Left, ...] = ()
    #: The names of the routes of those entries.
    routes: tuple[str, ...] = ()
