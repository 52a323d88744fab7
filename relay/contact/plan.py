"""The plan of a contact: what of a mail goes where, and what was changed so that it fits.

Owns *plan*, *adaptation* and *rung*. Never does I/O. The limits behind it are those of StartEmailContact
(API reference, and the service model of botocore).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from relay.envelope import Destination, Envelope, SpoolId
from relay.verdict import Classification


class Rung(StrEnum):
    """The ladder: what is tried in turn when Connect refuses a payload (design §7)."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """One thing that was changed so that the mail fits; `code` is from the closed list in `contact.adaptations`."""

    code: str
    #: One sentence for a person.
    detail: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file on its way to S3: attached to the contact, or only stored and named in the body's note."""

    #: The name that Connect is given: NFC, no category C, 1 to 256 characters, unique in the plan.
    name: str
    content_type: str
    size: int
    sha256: str
    #: Whole S3 key: `<prefix><spool id>/<n>`, ASCII, never the file name.
    key: str
    #: True: in the request's Attachments. False: stored in S3 and named in the note.
    attached: bool
    #: The octets, in chunks of at most 1 MiB; each call begins anew.
    chunks: Callable[[], Iterator[bytes]] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One contact to be: every field already within what StartEmailContact takes."""

    rung: Rung
    instance_id: str
    destination: str
    from_address: str
    from_name: str
    subject: str
    body: str
    #: "text/plain" or "text/html".
    content_type: str
    #: Keys among REFERENCES, MESSAGE_ID, IN_REPLY_TO, X_SES_SPAM_VERDICT, X_SES_VIRUS_VERDICT.
    headers: Mapping[str, str]
    #: (address, display name) pairs; at most 49 together.
    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    #: Attached first, in the order of the request, then stored.
    files: tuple[PlannedFile, ...]
    #: Whether the untouched .eml goes to S3 too, and its key.
    original_key: str | None
    attributes: Mapping[str, str]
    contact_flow_id: str | None = None
    related_contact_id: str | None = None
    classification: Classification
    adaptations: tuple[Adaptation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the fit must know besides the message."""

    spool_id: SpoolId
    envelope: Envelope
    destination: Destination
    #: SPF, DKIM, DMARC and ARC results by attribute name ("relay_spf": "pass"); empty when nothing was checked.
    results: Mapping[str, str]
    #: Octets of the untouched mail.
    raw_size: int
    #: Whether an address is one of ours: such are left out of AdditionalRecipients.
    is_ours: Callable[[str], bool] = field(repr=False)
    related_contact_id: str | None = None
