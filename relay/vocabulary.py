"""The closed vocabularies that several rooms share: replies, dispositions, classes of mail, rungs, alarms.

Owns the words *reply*, *disposition*, *classification*, *rung*, *cause* and *alarm kind*. Never does I/O.
Follows RFC 5321 §4.2 (replies) and RFC 3463 (enhanced status codes).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

#: The reason for taking no more sessions, as `/readyz` shows it; the supervisor recognises it by these words.
PLACES_TAKEN = "all places for sessions are taken (limits.connections)"


class Reply(NamedTuple):
    """One SMTP reply; the class digit of the enhanced code comes from `code`, so the two cannot disagree."""

    #: Three digits, RFC 5321 §4.2.1.
    code: int
    #: "subject.detail" of RFC 3463, without the class; empty where none is allowed (220, 250 to EHLO, 334,
    #: 354).
    status: str
    #: Short and generic ASCII for the peer: never a path, bucket, ARN or exception text.
    text: str

    @property
    def enhanced(self) -> str:
        """The whole enhanced status code, as in "5.1.1", or the empty string."""
        return f"{self.code // 100}.{self.status}" if self.status else ""

    @property
    def positive(self) -> bool:
        """Returns whether the reply is 2yz or 3yz."""
        return self.code < 400

    def __str__(self) -> str:
        code, status, text = self
        return f"{code} {code // 100}.{status} {text}" if status else f"{code} {text}"


class Disposition(StrEnum):
    """The decision over a mail before the reply to DATA."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"


class Classification(StrEnum):
    """The class of a mail's writer, a person or a kind of program (RFC 3834 and the habits of the field)."""

    HUMAN = "human"
    AUTO_REPLY = "auto-reply"
    BOUNCE = "bounce"
    LIST = "list"
    BULK = "bulk"


class Rung(StrEnum):
    """The ladder: the forms in which a mail is tried in turn when Connect refuses a payload."""

    FULL = "full"
    #: Everything but the attachments that the refusal named, or but all of them when it named none.
    TRIMMED = "trimmed"
    #: Plain text, no attachments, few headers: nothing that can be refused.
    TEXT = "text"
    #: The mail without being understood: the words of its head, and all of it as a file (`contact.original`).
    ORIGINAL = "original"

    @property
    def is_plain(self) -> bool:
        """Returns whether the rung sends plain words only: no invisible characters or unusual addresses, few
        attributes.
        """
        return self in (Rung.TEXT, Rung.ORIGINAL)


class Cause(StrEnum):
    """The cause for which a mail goes out at the rung `original`."""

    #: Connect refused every other form.
    REFUSED = "refused"
    EXCEPTION = "exception"
    CRASH = "crash"
    LIMIT = "limit"
    #: Our own check of the request refused every other form.
    CHECK = "check"
    #: The mail was at that rung before, and the cause was not stored.
    UNKNOWN = "unknown"

    @property
    def is_fault(self) -> bool:
        """Returns whether the relay is to blame; such a mail raises an alarm."""
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
    """The kinds of alarm, each a reason to call a person."""

    #: Mail was given up, and waits for a person.
    DEAD_LETTERS = "dead_letters"
    #: Mail is held by something else than a rule of the policy, and waits for a person.
    HELD = "held"
    #: Mail is held by a rule of the operator's own, and waits for a person.
    POLICY_HELD = "policy_held"
    #: Mail of a route waits because its configuration is wrong: one alarm for each route.
    ROUTE_HELD = "route_held"
    #: Mail defeated the relay itself and went out as its original.
    NOT_UNDERSTOOD = "not_understood"
    #: A service is away for everyone: one alarm for each of "s3", "connect" and "credentials".
    SERVICE_AWAY = "service_away"
    #: Connect takes the contacts of a route only without what its templates made: one alarm for each route.
    TEMPLATE_REFUSED = "template_refused"
    #: A route leads to an address that its instance does not have: one alarm for each address.
    ADDRESS_MISSING = "address_missing"
    #: The oldest mail waits for longer than `alarms.oldest_minutes`.
    OLDEST = "oldest"
    #: The wall clock made a step of more than an hour, or the machine was off for so long.
    CLOCK = "clock"
    #: The spool cannot be read or written.
    SPOOL_SICK = "spool_sick"
    #: The disk is full: mail goes out, and none comes in.
    DISK_FULL = "disk_full"
    #: The log of the database grows, because somebody keeps reading the database as it was.
    LOG_LARGE = "log_large"
    #: New peers find no free place for a session; the supervisor raises it.
    SESSIONS_FULL = "sessions_full"
    #: No DNS server answers a receiver, so that nobody's mail can be verified; the supervisor raises it.
    DNS_AWAY = "dns_away"
    #: A scanner gives a receiver no answers: one alarm for each of "clamd" and "rspamd", by the supervisor.
    SCANNER_AWAY = "scanner_away"
    #: No node of a fleet has delivered for five leases; the supervisor of each node raises it.
    DELIVERER_SILENT = "deliverer_silent"
    #: A receiver or the deliverer hung, and was ended: one alarm for each of them.
    HUNG = "hung"
    #: Nothing is wrong: `relay alarms test` or `relay check --alarm` tries the receivers.
    TEST = "test"
