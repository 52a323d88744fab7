"""The outcomes of an attempt, each as the change of an entry's record.

Owns what an entry remembers and forgets on its way out of S4, and what its history and the ledger learn.
Never does I/O; whether a change may be written is the fence's business (`relay.spool.fleet.fence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from relay.spool.fleet.records import EntryRecord, LedgerRecord, MailRecord, StoredRequest
from relay.spool.model import Entry, Event, State
from relay.spool.records import to_microseconds
from relay.vocabulary import Rung

#: Characters of the sentence of an entry: an item costs by its size at every write.
DETAIL_LIMIT: Final = 2_000
#: Seconds for which the ledger keeps a record: 90 days, in which a reply may come.
LEDGER_SECONDS: Final = 90 * 86_400
#: The reason word of an entry that was under way when its runner hung.
HUNG: Final = "hung"


def remembered(
    entry: EntryRecord, *, event: str, now: datetime, reason: str = "", detail: str = ""
) -> EntryRecord:
    """The entry with one more event in its history."""
    told = Event(at=now, event=event, attempt=entry.attempts, reason=reason, detail=detail)
    return replace(entry, history=(*entry.history, told), updated_at=to_microseconds(now))


def moved(
    entry: EntryRecord, state: State, *, event: str, reason: str, detail: str, now: datetime
) -> EntryRecord:
    """The entry in another state, and why."""
    detail = detail[:DETAIL_LIMIT]
    told = remembered(entry, event=event, reason=reason, detail=detail, now=now)
    return replace(
        told,
        state=state,
        reason=reason,
        detail=detail,
        lease_until=None,
        cut_short=0,
        due_at=to_microseconds(now) if state in (State.HELD, State.DEAD) else entry.due_at,
    )


def sending(entry: EntryRecord, *, token: str, now: datetime) -> EntryRecord:
    """The entry of which a request goes out: until its answer comes, nobody knows whether it is a contact."""
    at = to_microseconds(now)
    return replace(
        entry,
        token=token,
        sent_at=at if entry.sent_at is None else entry.sent_at,
        in_doubt_since=at if entry.in_doubt_since is None else entry.in_doubt_since,
    )


def with_request(
    entry: EntryRecord,
    request: StoredRequest,
    *,
    rung: Rung,
    token: str,
    captured: Mapping[str, str] | None,
    instance_id: str | None,
    now: datetime,
) -> EntryRecord:
    """The entry with the request that is about to go out. What was captured first stays."""
    return replace(
        sending(entry, token=token, now=now),
        request=request,
        rung=rung,
        captured=captured if entry.captured is None else entry.captured,
        asked_instance=instance_id or entry.asked_instance,
        updated_at=to_microseconds(now),
    )


def refused(
    entry: EntryRecord, *, rung: Rung, token: str, reason: str, detail: str, now: datetime
) -> EntryRecord:
    """The entry whose payload Connect refused: the next request is another one, on this rung and under this
    token.
    """
    told = remembered(entry, event="refused", reason=reason, detail=detail[:DETAIL_LIMIT], now=now)
    return replace(told, token=token, sent_at=None, in_doubt_since=None, rung=rung, request=None)


def original(entry: EntryRecord, *, reason: str, detail: str, now: datetime) -> EntryRecord:
    """The entry that goes on at the last rung."""
    told = remembered(entry, event="original", reason=reason, detail=detail[:DETAIL_LIMIT], now=now)
    return replace(told, rung=Rung.ORIGINAL, request=None)


def deferred(
    entry: EntryRecord,
    *,
    until: datetime,
    reason: str,
    detail: str,
    rung: Rung | None,
    void: bool,
    doubt: int | None,
    begun: bool,
    now: datetime,
) -> EntryRecord:
    """The entry back in the queue; `doubt` is since when a request of it is in doubt."""
    if begun:
        back = moved(entry, State.QUEUED, event="deferred", reason=reason, detail=detail, now=now)
    else:  # as if it had not been leased
        back = replace(
            entry,
            state=State.QUEUED,
            reason=reason,
            detail=detail[:DETAIL_LIMIT],
            lease_until=None,
            attempts=entry.attempts - 1,
            updated_at=to_microseconds(now),
        )
    return replace(
        back,
        due_at=to_microseconds(until),
        rung=rung or back.rung,
        request=None if void else back.request,
        in_doubt_since=doubt,
    )


def finished(
    entry: EntryRecord, *, contact_id: str | None, reason: str, detail: str, dropped: bool, now: datetime
) -> EntryRecord:
    """The entry at its end. Its request is forgotten."""
    done = moved(entry, State.DONE, event="done", reason=reason, detail=detail, now=now)
    return replace(
        done,
        contact_id=contact_id,
        dropped_at=to_microseconds(now) if dropped else None,
        in_doubt_since=None,
        request=None,
    )


def buried(
    entry: EntryRecord, *, reason: str, detail: str, afresh: bool, doubt: int | None, now: datetime
) -> EntryRecord:
    """The entry that is given up. `afresh`: a retry begins with a new request on the first rung."""
    dead = moved(entry, State.DEAD, event="dead", reason=reason, detail=detail, now=now)
    if afresh:
        dead = replace(dead, rung=Rung.FULL, request=None)
    return replace(dead, in_doubt_since=doubt)


def returned(entry: EntryRecord, *, now: datetime, due_at: int | None = None) -> EntryRecord:
    """The entry whose lease has ended, back in the queue: due now, or at that instant."""
    told = remembered(entry, event="interrupted", now=now)
    at = to_microseconds(now)
    return replace(told, state=State.QUEUED, lease_until=None, due_at=at if due_at is None else due_at)


def blamed(
    entry: EntryRecord,
    *,
    counted: bool,
    limit: int,
    delay_seconds: float,
    place: int,
    hung: bool,
    now: datetime,
) -> EntryRecord:
    """The entry that was leased when a leader died, back in the queue after a delay that doubles with each
    such end in a row, or held after `limit` of them. `place` is its place among those that were leased.
    """
    count = entry.cut_short + counted
    is_held = counted and count >= limit
    reason = HUNG if hung and not is_held else "cut_short"
    detail = f"the runner ended by itself during delivery, {count} times in a row" if is_held else ""
    event = "held" if is_held else "cut_short" if counted else "interrupted"
    at = to_microseconds(now)
    delay = int(delay_seconds * 1_000_000 * (2**entry.cut_short + place))
    return replace(
        remembered(entry, event=event, reason=reason, detail=detail, now=now),
        state=State.HELD if is_held else State.QUEUED,
        due_at=at if is_held else at + delay,
        lease_until=None,
        cut_short=count,
        reason=reason,
        detail=detail,
    )


def ledger_of(mail: MailRecord, entry: EntryRecord, *, now: datetime) -> LedgerRecord:
    """The ledger's record of an entry. A token that never went out is left out."""
    return LedgerRecord(
        spool_id=entry.spool_id,
        number=entry.number,
        destination=entry.destination,
        message_id=mail.message_id,
        author=mail.author,
        sender=mail.sender,
        token=entry.token if entry.sent_at is not None else None,
        contact_id=entry.contact_id,
        accepted_at=mail.accepted_at,
        dropped_at=entry.dropped_at,
        asked_instance=_elsewhere(entry),
        expires=to_microseconds(now) // 1_000_000 + LEDGER_SECONDS,
    )


def _elsewhere(entry: EntryRecord) -> str | None:
    """The instance of the contact where it is not that of the destination, else None."""
    return None if entry.asked_instance == entry.destination.instance_id else entry.asked_instance


def why_original(entry: EntryRecord) -> str:
    """The reason word of the last step to the last rung. Returns "" if the history has forgotten it."""
    reasons = (each.reason for each in reversed(entry.history) if each.event == "original")
    return next(reasons, "")


def was_asked_for(entry: EntryRecord, *, since: datetime) -> bool:
    """Returns whether a person had it delivered since then, and no attempt has begun after that."""
    return any(
        each.event in ("retried", "released", "rerouted")
        and each.at >= since
        and each.attempt == entry.attempts
        for each in entry.history
    )


def told_again(entry: EntryRecord, *, reason: str, detail: str) -> str:
    """The sentence of an entry that waited for too long, with the reason that it had."""
    if entry.detail and entry.reason == reason:
        return entry.detail  # once more, the story is told already
    if not entry.reason:
        return detail
    return f"{detail}; before: {entry.reason}{f': {entry.detail}' if entry.detail else ''}"


def doubt_after(entry: Entry, record: EntryRecord, *, settled: bool) -> int | None:
    """Since when a request is in doubt after this attempt: settled, only an earlier one remains so."""
    if not settled:
        return record.in_doubt_since
    return to_microseconds(entry.in_doubt_since) if entry.in_doubt_since else None
