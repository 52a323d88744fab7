"""The records that an accepted mail becomes, and the transaction that writes them.

Owns the conditions of acceptance: a mail has no record yet, and for each of its ways no guard forbids it
(`relay.spool.duplicates` has the rule, whose facts are in a guard's key and condition). Never does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.aws.database import Action, Check, Condition, Put, Reason
from relay.envelope import Destination
from relay.errors import SpoolError
from relay.spool.duplicates import Likeness, build_token, normalise_author, normalise_reverse_path
from relay.spool.fleet import tables
from relay.spool.fleet.encoding import build_entry, build_guard, build_mail, parse_guard
from relay.spool.fleet.records import EntryRecord, GuardRecord, MailRecord
from relay.spool.groups import NEW, REPLY, group_of
from relay.spool.model import Event, State, Submission
from relay.spool.records import from_microseconds, to_microseconds

#: Destinations in one transaction of at most 100 actions: each is two, beside the mail and some room.
MOST_WAYS: Final = 45
_FRESH = Condition(text="attribute_not_exists(#pk)")
_THERE = Condition(text="attribute_exists(#pk)")
_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A mail's way to one destination."""

    entry: EntryRecord
    guard: GuardRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An accepted mail before it is written."""

    mail: MailRecord
    ways: tuple[Way, ...]
    #: The condition of every guard.
    unguarded: Condition


def plan(
    submission: Submission,
    *,
    trace_sha256: bytes,
    is_reply: bool,
    window_hours: float,
    node: str,
    op: str,
) -> Planned:
    """The records of a mail.

    Raises:
        SpoolError: no record holds this mail.
    """
    sender = normalise_reverse_path(submission.envelope.reverse_path)
    accepted_at = to_microseconds(submission.arrived_at or submission.envelope.received_at)
    mail = MailRecord(
        spool_id=submission.spool_id,
        envelope=submission.envelope,
        results=submission.results,
        fingerprint=submission.fingerprint,
        message_id=submission.message_id,
        size=submission.size,
        trace_size=submission.trace_size,
        trace_sha256=trace_sha256,
        author=normalise_author(submission.author),
        sender=sender,
        entries=len(submission.destinations),
        accepted_at=accepted_at,
        node=node,
        op=op,
    )
    window = int(window_hours * _HOUR)
    ways = tuple(
        _plan_way(submission, mail, number, destination, is_reply=is_reply, window=window)
        for number, destination in enumerate(submission.destinations, 1)
    )
    planned = Planned(mail=mail, ways=ways, unguarded=_unguarded(submission, accepted_at - window))
    try:
        build_mail(mail)
        for way in ways:
            build_entry(way.entry)
    except ValueError as exc:
        raise SpoolError(f"this mail cannot be stored: {exc}") from exc
    return planned


def _plan_way(
    submission: Submission,
    mail: MailRecord,
    number: int,
    destination: Destination,
    *,
    is_reply: bool,
    window: int,
) -> Way:
    dmarc = submission.results.get("relay_dmarc", "")
    likeness = Likeness(
        fingerprint=mail.fingerprint,
        instance_id=destination.instance_id,
        address=destination.address,
        route=destination.route,
        tag=destination.tag,
        sender=mail.sender,
        dmarc=dmarc,
    )
    hold = next((each for each in submission.holds if each.route == destination.route), None)
    at = from_microseconds(mail.accepted_at)
    entry = EntryRecord(
        spool_id=mail.spool_id,
        number=number,
        destination=destination,
        state=State.HELD if hold else State.QUEUED,
        priority=REPLY if is_reply or destination.route in submission.first else NEW,
        group=group_of(mail.envelope.peer, mail.envelope.reverse_path),
        due_at=mail.accepted_at,
        accepted_at=mail.accepted_at,
        updated_at=mail.accepted_at,
        op=mail.op,
        token=build_token(likeness, salt=mail.spool_id if mail.message_id is None else ""),
        reason=hold.reason if hold else "",
        detail=hold.detail if hold else "",
        history=(Event(at=at, event="held", attempt=0, reason=hold.reason, detail=hold.detail),)
        if hold
        else (),
    )
    guard = GuardRecord(
        key=tables.guard_key(mail.fingerprint, destination, sender=mail.sender),
        spool_id=mail.spool_id,
        number=number,
        accepted_at=mail.accepted_at,
        dmarc=dmarc,
        expires=(mail.accepted_at + window) // _SECOND + 1,
    )
    return Way(entry=entry, guard=guard)


def _unguarded(submission: Submission, begin: int) -> Condition:
    """The condition under which no guard forbids the mail: there is none, its window has ended, or it stands
    for another mail by the rule of duplicates.
    """
    text = "attribute_not_exists(#pk) OR #at < :begin"
    values: dict[str, str | int | bool] = {"begin": begin}
    if submission.message_id is None:
        # Only a peer that missed our 250 sends it again; one that saw it has another mail of the same octets.
        text += " OR #confirmed = :yes"
        values["yes"] = True
    if submission.results.get("relay_dmarc") == "pass":
        text += " OR #dmarc = :fail"
        values["fail"] = "fail"
    return Condition(text=text, values=values)


def build_actions(planned: Planned, ways: Sequence[Way], *, is_first: bool) -> list[Action]:
    """The actions of a transaction that accepts these ways; the first one of a mail writes its record."""
    mail = planned.mail
    actions: list[Action] = [
        Put(item=build_mail(mail), condition=_FRESH)
        if is_first
        else Check(key=tables.mail_key(mail.spool_id), condition=_THERE)
    ]
    for way in ways:
        actions.append(Put(item=build_entry(way.entry)))
        actions.append(Put(item=build_guard(way.guard), condition=planned.unguarded))
    return actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The meaning of a transaction that was cancelled."""

    #: True if this very mail is accepted already: the answer of an earlier transaction was lost.
    is_ours: bool
    #: Ways that another mail went before: by number, the id of that mail.
    earlier: dict[int, str]
    #: Why the mail can be accepted under no condition; "" if it can.
    fault: str = ""


def read_reasons(planned: Planned, ways: Sequence[Way], reasons: Sequence[Reason]) -> Verdict:
    """The meaning of the reasons of a transaction with these ways.

    Raises:
        SpoolCorruptError: a guard cannot be read.
    """
    first, *others = reasons
    if first.code == "ConditionalCheckFailed":
        item = first.item or {}
        if item.get("op") == planned.mail.op:
            return Verdict(is_ours=True, earlier={})
        return Verdict(
            is_ours=False, earlier={}, fault=f"the record of mail {planned.mail.spool_id} is another's"
        )
    earlier: dict[int, str] = {}
    for way, reason in zip(ways, others[1::2], strict=True):
        if reason.code != "ConditionalCheckFailed":
            continue
        if reason.item is None:
            return Verdict(is_ours=False, earlier={}, fault="a guard stood in the way that nobody names")
        guard = parse_guard(reason.item)
        if guard.spool_id == planned.mail.spool_id:
            return Verdict(is_ours=True, earlier={})
        earlier[way.entry.number] = guard.spool_id
    return Verdict(is_ours=False, earlier=earlier)
