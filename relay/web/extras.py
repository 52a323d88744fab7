"""The parts of the page that only a sandbox has: transcripts, mails to try, faults to set.

Owns their values and the interface that the page gets them by (`Extras`). Never does I/O. Instants are aware,
in UTC. Words that came from a peer are text, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """An SMTP session in the list of transcripts."""

    session_id: str
    opened_at: datetime
    seconds: float
    #: Address and port of the peer, and its HELO name.
    peer: str
    helo: str
    #: The end in a few words: "1 mail accepted", "refused: 550 5.1.1".
    outcome: str
    #: The entries that came of it.
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptLine:
    """A line of a transcript."""

    #: Since the session was opened.
    seconds: float
    #: "peer" and "relay" are on the wire; "note" tells of TLS, of octets left out, of the end.
    side: Literal["peer", "relay", "note"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """An SMTP session with its lines."""

    session: SessionRow
    lines: tuple[TranscriptLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TryFile:
    """A file of the form."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TryMail:
    """A mail to be sent through the real SMTP door: the files that end in `.eml` as they are, or else one
    mail of the fields with the files attached.
    """

    sender: str
    recipient: str
    subject: str
    body: str
    files: tuple[TryFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The outcome of a mail that was tried."""

    accepted: bool
    #: The last reply of the server, or a sentence on why none came.
    reply: str
    #: The entries that came of it, as far as they are known.
    references: tuple[str, ...] = ()
    #: The session, for its transcript; "" if it is not known.
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that can be set."""

    #: "connect.throttle": the name of the form's field, too.
    name: str
    words: str
    #: A share is from 0 to 1, a switch "on" or "", a number of seconds not negative.
    kind: Literal["share", "switch", "seconds"]
    #: As the form's field has it; "" or "0" where it is not in force.
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFile:
    """A file of a contact as the simulated Connect fetched it."""

    name: str
    #: None where it was not fetched.
    size: int | None
    sha256: str
    state: Literal["available", "processing", "failed"]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node of a fleet that runs in the sandbox."""

    name: str
    #: The address where it takes mail.
    smtp: str
    #: "ended" is an end that nobody asked for.
    life: Literal["starting", "running", "killed", "ended"]
    leads: bool
    #: The numbers of the newest entries that it accepted and delivered.
    accepted: int
    delivered: int
    kills: int
    #: Why it did not come up; "" otherwise.
    trouble: str = ""


#: A change of a node.
NodeChange = Literal["kill", "start"]


class Extras(Protocol):
    """A sandbox as its page sees it."""

    @property
    def has_nodes(self) -> bool:
        """Returns whether it is a fleet of several nodes."""

    async def nodes(self) -> Sequence[NodeRow]:
        """The nodes of the fleet, in their order."""

    async def change_node(self, name: str, change: NodeChange) -> str:
        """Kill a node, or begin to start it. Returns what was done, as a sentence.

        Raises:
            ValueError: there is no such node.
        """

    @property
    def smtp(self) -> str:
        """The address where the daemon listens, as host:port."""

    @property
    def http_url(self) -> str:
        """The address of the page."""

    def recipients(self) -> Sequence[tuple[str, str]]:
        """Addresses to mail to, each with what happens to its mail in words; the first one is delivered."""

    async def transcripts(self) -> Sequence[SessionRow]:
        """The last sessions, newest first."""

    async def transcript(self, session_id: str) -> Transcript | None:
        """The transcript of a session. Returns None if it is not kept any more."""

    async def transcript_of(self, reference: str) -> Transcript | None:
        """The session that an entry came in by. None if it is not there any more."""

    async def try_mail(self, mail: TryMail) -> Tried:
        """Send a mail through the real SMTP door.

        Raises:
            ValueError: a field cannot be sent; the sentence says which and why.
        """

    async def faults(self) -> Sequence[Fault]:
        """The faults, those that are not in force too."""

    async def set_faults(self, values: Mapping[str, str]) -> None:
        """Set faults by name; one that is not named ends.

        Raises:
            ValueError: a value is not right; the sentence says which.
        """

    async def contact_files(self, contact_id: str) -> Sequence[ContactFile]:
        """The files of a contact in the order of its request; empty where there is no such contact."""
