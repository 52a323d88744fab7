"""The state of the queue, and the changes of it that a person is told of.

Owns *alarm*, and what a receiver answers to one. Never does I/O: it compares two looks at the queue
and gives the alarms between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from relay.spool.clock import TRUST, tell_step
from relay.spool.model import QueueState
from relay.vocabulary import AlarmKind

#: The services as the sentence of an alarm names them.
_NAMES = {"s3": "S3 is away", "connect": "Connect is away", "credentials": "AWS credentials cannot be had"}
#: A log of this size takes a second to read at a start; ordinarily it has 16 to 64 MiB.
_LARGE_LOG_BYTES = 1 << 30
#: A clock that is doubted may be slewed by some seconds.
_ANOTHER_STEP_SECONDS = 60.0


class Severity(StrEnum):
    """The urgency of an alarm, in the words of PagerDuty's Common Event Format."""

    #: No mail comes in, or none goes out: somebody gets up.
    CRITICAL = "critical"
    #: Mail waits for a person.
    ERROR = "error"
    #: A thing to look at within days: no mail waits for it.
    WARNING = "warning"
    #: A test, which asks for no action.
    INFO = "info"


#: The alarms that are not of the severity `error`.
_SEVERITIES = {
    AlarmKind.SPOOL_SICK: Severity.CRITICAL,
    AlarmKind.DISK_FULL: Severity.CRITICAL,
    AlarmKind.SERVICE_AWAY: Severity.CRITICAL,
    AlarmKind.HUNG: Severity.CRITICAL,
    AlarmKind.DELIVERER_SILENT: Severity.CRITICAL,
    AlarmKind.POLICY_HELD: Severity.WARNING,
    AlarmKind.TEMPLATE_REFUSED: Severity.WARNING,
    AlarmKind.LOG_LARGE: Severity.WARNING,
    AlarmKind.CLOCK: Severity.WARNING,
    AlarmKind.TEST: Severity.INFO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A change for the worse, or the end of one."""

    kind: AlarmKind
    #: False at the end of the alarm.
    raised: bool
    #: The sentence for a person.
    detail: str
    #: The subject within the kind: the route's name, say; "" where there is only one. Kind and subject pair
    #: an alarm with its end.
    subject: str = ""
    #: The number of mails, for the kinds that count.
    count: int | None = None

    @property
    def severity(self) -> Severity:
        """The urgency of an alarm of this kind."""
        return _SEVERITIES.get(self.kind, Severity.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a receiver to an alarm."""

    #: Why the alarm was not taken, in one word or two for the log; "" if it was.
    why: str = ""
    #: The receiver's own words, for the person who tries it: "status 400: invalid_payload".
    says: str


def build_state_json(state: QueueState) -> str:
    """The state of the queue as one line of JSON, to be remembered over a restart."""
    return json.dumps(asdict(state))


def parse_state_json(text: str) -> QueueState:
    """The state that `build_state_json` wrote.

    Text that cannot be read gives a state in which all is well.
    """
    try:
        record = json.loads(text)
        # Written by a version that knew no outages, no templates, or no missing addresses.
        earlier: dict[str, Any] = {
            "away": (),
            "templates": (),
            "missing": (),
            "standby": (),
            "clock_step_seconds": 0.0,
            "log_bytes": 0,
            "ledger_rows": 0,
            "policy_held": 0,
            **_read_holds(dict(record)),
        } | dict(record)
        away = tuple((str(service), str(why)) for service, why in earlier["away"])
        templates = tuple((str(route), str(why)) for route, why in earlier["templates"])
        missing = tuple((str(address), str(where)) for address, where in earlier["missing"])
        listed = {
            "held_routes": tuple(record["held_routes"]),
            "standby": tuple(earlier["standby"]),
            "away": away,
            "templates": templates,
            "missing": missing,
        }
        state = QueueState(**{**earlier, **listed})
    except (ValueError, TypeError, KeyError):
        return QueueState()
    plain = asdict(QueueState())
    return (
        state
        if all(
            _is_like(value, plain[name]) or (name == "done" and value is None)
            for name, value in asdict(state).items()
        )
        else QueueState()
    )


def _read_holds(record: Mapping[str, Any]) -> dict[str, Any]:
    """The holds as a version saw them that told of all alike: all were told, as the alarm `held`."""
    newest = record.get("newest_held", 0.0)
    return {
        "held_seen": newest,
        "newest_other_held": newest if record.get("held") else 0.0,
        "policy_untold": False,
        "policy_told_at": 0.0,
        "digest_at": 0.0,
    }


def _is_like(value: object, plain: object) -> bool:
    return isinstance(value, (int, float) if isinstance(plain, float) else type(plain))


def compare_states(before: QueueState, now: QueueState) -> tuple[Alarm, ...]:
    """Compare two looks at the queue. Returns the alarms to be sent.

    Dead letters and mail held by a fault are told each time that new ones came since the look before, and
    once when none is left; mail that the policy holds is told when it is due. A held route, an outage,
    an age or a sick spool is told once, and once more when it is over.
    """
    return tuple(_compare(before, now))


def _compare(before: QueueState, now: QueueState) -> Iterator[Alarm]:
    if bool(now.sick) != bool(before.sick):
        detail = now.sick or "the spool works again"
        yield Alarm(kind=AlarmKind.SPOOL_SICK, raised=bool(now.sick), detail=detail)
    if now.sick:
        return  # a sick spool shows nothing else
    if now.disk_full != before.disk_full:
        detail = (
            "the disk is full: accepted mail is delivered, and new mail is put off; make room on it"
            if now.disk_full
            else "the disk has room again"
        )
        yield Alarm(kind=AlarmKind.DISK_FULL, raised=now.disk_full, detail=detail)
    yield from _compare_logs(before.log_bytes, now.log_bytes)
    yield from _compare_clock(before.clock_step_seconds, now.clock_step_seconds)
    yield from _compare_aside(
        AlarmKind.DEAD_LETTERS,
        "dead letter",
        (before.dead, before.newest_dead),
        (now.dead, now.newest_dead),
        command="relay queue list --state dead",
    )
    yield from _compare_holds(before, now)
    yield from _compare_aside(
        AlarmKind.NOT_UNDERSTOOD,
        "misunderstood mail",
        (before.not_understood, before.newest_not_understood),
        (now.not_understood, now.newest_not_understood),
        command="fault.caught in the log, and report it",
    )
    yield from _compare_routes(before, now)
    yield from _compare_services(dict(before.away), dict(now.away))
    yield from _compare_templates(dict(before.templates), dict(now.templates))
    yield from _compare_missing(dict(before.missing), dict(now.missing))
    if now.overdue != before.overdue:
        minutes = f"the oldest mail waits for {now.oldest_seconds / 60:.0f} minutes"
        detail = minutes if now.overdue else "no mail waits for long"
        yield Alarm(kind=AlarmKind.OLDEST, raised=now.overdue, detail=detail)


def _compare_logs(before: int, now: int) -> Iterator[Alarm]:
    """The alarm about the log of the database."""
    if before < _LARGE_LOG_BYTES <= now:
        detail = (
            f"the log of the database has {now >> 20} MiB, and cannot begin anew while somebody reads the database: "
            "end backups and sqlite3 sessions that are left open"
        )
        yield Alarm(kind=AlarmKind.LOG_LARGE, raised=True, detail=detail)
    elif now < _LARGE_LOG_BYTES <= before:
        yield Alarm(kind=AlarmKind.LOG_LARGE, raised=False, detail="the log of the database began anew")


def _compare_clock(before: float, now: float) -> Iterator[Alarm]:
    """The alarm about a step of the wall clock; another step is told anew."""
    if now and abs(now - before) > _ANOTHER_STEP_SECONDS:
        yield Alarm(kind=AlarmKind.CLOCK, raised=True, detail=f"{tell_step(now)} ({TRUST})")
    elif before and not now:
        yield Alarm(kind=AlarmKind.CLOCK, raised=False, detail="the clock is trusted again")


def _compare_aside(
    kind: AlarmKind, what: str, before: tuple[int, float], now: tuple[int, float], *, command: str
) -> Iterator[Alarm]:
    """The alarm about mail that waits for a person, by the number of mails and the latest instant."""
    (count_before, newest_before), (count, newest) = before, now
    if count > count_before or newest > newest_before:
        detail = f"{count} {what}{'' if count == 1 else 's'}; see {command}"
        yield Alarm(kind=kind, raised=True, detail=detail, count=count)
    elif count_before and not count:
        yield Alarm(kind=kind, raised=False, detail=f"no {what} is left", count=0)


def _compare_holds(before: QueueState, now: QueueState) -> Iterator[Alarm]:
    """The alarms about held mail: that of faults at each new one, that of the policy when it is due
    (`relay.alarms.quarantine`). Both end when no mail is held.
    """
    told = f"{now.held} held mail{'' if now.held == 1 else 's'}; see relay queue list --state held"
    for kind, last, next_ in (
        (AlarmKind.HELD, before.newest_other_held, now.newest_other_held),
        (AlarmKind.POLICY_HELD, before.policy_told_at, now.policy_told_at),
    ):
        if next_ and next_ != last:
            yield Alarm(kind=kind, raised=True, detail=told, count=now.held)
        elif last and not now.held:
            yield Alarm(kind=kind, raised=False, detail="no held mail is left", count=0)


def _compare_services(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Alarm]:
    kind = AlarmKind.SERVICE_AWAY
    for service, why in now.items():
        if service not in before:
            detail = f"{_tell_away(service)}: mail is received, and delivered later ({why})"
            yield Alarm(kind=kind, raised=True, detail=detail, subject=service)
    for service in before.keys() - now.keys():
        yield Alarm(kind=kind, raised=False, detail=f"{service}: mail is delivered again", subject=service)


def _tell_away(service: str) -> str:
    if service in _NAMES:
        return f"{_NAMES[service]} for everyone"
    kind, _, place = service.partition(" ")
    return f"{_NAMES.get(kind, kind)} for some instances ({place})"


def _compare_templates(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Alarm]:
    kind = AlarmKind.TEMPLATE_REFUSED
    for route, why in now.items():
        if route not in before:
            detail = f"Connect refuses what the templates of the route {route} make; its contacts go without ({why})"
            yield Alarm(kind=kind, raised=True, detail=detail, subject=route)
    for route in before.keys() - now.keys():
        detail = f"the contacts of the route {route} go with their templates again"
        yield Alarm(kind=kind, raised=False, detail=detail, subject=route)


def _compare_missing(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Alarm]:
    kind = AlarmKind.ADDRESS_MISSING
    for address, instance_id in now.items():
        if address not in before:
            detail = (
                f"the instance {instance_id} does not have {address}, to which a route leads: mail for it would wait; "
                "make it in Connect, or mend the route"
            )
            yield Alarm(kind=kind, raised=True, detail=detail, subject=address)
    for address in before.keys() - now.keys():
        yield Alarm(kind=kind, raised=False, detail=f"{address} is missed no more", subject=address)


def _compare_routes(before: QueueState, now: QueueState) -> Iterator[Alarm]:
    kind = AlarmKind.ROUTE_HELD
    for route in now.held_routes:
        if route not in before.held_routes:
            detail = f"the route {route} is held; see relay queue list --state held, and relay check"
            yield Alarm(kind=kind, raised=True, detail=detail, subject=route)
    for route in before.held_routes:
        if route not in now.held_routes:
            yield Alarm(kind=kind, raised=False, detail=f"the route {route} delivers again", subject=route)
