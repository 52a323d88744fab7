"""The facts of delivery: attempts, rungs, routes and services.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from relay.errors import RemoteError
from relay.spool.model import Entry
from relay.telemetry.counts import Counted, count_day, count_delay
from relay.telemetry.current import current_log
from relay.telemetry.metrics import ADAPTATIONS, DELIVERIES, DELIVERY_FAILURES, ENTRIES
from relay.telemetry.spans import current_spans

Outcome = Literal["done", "deferred", "held", "buried", "lost", "postponed"]


def delivery_attempted(
    *,
    entry: Entry,
    outcome: Outcome,
    seconds: float,
    reason: str = "",
    detail: str = "",
    contact_id: str | None = None,
    adaptations: Sequence[str] = (),
    next_attempt_at: str | None = None,
    error: RemoteError | None = None,
    classification: str = "",
    waited_seconds: float = 0.0,
) -> None:
    """A delivery attempt ended: which mail, where to, the outcome, and whose error it was. One line for each
    attempt. `waited_seconds`: from the acceptance of the mail to now.
    """
    DELIVERIES.labels(outcome).inc()
    if outcome in ("held", "buried"):
        ENTRIES.labels(outcome).inc()
    elif outcome == "done":  # without a contact only where a policy wants none
        ENTRIES.labels("delivered" if reason in ("", "already_there") else "dropped").inc()
    if error is not None:
        DELIVERY_FAILURES.labels(error.service, error.failure).inc()
    for code in adaptations:
        ADAPTATIONS.labels(code).inc()
    if outcome == "done" and contact_id is not None and not reason:
        _count_contact(entry, adaptations, classification=classification, seconds=waited_seconds)
    elif (name := _NAMES.get((outcome, reason == "already_there"))) is not None:
        count_day(name, reason)
    if (spans := current_spans()) is not None:
        spans.tell_outcome(
            {"result": outcome, "reason": reason, "rung": str(entry.rung), "contact_id": contact_id or ""}
        )
    fields: dict[str, Any] = {
        **_about(entry),
        "route": entry.destination.route,
        "outcome": outcome,
        "attempt": entry.attempts,
        "rung": str(entry.rung),
        "contact_id": contact_id,
        "seconds": round(seconds, 4),
    }
    if reason:
        fields |= {"reason": reason, "detail": detail}
    fields |= {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
    fields |= {"adaptations": list(adaptations)} if adaptations else {}
    calm = {"done": current_log().info, "postponed": current_log().info, "deferred": current_log().warning}
    level = calm.get(outcome, current_log().error)
    if reason == "already_there":  # done, though the contact's id may be unknown
        level = current_log().warning
    level("delivery.attempted", **fields)


#: The names by which outcomes other than a contact are counted; the rest changes nothing.
_NAMES: Mapping[tuple[Outcome, bool], Counted] = {
    ("done", True): Counted.ALREADY,
    ("done", False): Counted.DROPPED,
    ("deferred", False): Counted.DEFERRED,
    ("held", False): Counted.HELD,
    ("buried", False): Counted.DEAD,
}


def _count_contact(entry: Entry, adaptations: Sequence[str], *, classification: str, seconds: float) -> None:
    """Count a new contact for the report of its day."""
    count_day(Counted.CONTACT, entry.destination.route)
    count_day(Counted.CLASS, classification)
    count_delay(seconds)
    for code in set(adaptations):
        count_day(Counted.ADAPTED, code)
    if adaptations:
        count_day(Counted.ADAPTED_MAIL)


def rung_refused(*, entry: Entry, code: str, detail: str, following: str) -> None:
    """A payload was refused by Connect; the next rung of the ladder is tried."""
    facts = {"rung": str(entry.rung), "code": code, "detail": detail, "following": following}
    current_log().warning("rung.refused", **_about(entry), **facts)


def _about(entry: Entry) -> dict[str, Any]:
    to = entry.destination.address
    return {"spool_id": entry.spool_id, "message_id": entry.message_id, "destination": to}


def service_moved(*, service: str, why: str) -> None:
    """A service is away for everyone, and why; with the empty string it is back."""
    if why:
        current_log().error("service.away", service=service, why=why)
    else:
        current_log().info("service.back", service=service)


def route_held(*, route: str, reason: str, detail: str) -> None:
    """A route is held for an error of configuration, until a probe succeeds or an operator resumes it."""
    current_log().error("route.held", route=route, reason=reason, detail=detail)


def route_switched(*, route: str, standby: bool, instance: str) -> None:
    """An operator has led a route to its standby, or back from it: new requests go to this instance."""
    current_log().warning("route.switched", route=route, standby=standby, instance=instance)


def route_resumed(*, route: str) -> None:
    """A route is resumed: a probe succeeded, or an operator did it."""
    current_log().info("route.resumed", route=route)


def quota_torn(*, detail: str) -> None:
    """Instances that turn out to share a quota have different rates; the least of them is kept to."""
    current_log().warning("quota.torn", detail=detail)


def clock_moved(*, seconds: float) -> None:
    """The wall clock was set, back when negative; times in the spool that lie ahead were moved with it."""
    current_log().warning("clock.moved", seconds=round(seconds, 3))


def instance_differs(*, instance_id: str, differences: Sequence[str]) -> None:
    """The limits of an instance are others than the configuration says."""
    current_log().warning("instance.differs", instance=instance_id, differences=list(differences))


def instance_unread(*, instance_id: str, action: str, code: str, detail: str) -> None:
    """An instance does not tell its settings, or tells what cannot be; what was known of it stays."""
    current_log().warning("instance.unread", instance=instance_id, action=action, code=code, detail=detail)


def instance_read(*, instance_id: str, action: str) -> None:
    """An instance tells its settings again."""
    current_log().info("instance.read", instance=instance_id, action=action)
