"""The closed vocabularies that several rooms share: replies, dispositions, classes of mail, rungs, alarms.

Owns the words *reply*, *disposition*, *classification*, *rung*, *cause* and *alarm kind*. Never does I/O. Follows RFC 5321 §4.2 (replies) and
RFC 3463 (enhanced status codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Why a receiver takes no more sessions, as `/readyz` has it; the supervisor knows it by this.
PLACES_TAKEN = "all places for sessions are taken (limits.connections)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One SMTP reply; the class digit of the enhanced code comes from `code`, so the two cannot disagree."""

    #: Three digits, RFC 5321 §4.2.1.
    code: int
    #: "subject.detail" of RFC 3463, without the class; empty where none is allowed (220, 250 to HELO/EHLO, 334, 354).
    status: str
    #: Short and generic, ASCII, for the peer's eyes: never a path, bucket, ARN or exception text.
    text: str

    @property
    def enhanced(self) -> str:
        """The whole enhanced status code, as in "5.1.1", or the empty string."""
        return f"{self.code // 100}.{self.status}" if self.status else ""

    @property
    def positive(self) -> bool:
        """Whether the peer was told yes."""
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.status else f"{self.code} {self.text}"


class Disposition(StrEnum):
    """What becomes of a mail at the door."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"


class Classification(StrEnum):
    """Who, or what, wrote a mail (RFC 3834 and the habits of the field)."""

    HUMAN = "human"
    AUTO_REPLY = "auto-reply"
    BOUNCE = "bounce"
    LIST = "list"
    BULK = "bulk"


class Rung(StrEnum):
    """The ladder: what is tried in turn when Connect refuses a payload."""

    FULL = "full"
    #: Without the attachments that the refusal named, or without any when it named none.
    TRIMMED = "trimmed"
    #: Plain text, no attachments, few headers: nothing that can be refused.
    TEXT = "text"
    #: The mail not understood: what its head shows, and all of it as a file (`contact.original`).
    ORIGINAL = "original"

    @property
    def is_plain(self) -> bool:
        """Whether only plain words go: no invisible characters, no unusual addresses, few attributes."""
        return self in (Rung.TEXT, Rung.ORIGINAL)


class Cause(StrEnum):
    """Why a mail goes out at the rung `original`."""

    #: By Connect, in every other form.
    REFUSED = "refused"
    EXCEPTION = "exception"
    CRASH = "crash"
    LIMIT = "limit"
    #: By our own look at the request, in every other form.
    CHECK = "check"
    #: It was at that rung before, and why is forgotten.
    UNKNOWN = "unknown"

    @property
    def is_fault(self) -> bool:
        """Whether the relay is to blame: such a mail raises an alarm."""
        return self not in (Cause.REFUSED, Cause.UNKNOWN)

    @property
    def sentence(self) -> str:
        """The cause in words for the agent."""
        return _CAUSES[self]


_CAUSES = {
    Cause.REFUSED: "Amazon Connect did not take it in any other form.",
    Cause.EXCEPTION: "the relay failed to understand it.",
    Cause.CRASH: "the relay broke down when it tried to understand it.",
    Cause.LIMIT: "to understand it took more time or memory than one mail may have.",
    Cause.CHECK: "the relay could not bring it into a form that Amazon Connect takes.",
    Cause.UNKNOWN: "it was not understood before.",
}


class AlarmKind(StrEnum):
    """What a person is woken for."""

    #: Mail was given up; a person must look at it.
    DEAD_LETTERS = "dead_letters"
    #: Mail waits for a person.
    HELD = "held"
    #: Mail of a route waits because its configuration is wrong: one alarm for each route.
    ROUTE_HELD = "route_held"
    #: Mail defeated the relay itself and went out as its original.
    NOT_UNDERSTOOD = "not_understood"
    #: A service is away for everyone: one alarm for each of "s3", "connect" and "credentials".
    SERVICE_AWAY = "service_away"
    #: The oldest mail waits for longer than `alarms.oldest_minutes`.
    OLDEST = "oldest"
    #: The spool cannot be read or written.
    SPOOL_SICK = "spool_sick"
    #: The disk is full: mail goes out, and none comes in.
    DISK_FULL = "disk_full"
    #: Newcomers find no free place for a session: told by the supervisor.
    SESSIONS_FULL = "sessions_full"
    #: A receiver or the deliverer hung, and was ended: one alarm for each of them.
    HUNG = "hung"
