"""The outcome of an attempt, and what was recorded of it, as values.

Owns these values. Never decides what becomes of the entry, and never changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from relay import telemetry
from relay.errors import RemoteError
from relay.spool.model import Entry
from relay.spool.page import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The contact exists in Connect."""

    contact_id: str
    entry: Entry
    adaptations: tuple[str, ...] = ()
    #: The class of the mail as its contact's attribute has it; "" where the contact has none.
    classification: str = ""
    #: True if S3 has proved in this attempt that it stored an object.
    stored: bool = False
    #: The description of the attempt for the page; None where it got nowhere. So in the others.
    #: True if its instance is not the one that its route leads to now.
    elsewhere: bool = False
    shown: Shown | None = None
    #: True if the contact is redacted, so that the raw mail may not stay.
    redacted: bool = False
    #: The services of this attempt that are those of some instances only (`apart`).
    apart: frozenset[str] = frozenset()
    #: Entries that waited for such a service, and are due at once.
    recalled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The entry waits for a person: the route's policy says so, or the fate of its request is unknown."""

    reason: str
    detail: str
    shown: Shown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The route's policy wants no contact for this class of mail."""

    reason: str
    detail: str
    shown: Shown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed: S3 or Connect refused, or did not answer."""

    error: RemoteError
    entry: Entry
    #: True if S3 has proved in this attempt that it stored an object.
    stored: bool = False
    #: The services of this attempt that are those of some instances only (`apart`).
    apart: frozenset[str] = frozenset()
    #: Entries that waited for such a service, and are due at once.
    recalled: tuple[str, ...] = ()
    #: True if it is certain that no request of this attempt became a contact.
    settled: bool = False
    #: The seconds to put the entry off for where such a service is away; None where none is.
    delay_seconds: float | None = None
    #: As in `Delivered`.
    elsewhere: bool = False
    shown: Shown | None = None
    #: True if the request that failed may be redacted, so that the raw mail may not stay beside its contact.
    redacted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """The mail waits for a worker that reads it: its attempt has not begun."""

    detail: str
    reason: str = "relay.busy"
    #: The seconds that it waits; None for a slow mail, which has its turn behind others.
    seconds: float | None = None


Outcome = Delivered | Held | Dropped | Failed | Postponed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The outcome as it was written to the spool: what its line of the log says, but for the time it took."""

    entry: Entry
    outcome: telemetry.Outcome
    reason: str = ""
    detail: str = ""
    contact_id: str | None = None
    adaptations: tuple[str, ...] = ()
    classification: str = ""
    #: The instant of the next attempt, where the entry is deferred.
    until: datetime | None = None
    error: RemoteError | None = None


def tell(recorded: Recorded, *, seconds: float, now: datetime, ahead: timedelta = timedelta()) -> None:
    """Write the line of the log for an attempt that took so many seconds, and count it. `now` is the spool's
    clock, and the wall clock is so far `ahead` of it.
    """
    telemetry.delivery_attempted(
        entry=recorded.entry,
        outcome=recorded.outcome,
        reason=recorded.reason,
        detail=recorded.detail,
        contact_id=recorded.contact_id,
        adaptations=recorded.adaptations,
        next_attempt_at=(recorded.until + ahead).isoformat() if recorded.until else None,
        error=recorded.error,
        seconds=seconds,
        classification=recorded.classification,
        waited_seconds=(now - recorded.entry.accepted_at).total_seconds(),
    )
