"""The reasons why mail is not delivered, and what a person can do about each, in words.

Owns the sentences about pauses, held routes, and a daemon that does not run: an answer tells of a route once,
and shortly; `relay queue show` has the whole detail. Never changes anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Iterator, MutableSet
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from relay.cli.entries import echo_note, id_of, printable, span
from relay.spool.desk import Desk
from relay.spool.model import Entry, Hold, Paused, State

UNATTENDED = "no daemon runs that delivers"
#: Characters of an error's detail in a sentence about its route: two lines of a terminal with the rest.
_DETAIL_LENGTH = 100


class Stop(NamedTuple):
    """A stop that keeps entries from going out until a person, or a probe, ends it."""

    #: The argument of `relay resume`.
    subject: str
    why: str

    @property
    def sentence(self) -> str:
        """The reason, and the way out of it."""
        return f"{self.why} ({resume(self.subject)})"


def resume(subject: str) -> str:
    """The command that ends a stop, quoted for a shell: names of routes may hold special characters."""
    word, _, name = subject.partition(" ")
    return f"relay resume {word}" + (f" {shlex.quote(name)}" if name else "")


def _tell_reason(hold: Hold) -> str:
    """The reason of a hold with the beginning of its detail."""
    detail = hold.detail
    if len(detail) > _DETAIL_LENGTH:
        detail = detail[: _DETAIL_LENGTH - 3].rstrip() + "..."
    return f"{hold.reason}: {detail}" if detail else hold.reason


def stops_of(routes: Iterable[str], paused: Paused) -> list[Stop]:
    """The stops of these routes, each subject once: first those by an error, then those that were asked
    for.
    """
    wanted = {*routes}
    stops, held = [], set()
    for hold in paused.holds:
        if hold.route in wanted:
            held.add(hold.route)
            also = ", and paused" if hold.route in paused.routes else ""
            why = f"the route {hold.route} is held by {_tell_reason(hold)}{also}"
            stops.append(Stop(f"route {hold.route}", why))
    if paused.delivery and wanted:
        stops.append(Stop("delivery", "the delivery is paused"))
    stops += [
        Stop(f"route {name}", f"the route {name} is paused")
        for name in paused.routes
        if name in wanted - held
    ]
    return stops


def find_stops(entry: Entry, paused: Paused) -> list[Stop]:
    """The stops of this entry; none where it is being delivered, finished or given up."""
    if entry.shown_state not in {State.QUEUED, State.HELD}:
        return []
    return stops_of([entry.destination.route], paused)


def build_status(
    entry: Entry, paused: Paused, *, attended: bool, now: datetime, told: MutableSet[str] | None = None
) -> str:
    """A sentence about where an entry stands, and what has to happen next.

    `told` are the subjects of the stops that the same answer has told before; those told here are added.
    """
    told = set() if told is None else told
    if entry.state is State.LEASED:
        return f"is being delivered (attempt {entry.attempts})"
    if entry.state is State.HELD:
        return f"is held, and waits for a person: relay queue release {id_of(entry)}"
    if entry.state is State.DEAD:
        return f"was given up, and waits for a person: relay queue retry {id_of(entry)}"
    if entry.state is State.DONE:
        if entry.contact_id:
            return f"done: contact {entry.contact_id}, {entry.updated_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"done, without a contact id of ours ({entry.reason})"
    stops = stops_of([entry.destination.route], paused)
    causes = [f"{stop.subject}, as above" if stop.subject in told else stop.sentence for stop in stops]
    told |= {stop.subject for stop in stops}
    if not attended:
        causes.append(UNATTENDED)
    due = "is due"
    if entry.next_attempt_at > now and not entry.route_hold:
        due = f"waits for its next attempt at {entry.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC"
    if not causes:
        return due
    head = "is held" if entry.route_hold else "waits" if due == "is due" else f"{due}, and for this"
    return f"{head}: {'; '.join(causes)}"


def limit_paused(paused: Paused, routes: Container[str] | None) -> Paused:
    """The pauses and holds that concern these routes; None for all."""
    if routes is None:
        return paused
    return replace(
        paused,
        routes=tuple(each for each in paused.routes if each in routes),
        holds=tuple(each for each in paused.holds if each.route in routes),
        standby=tuple(each for each in paused.standby if each in routes),
    )


def pause_sentences(paused: Paused, now: datetime, *, attended: bool = True) -> Iterator[str]:
    """Give a sentence for each pause and each held route."""
    if not attended:
        yield f"{UNATTENDED[0].upper()}{UNATTENDED[1:]}."
    if paused.intake:
        yield f"The intake is paused, no mail is accepted: {resume('intake')}"
    if paused.delivery:
        yield f"The delivery is paused, nothing is delivered: {resume('delivery')}"
    for route in paused.standby:
        yield printable(
            f"The route {route} leads to its standby: relay route switch {shlex.quote(route)} --to primary"
        )
    held = {hold.route for hold in paused.holds}
    for route in (route for route in paused.routes if route not in held):
        yield printable(f"The route {route} is paused: {resume(f'route {route}')}")
    for hold in paused.holds:
        since = span(hold.lasts(now).total_seconds())
        ends = "and paused, until" if hold.route in paused.routes else "until a probe succeeds or"
        yield printable(
            f"The route {hold.route} is held for {since} ({_tell_reason(hold)}), {ends}: "
            f"{resume(f'route {hold.route}')}"
        )


def note_unattended(desk: Desk) -> None:
    """Print a note where no daemon would act on what was just done."""
    if not desk.attended():
        echo_note(f"{UNATTENDED}: nothing goes out until one is started")
