"""The values that the page shows, and the interface that it gets them by (`PageView`).

Owns what a status, a row and a mail are for the page. Never does I/O. Instants are aware, in UTC. Words that
came with a mail are text, never markup, and may hold anything; they are bounded where the value says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

from relay.spool.model import State

#: The mails of one page of the list.
ROWS: Final = 100
#: Characters of a search that count.
SEARCH_CHARACTERS: Final = 200
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the status strip, its reasons, and the way to the mails that it counts."""

    number: int
    #: A reason word with its number of mails, the largest first; at most ten.
    reasons: tuple[tuple[str, int], ...] = ()
    #: The mails of the number that have no reason of their own: they wait for their turn, or for a pause.
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status strip: what came, what waits, and how fast it goes."""

    #: Mails accepted today (UTC).
    received: Figure
    #: Entries queued or leased, by the reason of their last deferral.
    waiting: Figure
    held: Figure
    dead: Figure
    #: Entries that are contacts; None if the spool cannot count them.
    done: Figure | None
    #: Transactions refused today (UTC), by reason. They are in no list: nothing of them is stored.
    refused: Figure
    #: Age of the oldest entry that is queued, leased or held; None if there is none.
    oldest_seconds: float | None
    #: Contacts a second over the last minute, and the sum of the quotas of the configured instances.
    pace: float
    quota: float
    #: Sentences that a person should read: pauses, held routes, a full disk, a doubted clock, no daemon.
    notices: tuple[str, ...] = ()
    #: The nodes of a fleet by their names, each with words on how it fares; none where one machine has all.
    nodes: tuple[tuple[str, str], ...] = ()
    #: The day that is meant by today; None where the list cannot be asked for it.
    today: date | None = None


class Verdict(StrEnum):
    """The kinds of results that the list can be filtered by."""

    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    ARC = "arc"
    SPAM = "spam"
    VIRUS = "virus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The rows that are asked for; an empty field means any."""

    #: Words of subject, author, sender, recipient, or an id; at most `SEARCH_CHARACTERS`.
    text: str = ""
    #: As an operator sees them: `Entry.shown_state`.
    states: tuple[State, ...] = ()
    route: str = ""
    #: A tenant of the configuration: its routes alone.
    tenant: str = ""
    #: The beginning of a reason word.
    reason: str = ""
    #: A word of `relay.vocabulary.Classification`.
    classification: str = ""
    #: A kind of result with its word, such as ("dmarc", "fail").
    verdicts: tuple[tuple[Verdict, str], ...] = ()
    #: A code of docs/risk.md.
    risk: str = ""
    #: The first day of acceptance, in UTC.
    since: date | None = None
    #: `RowPage.more` of the page before; "" for the newest.
    before: str = ""
    limit: int = ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry in the list."""

    #: `Entry.reference`.
    reference: str
    accepted_at: datetime
    state: State
    #: The reason word and its sentence; "" without.
    reason: str
    detail: str
    #: At most 200 characters each; "" where the mail has none.
    subject: str
    author_name: str
    author: str
    #: The reverse-path; "" for the null one.
    sender: str
    #: The destination address at Connect.
    recipient: str
    route: str
    #: "" before the mail was understood.
    classification: str
    #: Results by kind.
    verdicts: Mapping[str, str]
    #: Codes of docs/risk.md.
    risks: tuple[str, ...]
    #: Numbers of adaptations and of files.
    adapted: int
    files: int
    size: int
    contact_id: str | None
    #: In a fleet the node that accepted the mail, and the one that delivered it or tried to last; else "".
    accepted_by: str = ""
    delivered_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPage:
    """The newest rows that fit, newest accepted first."""

    rows: tuple[Row, ...]
    #: Continues the list as `Query.before`; "" at its end. A page that ran out of time has fewer rows, or
    #: none, and goes on all the same.
    more: str = ""
    #: What was left out of the search, as a sentence: "Of the mails that wait for their first attempt, the
    #: newest 5,000 were searched."; "" if nothing was.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a mail, sent to Connect or kept."""

    #: Its place in `MailView.files`, by which it is asked for.
    number: int
    name: str
    content_type: str
    size: int
    sha256: str
    #: True if the contact has it; else `why` says in words what became of it.
    sent: bool
    why: str = ""
    #: Without its brackets; HTML shows a picture by it (RFC 2392). "" without.
    content_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A MIME part in the tree of the original."""

    content_type: str
    #: Octets, decoded; of a multipart those of its parts together.
    size: int
    name: str = ""
    disposition: str = ""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A step of the timeline, from the connection to the contact."""

    at: datetime
    #: "accepted", or the word of `Event.event`.
    event: str
    #: In words, with the reason.
    words: str
    #: Since the step before; 0.0 for the first.
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One verdict with its reason."""

    kind: str
    word: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The words of a mail; given only where the page may show content."""

    #: As the agent sees it: `text/plain` or `text/html`.
    content_type: str
    body: str
    #: The text beside HTML; "" without.
    text: str
    #: Header fields of the original in their order, unfolded and decoded.
    headers: tuple[tuple[str, str], ...]
    tree: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class MailView:
    """One entry opened."""

    row: Row
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    #: The forward-paths that led to the destination.
    forward_paths: tuple[str, ...] = ()
    #: The peer: address, HELO name, TLS.
    peer: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    results: tuple[Result, ...] = ()
    #: Adaptations: the words of each, then its code.
    adaptations: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    #: The request without its URLs, as sent; the body may be cut. Where the page may not show content, it is
    #: withheld, and so is all other text of the mail. None before the first one.
    request: Mapping[str, Any] | None = None
    timeline: tuple[Moment, ...] = ()
    #: The pauses for which a mail waits, as sentences.
    stops: tuple[str, ...] = ()
    #: Other entries of the same thread or of the same mail, newest first; at most 20.
    related: tuple[Row, ...] = ()
    #: None where the page may not show content, or the raw mail is gone; `no_content` says which.
    content: Content | None = None
    no_content: str = ""


#: The changes that the page offers, as the commands do.
Action = Literal["retry", "hold", "release", "drop"]


#: The parts of an entry that somebody reads.
ReadPart = Literal["mail", "original", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """The outcome of a change by the page."""

    changed: tuple[str, ...]
    #: Each entry that was left, with the reason in words.
    left: tuple[tuple[str, str], ...] = ()


class PageView(Protocol):
    """The spool as the page sees it. Each call works in a thread where it blocks, and is bounded in time.

    Raises (each call):
        SpoolError: the spool cannot be read now.
    """

    async def status(self) -> Status:
        """The status strip."""

    async def list(self, query: Query) -> RowPage:
        """The rows that fit."""

    async def routes(self) -> Sequence[str]:
        """The names of routes for the filter."""

    async def mail(self, reference: str, *, content: bool) -> MailView | None:
        """One entry with all that is known of it; its words only with `content`. None if it is not there."""

    async def original(self, reference: str) -> bytes | None:
        """The raw mail as received, with our trace header. None if it is not there any more."""

    async def file(self, reference: str, number: int) -> tuple[File, bytes] | None:
        """One file of the original, decoded. None if it is not there."""

    async def note_reading(self, reference: str, part: ReadPart, *, reader: str) -> None:
        """Record in the audit that somebody reads words of this entry; asked before they are given, and once
        for some minutes of the same person, entry and part.

        Raises:
            SpoolError: it is not on the disk; the words must not be given, then.
        """

    async def wait(self, seen: str) -> str:
        """Wait until the spool differs from what the mark `seen` stands for ("" for now), at most 15 seconds.
        Returns the present mark.
        """

    async def act(self, action: Action, references: Sequence[str], *, actor: str, reason: str) -> Acted:
        """Change entries as the command of that name does, and record who did it."""
