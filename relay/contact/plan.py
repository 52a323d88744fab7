"""The plan of a contact: each piece of a mail and where it goes, and the changes that made it fit.

Owns *plan*, *adaptation* and *rung*. Never does I/O. The limits behind it are those of StartEmailContact
(API reference, and the service model of botocore).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from relay.envelope import Destination, Envelope, SpoolId
from relay.vocabulary import Classification, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """A change that was made so that the mail fits; `code` is from the closed list in
    `contact.adaptations`.
    """

    code: str
    #: One sentence for a person.
    detail: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file on its way to S3: attached to the contact, or only stored and named in the body's note."""

    #: The name that Connect is given: in NFC, without category C, within the limit, unique in the plan.
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
class Segment:
    """A value among the segment attributes: `path` leads to it, through tables where it has several steps."""

    path: tuple[str, ...]
    text: str = ""
    #: None for a text.
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of one contact: every field is within what StartEmailContact takes."""

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
    #: (address, display name) pairs, together within Connect's limit.
    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    #: The attached files in the order of the request, then the stored ones.
    files: tuple[PlannedFile, ...]
    #: The S3 key of the untouched mail; None when it is not stored.
    original_key: str | None
    attributes: Mapping[str, str]
    #: The name that an agent sees of the contact in a list; "" for none. The same of `description`.
    name: str = ""
    description: str = ""
    #: By name: "Type" and "Value", as the request has them.
    references: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    #: What the route's patterns captured, to be stored with the entry; None where none looked.
    captured: Mapping[str, str] | None = None
    contact_flow_id: str | None = None
    related_contact_id: str | None = None
    classification: Classification
    #: The codes of the mail's risks for its reader, each once.
    risks: tuple[str, ...] = ()
    #: The kinds of sensitive words that the mail had ("card"), where its route looks for them.
    sensitive: tuple[str, ...] = ()
    adaptations: tuple[Adaptation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The facts that the fit needs besides the message."""

    spool_id: SpoolId
    envelope: Envelope
    destination: Destination
    #: SPF, DKIM, DMARC and ARC results by attribute name ("relay_spf": "pass"); empty when nothing was
    #: checked.
    results: Mapping[str, str]
    #: Octets of the untouched mail.
    raw_size: int
    #: The test for our own addresses, which are left out of AdditionalRecipients.
    is_ours: Callable[[str], bool] = field(repr=False)
    related_contact_id: str | None = None
    #: Whole seconds from the acceptance of the mail to this request; None in a dry run.
    waited_seconds: int | None = None
    #: What the first attempt captured by the route's patterns; None before it.
    captured: Mapping[str, str] | None = None
    #: The rules for classes and risks that tag a mail which meets them.
    late_tags: tuple[str, ...] = ()
    #: The kinds of sensitive words that the fit has found.
    sensitive: tuple[str, ...] = ()
