"""The status strip, made of what the spool gives.

Owns its figures, their reasons and the sentences of its notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from relay.config import Config
from relay.spool.desk import Desk
from relay.spool.model import DayCount, Filter, Paused, State
from relay.telemetry.counts import Counted
from relay.timing import utc_now
from relay.web.nodes import describe_nodes, list_silent
from relay.web.view import Figure, Status

_REFUSED = frozenset(
    {Counted.REFUSED_MAIL, Counted.REFUSED_RECIPIENT, Counted.REFUSED_SENDER, Counted.REFUSED_SESSION}
)
_DELIVERY_PAUSED = "The delivery is paused, nothing is delivered (relay resume delivery)."
#: Reasons of a figure.
_REASONS = 10
#: Seconds over which the pace is measured.
_PACE_SECONDS = 60
#: Characters of an error's detail in a sentence about its route.
_DETAIL_CHARACTERS = 200


def read_status(desk: Desk, config: Config) -> Status:
    """The status strip. Blocks."""
    now, wall = desk.now(), utc_now()
    numbers, reasons, oldest = desk.tally(Filter()), desk.reasons(), desk.oldest_at()
    beats = desk.nodes()
    today = wall.date().isoformat()
    counts = desk.day_counts(since=today, until=today)
    midnight = now - (wall - wall.replace(hour=0, minute=0, second=0, microsecond=0))
    waiting = Counter(reasons.get(State.QUEUED, {})) + Counter(reasons.get(State.LEASED, {}))
    return Status(
        received=Figure(
            number=max(desk.accepted(since=midnight), _count(counts, {Counted.RECEIVED}).total())
        ),
        waiting=_figure(numbers.get(State.QUEUED, 0) + numbers.get(State.LEASED, 0), waiting),
        held=_figure(numbers.get(State.HELD, 0), reasons.get(State.HELD, {})),
        dead=_figure(numbers.get(State.DEAD, 0), reasons.get(State.DEAD, {})),
        done=Figure(number=numbers[State.DONE]) if State.DONE in numbers else None,
        refused=_figure(None, _count(counts, _REFUSED)),
        oldest_seconds=max((now - oldest).total_seconds(), 0.0) if oldest else None,
        today=wall.date(),
        pace=desk.contacts(since=now - timedelta(seconds=_PACE_SECONDS)) / _PACE_SECONDS,
        quota=find_quota(config),
        notices=(*_list_notices(desk), *list_silent(beats, now)),
        nodes=tuple(describe_nodes(beats, now)),
    )


def _count(counts: Sequence[DayCount], names: frozenset[Counted] | set[Counted]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in counts:
        if each.name in names:
            found[each.label] += each.number
    return found


def _figure(number: int | None, reasons: Mapping[str, int]) -> Figure:
    """A figure with its most frequent reasons; without a number of its own it is their sum."""
    counted = Counter(dict(reasons))
    total = counted.total()
    return Figure(
        number=total if number is None else number,
        reasons=tuple(counted.most_common(_REASONS)),
        others=max((total if number is None else number) - total, 0),
    )


def find_quota(config: Config) -> float:
    """The requests a second that all instances together allow; those of one account and Region share one
    quota, and the least of their rates.
    """
    rates: dict[object, float] = {}
    for instance_id in config.list_instances():
        quota = config.connect.find(instance_id).quota
        rate = config.connect.adopt(instance_id).requests_per_second
        rates[quota] = min(rate, rates.get(quota, rate))
    return sum(rates.values())


def _list_notices(desk: Desk) -> Iterator[str]:
    if not desk.attended():
        yield "No daemon runs that delivers: nothing goes out until one is started."
    if desk.disk_full():
        yield "The disk is full: mail is delivered, and none is accepted until there is room again."
    if step := desk.clock_step_seconds():
        yield (
            f"The wall clock was set by {step:+,.0f} seconds, and that is doubted: nothing is given up for its age "
            "until it has stood for an hour (relay resume clock)."
        )
    yield from _list_pauses(desk.paused())


def _list_pauses(paused: Paused) -> Iterator[str]:
    if paused.intake:
        yield "The intake is paused, no mail is accepted (relay resume intake)."
    if paused.delivery:
        yield _DELIVERY_PAUSED
    for route in paused.standby:
        yield f"The route {route} leads to its standby (relay route switch {route} --to primary)."
    held = {hold.route for hold in paused.holds}
    yield from (_name_pause(route) for route in paused.routes if route not in held)
    for hold in paused.holds:
        why = f"{hold.reason}: {hold.detail}" if hold.detail else hold.reason
        also = ", and paused" if hold.route in paused.routes else ""
        yield (
            f"The route {hold.route} is held since {hold.since:%Y-%m-%d %H:%M} UTC{also} "
            f"({why[:_DETAIL_CHARACTERS]}), until a probe succeeds or a person resumes it "
            f"(relay resume route {hold.route})."
        )


def list_stops(paused: Paused, route: str) -> Iterator[str]:
    """Give a sentence for each pause for which mail of a route waits. A hold of the route is no pause: its
    mail has it as its reason.
    """
    if paused.delivery:
        yield _DELIVERY_PAUSED
    if route in paused.routes:
        yield _name_pause(route)


def _name_pause(route: str) -> str:
    return f"The route {route} is paused (relay resume route {route})."
