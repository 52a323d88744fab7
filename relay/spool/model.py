"""The values of the spool: submissions, entries, and answers to questions about them.

Owns the states of an accepted mail. Never does I/O. Instants are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from relay.envelope import Destination, Envelope, SpoolId
from relay.spool.action import Action
from relay.spool.raw_file import RawFile
from relay.vocabulary import Rung

#: How long a fault of ours stays an alarm after the last mail that it struck.
FAULT_HOURS = 24
#: The results of a mail about which nobody was asked.
NO_RESULTS: Final[Mapping[str, str]] = MappingProxyType({})


class State(StrEnum):
    """The stored state of an entry."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyHold:
    """The hold of a route that would have refused a mail which other routes of its transaction accept: the
    route's entries wait for a person.
    """

    route: str
    #: `policy.<rule>`.
    reason: str
    detail: str


class Submission(NamedTuple):
    """A complete and checked mail that is about to be accepted.

    A named tuple, because each mail makes one: a frozen dataclass of so many fields takes four times as long.
    """

    spool_id: SpoolId
    envelope: Envelope
    #: Never empty; distinct by (instance_id, address, route, tag).
    destinations: tuple[Destination, ...]
    #: Our own trace header, then the octets as received (CRLF intact, dot-stuffing undone).
    raw: bytes | RawFile
    #: Octets of `raw`, trace header included.
    size: int
    #: Octets of our own trace header at the front of `raw`.
    trace_size: int
    #: SHA-256 of `raw` without the trace header, lower-case hexadecimal.
    fingerprint: str
    #: The Message-ID header as sent, with its brackets; None when the mail has none.
    message_id: str | None
    #: Message-IDs of In-Reply-To and References, with their brackets: a mail that answers a contact of its
    #: own sender is claimed first.
    references: tuple[str, ...] = ()
    #: When it arrived, by the spool's clock (`Intake.now`); None: as the wall clock says (`received_at`).
    arrived_at: datetime | None = None
    #: The first address of the From header; None where none was read.
    author: str | None = None
    #: Authentication results by attribute name; see `contact.plan.Context.results`.
    results: Mapping[str, str] = NO_RESULTS
    #: Routes whose entries are held from the beginning; each is named once.
    holds: tuple[PolicyHold, ...] = ()
    #: Routes whose entries are claimed before new mail, as an answer to a contact is.
    first: tuple[str, ...] = ()
    #: The operator's action by which it comes, for the audit; None for a peer's mail.
    action: Action | None = None

    def __repr__(self) -> str:
        """The mail by its id: its octets belong into no log."""
        return f"Submission({self.spool_id})"


class PolicyCount(NamedTuple):
    """The number of mails of one day that met a rule of the policy, for one route and domain of senders."""

    #: In UTC, as "2026-11-29".
    day: str
    rule: str
    action: str
    #: True if the rule was only observed.
    observe: bool
    route: str
    #: Of the first author, else of the reverse-path; "" without, "other" beyond a thousand of a day.
    domain: str
    mails: int


class DayCount(NamedTuple):
    """The number of times that something happened on a day; `relay.telemetry.counts` has the names."""

    #: In UTC, as "2026-11-29".
    day: str
    name: str
    #: The kind, such as a reason or a domain; "" where there is but one, "other" beyond a thousand of a day.
    label: str
    number: int
    #: The most that was measured with one of them, in milliseconds; 0 where nothing is measured.
    most: int = 0


class Receipt(NamedTuple):
    """The answer of `put`."""

    #: The id that the peer is told: the earlier mail's if this mail is a retransmission.
    spool_id: SpoolId
    #: True if every destination already had this mail: nothing was stored.
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold of a route by an error of configuration, with its reason and the instant when it began."""

    route: str
    reason: str
    detail: str
    since: datetime
    #: By how much the wall clock was set since then; only `Desk` sets it.
    set_since: timedelta = timedelta()

    def lasts(self, now: datetime) -> timedelta:
        """The time for which the route has been held, when the wall clock shows `now`."""
        return now - self.since - self.set_since


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mail on its way to one destination."""

    #: The number after the dot of `reference`. Only the backend that gave it can interpret it.
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
    #: How often in a row the runner died while it had this entry leased: see `Outbox.recover`.
    cut_short: int
    next_attempt_at: datetime
    lease_until: datetime | None
    rung: Rung
    #: True if a person released it after the policy of its route had held it.
    released: bool
    #: The one live ClientToken; None for an entry of an earlier version for which this version has stored no
    #: request yet.
    token: str | None
    #: True if a request under that token went out, or may have, before this attempt.
    sent: bool
    #: When the first request under that token went out of which nobody knows whether it became a contact;
    #: None if there is no such request.
    in_doubt_since: datetime | None
    #: The exact request last sent or about to be, JSON in UTF-8; None when none was built for this rung.
    request: bytes | None = field(repr=False)
    #: When the presigned URLs in `request` expire.
    request_expires_at: datetime | None
    contact_id: str | None
    #: The reason word and the sentence of the last deferral, hold or burial; "" when there was none.
    reason: str
    detail: str
    accepted_at: datetime
    updated_at: datetime
    #: What the patterns of its route captured for its first request; None where none looked yet.
    captured: Mapping[str, str] | None = None
    #: The instance of the last request that went out, or may have; None where none did, or an earlier version
    #: sent it.
    asked_instance: str | None = None
    #: The hold of its route while the entry waits for that; only `Desk` sets it.
    route_hold: Hold | None = None
    #: By how much the wall clock was set since it was accepted; only `Desk` sets it.
    set_since: timedelta = timedelta()

    def age(self, now: datetime) -> timedelta:
        """The time that has passed since it was accepted, when the wall clock shows `now`."""
        return now - self.accepted_at - self.set_since

    @property
    def reference(self) -> str:
        """The unique id of this entry, as commands print and take it: `<spool id>.<number>`."""
        return f"{self.spool_id}.{self.entry_id}"

    @property
    def shown_state(self) -> State:
        """The state as an operator sees it: a queued entry on a held route is shown as held (docs/spool.md,
        "States").
        """
        return State.HELD if self.route_hold else self.state

    def stands_in(self, states: Sequence[State]) -> bool:
        """Returns whether the stored or the shown state is among these, as `stands_in` has it."""
        return stands_in(states, stored=self.state, shown=self.shown_state)

    @property
    def shown_reason(self) -> tuple[str, str]:
        """The reason and its sentence; those of the route's hold if the entry has none of its own."""
        if self.route_hold and not self.reason:
            return self.route_hold.reason, self.route_hold.detail
        return self.reason, self.detail


def stands_in(states: Sequence[State], *, stored: State, shown: State) -> bool:
    """Returns whether the stored or the shown state of an entry is among these.

    Both count for a change, because an operator may hold, release or retry an entry that only its route
    holds.
    """
    return stored in states or shown in states


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The pauses and holds that are in force."""

    #: No mail is accepted.
    intake: bool = False
    #: No entry is claimed.
    delivery: bool = False
    #: No entry of these routes is claimed, by an operator's order.
    routes: tuple[str, ...] = ()
    #: Routes that `Outbox.hold_route` stopped: only probes of them are claimed.
    holds: tuple[Hold, ...] = ()
    #: Routes that an operator switched to their standby: their mail goes there.
    standby: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The entries that an operator means; an empty field means any."""

    ids: tuple[str, ...] = ()
    #: States as an operator sees them: `Entry.shown_state`.
    states: tuple[State, ...] = ()
    route: str | None = None
    #: Any of these routes; None for all. Without one in it nothing fits.
    routes: tuple[str, ...] | None = None
    #: The beginning of a reason word.
    reason: str | None = None
    #: An address, "@domain", "local-part@", or else a part of an address, in angle brackets or not; without
    #: case. "" and "<>" are the null reverse-path.
    sender: str | None = None
    #: The same for the destination and for the forward-paths that led to it.
    recipient: str | None = None
    older_than: datetime | None = None
    limit: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """A step of the search for mail that has waited too long."""

    #: The entries that were given up, for alarms.
    entries: tuple[Entry, ...]
    #: The number after which the next step begins; None after the last step.
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event in the history of an entry, as `trace` tells it."""

    at: datetime
    #: "deferred", "held", "dead", "done", "released", "retried", "interrupted", "cut_short", "original".
    event: str
    attempt: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The ledger's record of a mail for one destination, kept long after the mail itself is removed."""

    spool_id: SpoolId
    instance_id: str
    address: str
    message_id: str | None
    contact_id: str | None
    accepted_at: datetime
    #: When an operator or the policy of its route dropped it unfinished; None if it ended otherwise.
    dropped_at: datetime | None
    #: When its names were erased; None if they were not.
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The undelivered entries of one route, counted by shown state and by age."""

    route: str
    queued: int
    leased: int
    held: int
    dead: int
    #: Entries queued, leased or held, by age: one number for each limit of the caller (entries younger than
    #: it and not younger than the one before), then the rest.
    ages: tuple[int, ...]
    #: When the oldest of those was accepted; None if there is none.
    oldest_at: datetime | None


#: The beginnings of the reasons for which the policy holds mail (`relay.policy.origin.name_reason`).
BY_POLICY = ("policy.", "class.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """The parts of a spool that no quota of mail counts; 0 where it has none."""

    log_bytes: int = 0
    ledger_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One look at the queue."""

    #: Entries by state.
    queued: int = 0
    leased: int = 0
    held: int = 0
    dead: int = 0
    #: None if the spool cannot count them.
    done: int | None = 0
    #: When the last mail was held and when the last was given up, in seconds since 1970; 0 if there is none.
    #: The counts alone would not show that one left and another came.
    newest_held: float = 0.0
    newest_dead: float = 0.0
    #: The holds up to this instant were looked at, and the last of them that no rule of the policy made.
    held_seen: float = 0.0
    newest_other_held: float = 0.0
    #: True if the policy held mail that was not told yet; when its holds were last told, and when the last
    #: digest of them was due; 0 if no mail is held.
    policy_untold: bool = False
    policy_told_at: float = 0.0
    digest_at: float = 0.0
    #: Mails that went out as their original by a fault of ours within `FAULT_HOURS`, and when the last of
    #: them did.
    not_understood: int = 0
    newest_not_understood: float = 0.0
    #: Routes that an error of configuration holds.
    held_routes: tuple[str, ...] = ()
    #: Routes that an operator switched to their standby.
    standby: tuple[str, ...] = ()
    #: The services that are away for all entries, each with the reason.
    away: tuple[tuple[str, str], ...] = ()
    #: The routes whose templates Connect refuses, each with the reason.
    templates: tuple[tuple[str, str], ...] = ()
    #: The addresses of routes that their instance does not have, each with the instance.
    missing: tuple[tuple[str, str], ...] = ()
    #: Entries that a rule of the policy holds; they are among the held ones.
    policy_held: int = 0
    #: Age of the oldest entry that is queued, leased, or held by anything but the policy; 0 if there is none.
    oldest_seconds: float = 0.0
    #: True if that was more than `alarms.oldest_minutes` when this look was taken.
    overdue: bool = False
    #: The step of the wall clock that is doubted, in seconds, negative when back; 0 if none is.
    clock_step_seconds: float = 0.0
    #: True if the disk is full, so that mail is delivered but none is accepted.
    disk_full: bool = False
    #: The octets of the database's log, and the records of the ledger; 0 where there is no such thing.
    log_bytes: int = 0
    ledger_rows: int = 0
    #: Why the spool could not be read; "" if it could.
    sick: str = ""
