"""One entry opened: all that is known of a mail without looking into it.

Owns the words of its results, its files, its changes and its timeline. Never reads the mail itself but for
the header of one without an outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from relay.contact.adaptations import AdaptationCode
from relay.contact.risk.codes import RiskCode
from relay.spool.desk import Desk
from relay.spool.model import Entry, Event, State
from relay.spool.page import EntryQuery, Listed, split_words
from relay.web.documents import Document, parse_document
from relay.web.rows import build_row
from relay.web.status import list_stops
from relay.web.view import MailView, Moment, Result, Row

#: Other entries of the mail and of its thread.
_RELATED = 20
#: Seconds for the search for mail that names it.
_RELATED_SECONDS = 0.1
#: The kinds of results in the order in which a person asks for them, as attributes of a contact name them.
_KINDS = (
    "identity",
    "spf",
    "dkim",
    "dmarc",
    "arc",
    "iprev",
    "dnsbl",
    "upstream",
    "virus",
    "spam",
    "policy",
    "lists",
    "hop",
)
_SENTENCES: dict[str, str] = {str(code): code.sentence for code in AdaptationCode}
_RISKS: dict[str, str] = {str(code): code.sentence for code in RiskCode}
_EVENTS = {
    "deferred": "Put off",
    "held": "Held for a person",
    "dead": "Given up",
    "done": "Done",
    "released": "Released by a person",
    "retried": "Made due by a person",
    "rerouted": "Given another route by a person",
    "refused": "Connect refused this form of the mail",
    "original": "Goes out as its original, a file beside a short text",
    "interrupted": "The attempt was cut off by a stop",
    "cut_short": "The deliverer ended while it delivered this mail",
    "hung": "The deliverer hung while it delivered this mail",
}


def read_mail(desk: Desk, reference: str) -> tuple[Listed, MailView] | None:
    """The entry of this reference, as it is listed and opened. Returns None if it is not there. Blocks."""
    found = desk.listed([reference])
    if not found:
        return None
    listed, document = found[0], parse_document(found[0].shown)
    entry = listed.entry
    view = MailView(
        row=build_row(listed, document),
        forward_paths=entry.destination.forward_paths,
        peer=_describe_peer(entry),
        request=document.request,
        timeline=tuple(_list_moments(entry, desk.history(entry))),
        stops=tuple(_list_stops(desk, entry)),
        related=_find_related(desk, listed, document),
    )
    return listed, add_document(replace(view, results=tuple(_list_results(entry.results))), document)


def add_document(view: MailView, document: Document) -> MailView:
    """The mail with what a document says of it."""
    row = replace(
        view.row,
        classification=document.classification or view.row.classification,
        risks=tuple(dict.fromkeys(code for code, _ in document.risks)),
        adapted=document.adaptation_count,
        files=document.file_count,
    )
    risks = (
        Result(kind="risk", word=code, reason=detail or _RISKS.get(code, ""))
        for code, detail in document.risks
    )
    return replace(
        view,
        row=row,
        to=document.to,
        cc=document.cc,
        results=(*view.results, *risks),
        adaptations=tuple((_tell(code, words), code) for code, words in document.adaptations),
        files=document.files,
    )


def _list_stops(desk: Desk, entry: Entry) -> Iterator[str]:
    if entry.state is State.QUEUED:
        yield from list_stops(desk.paused(), entry.destination.route)


def _describe_peer(entry: Entry) -> Mapping[str, str]:
    peer = entry.envelope.peer
    known = {
        "address": peer.address,
        "helo": peer.helo,
        "protocol": peer.protocol,
        "tls": peer.tls,
        "login": peer.login,
        "listener": peer.listener,
        "front_end": peer.front_end,
    }
    return {name: value for name, value in known.items() if value}


def _list_results(results: Mapping[str, str]) -> Iterator[Result]:
    for kind in _KINDS:
        word, detail = results.get(f"relay_{kind}", ""), results.get(f"relay_{kind}_detail", "")
        if word or detail:
            yield Result(kind=kind, word=word, reason=detail)


def _tell(code: str, words: str) -> str:
    """The sentence of an adaptation: that of this mail, else that of its code."""
    if words:
        return words
    return _SENTENCES.get(code, code)


def _list_moments(entry: Entry, events: Sequence[Event]) -> Iterator[Moment]:
    """Give the steps from the connection to the contact."""
    before = entry.envelope.received_at
    peer = entry.envelope.peer.address
    yield Moment(at=before, event="connected", words=f"Received from {peer}", seconds=0.0)
    before = _later(before, entry.accepted_at)
    yield Moment(
        at=entry.accepted_at,
        event="accepted",
        words=f"Accepted as {entry.spool_id} for {entry.destination.address}",
        seconds=max((entry.accepted_at - entry.envelope.received_at).total_seconds(), 0.0),
    )
    for event in events:
        yield Moment(
            at=event.at,
            event=event.event,
            words=_tell_event(entry, event),
            seconds=max((event.at - before).total_seconds(), 0.0),
        )
        before = _later(before, event.at)


def _later(one: datetime, other: datetime) -> datetime:
    return max(one, other)


def _tell_event(entry: Entry, event: Event) -> str:
    words = _EVENTS.get(event.event, event.event)
    if event.event == "done" and entry.contact_id:
        words = f"Became the contact {entry.contact_id}"
    attempt = f" (attempt {event.attempt})" if event.attempt else ""
    why = ": ".join(part for part in (event.reason, event.detail) if part)
    return f"{words}{attempt}: {why}" if why else f"{words}{attempt}"


def _find_related(desk: Desk, listed: Listed, document: Document) -> tuple[Row, ...]:
    """Other entries of the mail and of its thread, newest first: mail that it names, mail that names it, and
    the contact that it answers.
    """
    entry = listed.entry
    own = [entry.message_id] if entry.message_id else []
    found = [
        *desk.listed([entry.spool_id]),
        *desk.thread([*document.thread, *own], contact_id=document.related, limit=_RELATED),
    ]
    for word in own:
        query = EntryQuery(words=split_words(word), limit=_RELATED, seconds=_RELATED_SECONDS)
        found += desk.page(query).rows
    rows = {one.entry.reference: one for one in found if one.entry.reference != entry.reference}
    newest = sorted(rows.values(), key=lambda one: (one.entry.accepted_at, one.entry.reference), reverse=True)
    return tuple(build_row(one, parse_document(one.shown)) for one in newest[:_RELATED])
