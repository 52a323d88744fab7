"""The outcome of an attempt: what came of it, as a value, and the line of the log that tells it.

Owns these values. Never decides what becomes of the entry, and never changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from relay import telemetry
from relay.errors import RemoteError
from relay.spool.model import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Connect has the contact."""

    contact_id: str
    entry: Entry
    adaptations: tuple[str, ...] = ()
    #: Whether S3 has proved in this attempt that it stored something.
    stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A person is to look first: the route's policy says so, or nobody knows whether the contact is there already."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The route's policy wants no contact for this class of mail."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """S3 or Connect refused, or did not answer."""

    error: RemoteError
    entry: Entry
    #: Whether S3 has proved in this attempt that it stored something.
    stored: bool = False
    #: Whether it is certain that no request of this attempt became a contact.
    settled: bool = False


Outcome = Delivered | Held | Dropped | Failed


def build_line(
    entry: Entry,
    outcome: telemetry.Outcome,
    reason: str,
    detail: str,
    *,
    until: datetime | None = None,
    error: RemoteError | None = None,
) -> Callable[[float], None]:
    """The line that is due once the outcome is recorded, to be told the seconds that it took."""

    def tell(seconds: float) -> None:
        telemetry.delivery_attempted(
            entry=entry,
            outcome=outcome,
            reason=reason,
            detail=detail,
            seconds=seconds,
            next_attempt_at=until.isoformat() if until else None,
            error=error,
        )

    return tell
