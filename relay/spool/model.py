"""What a spool keeps and answers, as values: submissions, entries, and what is told of them.

Owns the states of an accepted mail. Never does I/O. Instants are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from relay.envelope import Destination, Envelope, SpoolId
from relay.vocabulary import Rung

#: How long a fault of ours stays an alarm after the last mail that it struck.
FAULT_HOURS = 24


class State(StrEnum):
    """Where an entry stands."""

    QUEUED = "queued"
    LEASED = "leased"
    HELD = "held"
    DEAD = "dead"
    DONE = "done"


#: The states from which each change of an operator takes an entry: never one that is under way.
RETRIABLE = (State.QUEUED, State.HELD, State.DEAD)
HOLDABLE = (State.QUEUED,)
RELEASABLE = (State.HELD,)
DROPPABLE = (State.QUEUED, State.HELD, State.DEAD, State.DONE)


class RawFile(Protocol):
    """A mail on its way into the spool, too large to be kept in memory. Calls block: use a thread."""

    def write(self, octets: bytes) -> None:
        """Append octets.

        Raises:
            SpoolFullError, SpoolSickError: nothing more can be written; call `discard`.
        """

    def discard(self) -> None:
        """Remove what was written; harmless after `put` and when called twice."""

    def view(self) -> AbstractContextManager[memoryview]:
        """What was written so far, to be read before `put`.

        Raises:
            SpoolSickError: it cannot be read back.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyHold:
    """A route that would have refused the mail, of which others were to get it: its entries wait for a
    person.
    """

    route: str
    #: `policy.<rule>`.
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A mail whole and checked, about to be accepted."""

    spool_id: SpoolId
    envelope: Envelope
    #: Never empty; distinct by (instance_id, address, route, tag).
    destinations: tuple[Destination, ...]
    #: Our own trace header, then the octets as received (CRLF intact, dot-stuffing undone).
    raw: bytes | RawFile = field(repr=False)
    #: Octets of `raw`, trace header included.
    size: int
    #: Octets of our own trace header at the front of `raw`.
    trace_size: int
    #: SHA-256 of `raw` without the trace header, lower-case hexadecimal.
    fingerprint: str
    #: The Message-ID header as sent, with its brackets; None when the mail has none.
    message_id: str | None
    #: Message-IDs of In-Reply-To and References, with their brackets: who answers a contact of his own is
    #: claimed first.
    references: tuple[str, ...] = ()
    #: The first address of the From header; None where none was read.
    author: str | None = None
    #: Authentication results by attribute name; see `contact.plan.Context.results`.
    results: Mapping[str, str] = field(default_factory=dict)
    #: Routes whose entries are held from the beginning; each stands here once.
    holds: tuple[PolicyHold, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What `put` answers."""

    #: The id to tell the peer: the earlier one when this mail was here before.
    spool_id: SpoolId
    #: True when every destination already had this very mail: nothing was stored.
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A route that waits: for an operator (`pause`), or for its configuration to be right again."""

    route: str
    reason: str
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mail on its way to one destination."""

    #: The number behind the dot of `reference`; alone it means something to the backend that gave it, and to
    #: nobody else.
    entry_id: int
    spool_id: SpoolId
    destination: Destination
    envelope: Envelope
    results: Mapping[str, str]
    fingerprint: str
    message_id: str | None
    size: int
    trace_size: int
    state: State
    #: Starts of delivery so far, the running one included.
    attempts: int
    #: How often in a row the runner ended by itself while it had this entry: see `Outbox.recover`.
    cut_short: int
    next_attempt_at: datetime
    lease_until: datetime | None
    rung: Rung
    #: Whether a person has let it go after the policy of its route had held it.
    released: bool
    #: The one live ClientToken; None for mail of an earlier version of which no request is stored by this
    #: one.
    token: str | None
    #: Whether a request under that token went out before this attempt, or may have.
    sent: bool
    #: The first request under that token of which nobody knows whether it became a contact; None: there is
    #: none.
    in_doubt_since: datetime | None
    #: The exact request last sent or about to be, JSON in UTF-8; None when none was built for this rung.
    request: bytes | None = field(repr=False)
    #: When the presigned URLs in `request` die.
    request_expires_at: datetime | None
    contact_id: str | None
    #: The reason word and the sentence of the last deferral, hold or burial; "" when there was none.
    reason: str
    detail: str
    accepted_at: datetime
    updated_at: datetime
    #: The hold of its route, while that is what it waits for; only `Desk` looks.
    route_hold: Hold | None = None

    @property
    def reference(self) -> str:
        """The id of this entry and no other, as commands print and take it: `<spool id>.<number>`."""
        return f"{self.spool_id}.{self.entry_id}"

    @property
    def shown_state(self) -> State:
        """The state as an operator sees it: held, too, what is queued on a route that is held (docs/spool.md,
        held routes).
        """
        return State.HELD if self.route_hold else self.state

    def stands_in(self, states: Sequence[State]) -> bool:
        """Returns whether one of these states is that in which it is stored, or that in which it is shown.

        Both count for a change: a hold may become an entry's own before its route goes on.
        """
        return self.state in states or self.shown_state in states

    @property
    def shown_reason(self) -> tuple[str, str]:
        """The reason and its sentence; those of the hold where the entry has none of its own."""
        if self.route_hold and not self.reason:
            return self.route_hold.reason, self.route_hold.detail
        return self.reason, self.detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """What stands still on purpose."""

    #: No mail is accepted.
    intake: bool = False
    #: No entry is claimed.
    delivery: bool = False
    #: No entry of these routes is claimed: an operator said so.
    routes: tuple[str, ...] = ()
    #: Nor of these, save for probes: `Outbox.hold_route` said so.
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries an operator means; empty fields mean any."""

    ids: tuple[str, ...] = ()
    #: As an operator sees them: `Entry.shown_state`.
    states: tuple[State, ...] = ()
    route: str | None = None
    #: The beginning of a reason word.
    reason: str | None = None
    #: An address, "@domain", "local-part@", or else a part of an address, in angle brackets or not; without
    #: case. "" and "<>" are the null reverse-path.
    sender: str | None = None
    #: The same of the destination and of the forward-paths that led to it.
    recipient: str | None = None
    older_than: datetime | None = None
    limit: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an operator's change left as it was."""

    #: As the operator wrote it when it names nothing, else `<spool id>.<entry id>`.
    id: str
    #: What stood in the way, as an operator sees it; None: no entry has this id.
    state: State | None
    #: Since when its request is in doubt, where that alone stood in the way: nobody has agreed to a second
    #: contact.
    in_doubt_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What came of an operator's change; an entry is decided on in the transaction that changes it."""

    #: Entries that were changed.
    count: int
    left: tuple[Left, ...] = ()
    #: The routes of those changed, by name.
    routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an entry: what `trace` tells."""

    at: datetime
    #: "deferred", "held", "dead", "done", "released", "retried", "interrupted", "cut_short", "original".
    event: str
    attempt: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the ledger still knows of a mail for one destination, long after the mail itself has gone."""

    spool_id: SpoolId
    instance_id: str
    address: str
    message_id: str | None
    contact_id: str | None
    accepted_at: datetime
    #: When an operator dropped it unfinished, or the policy of its route; None when it was finished
    #: otherwise.
    dropped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The undelivered entries of one route: how many, by the states that an operator sees, and how old."""

    route: str
    queued: int
    leased: int
    held: int
    dead: int
    #: Entries queued, leased or held, by age: as many as are younger than each limit of the caller, then the
    #: rest.
    ages: tuple[int, ...]
    #: When the oldest of those was accepted; None when there is none.
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One look at the queue."""

    #: Entries by state.
    queued: int = 0
    leased: int = 0
    held: int = 0
    dead: int = 0
    #: None where the spool cannot count them.
    done: int | None = 0
    #: When the last mail was held, and the last given up, in seconds since 1970: one that went and one that
    #: came leave the counts as they were. 0 when there is none.
    newest_held: float = 0.0
    newest_dead: float = 0.0
    #: Mails that went out as their original by a fault of ours within `FAULT_HOURS`, and when the last did.
    not_understood: int = 0
    newest_not_understood: float = 0.0
    #: Routes that an error of configuration holds.
    held_routes: tuple[str, ...] = ()
    #: The services that are away for everyone, each with why.
    away: tuple[tuple[str, str], ...] = ()
    #: Age of the oldest entry that is queued, leased or held; 0 when there is none.
    oldest_seconds: float = 0.0
    #: Whether that was longer than `alarms.oldest_minutes`, as it was when this look was taken.
    overdue: bool = False
    #: Whether the disk ran full, so that mail goes out and none comes in.
    disk_full: bool = False
    #: Why the spool could not be looked at; "" when it could.
    sick: str = ""
