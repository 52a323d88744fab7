"""The message: a mail understood as one frozen value that holds all of it.

Owns *message*, *part* and *mailbox*. Never does I/O beyond reading the octets it was given. Follows
RFC 5322 and RFC 2045-2049; the words are those of the RFCs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

#: Octets of a part that are kept to show what it is.
PART_FRONT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One address of a header field, decoded, without control characters; it need not be valid."""

    #: addr-spec as written: local-part@domain where the header had one, else whatever stood there.
    address: str
    #: Decoded display name, "" when there is none.
    name: str = ""


class Defect(StrEnum):
    """A defect of the mail as sent; each was repaired as far as possible."""

    HEADER_TOO_LONG = "header.too_long"
    HEADER_MALFORMED = "header.malformed"
    ENCODED_WORD = "header.encoded_word"
    BOUNDARY_MISSING = "mime.boundary_missing"
    CLOSING_BOUNDARY_MISSING = "mime.closing_boundary_missing"
    TOO_DEEP = "mime.too_deep"
    TOO_MANY_PARTS = "mime.too_many_parts"
    TRANSFER_ENCODING = "mime.transfer_encoding"
    CHARSET = "mime.charset"
    TNEF = "tnef.malformed"
    BODY_TOO_LONG = "body.too_long"
    OVER_BUDGET = "parse.over_budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A leaf of the tree: a body or an attachment, its content decoded on demand and in chunks."""

    #: Position in the message, depth first: (0,) the first child, (1, 0) the first of the second's.
    path: tuple[int, ...]
    #: Declared, lower case, without parameters; "application/octet-stream" when malformed (RFC 2045 §5.2).
    content_type: str
    #: The type that the first octets show; None when they are unknown.
    detected_type: str | None = None
    #: Decoded file name as sent (RFC 2231, 2047), one line; None when it has none.
    name: str | None = None
    #: "inline", "attachment" or "" when the part does not say.
    content_disposition: str = ""
    #: Without the angle brackets; None when absent.
    content_id: str | None = None
    #: Content-Location as sent, one line (RFC 2557 §4.2); None when absent.
    content_location: str | None = None
    #: As declared, lower case; None when absent.
    charset: str | None = None
    #: Octets after decoding.
    size: int
    #: Lower-case hexadecimal, of the decoded octets.
    sha256: str
    #: The container that the part was found in: "tnef", "uuencode", "smime"; "" for the mail's own MIME tree.
    origin: str = ""
    #: The first decoded octets, at most 256, so that a look at a file decodes nothing again; b"" where
    #: they were not kept.
    front: bytes = field(default=b"", repr=False, compare=False)
    #: The decoded octets, in chunks of at most 1 MiB; each call begins anew.
    chunks: Callable[[], Iterator[bytes]] = field(repr=False, compare=False)

    def look(self) -> bytes:
        """The first decoded octets, 256 of them if there are as many."""
        return self.front or next(iter(self.chunks()), b"")[:PART_FRONT]

    def read(self) -> bytes:
        """All decoded octets at once; for parts known to be small."""
        return b"".join(self.chunks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A message inside the message (message/rfc822, message/global), understood as a mail of its own."""

    path: tuple[int, ...]
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole mail, understood as far as it can be.

    Every header value here is one line, without control characters or lone surrogates. `parts` holds every
    leaf in order, except what stands inside an embedded message; `bodies` are those of them that make up
    `text` and `html`, and `attachments` all the others, named or not, inline or not, at any depth (an
    attached message counts there as one leaf, its octets undecoded, and in `embedded` once more, understood).
    """

    subject: str = ""
    author: tuple[Mailbox, ...] = ()
    sender: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    #: With angle brackets, as sent; None when absent or empty.
    message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    #: Aware; None when absent or unreadable.
    date: datetime | None = None
    #: All header fields in order: (name as sent, unfolded and decoded value).
    headers: tuple[tuple[str, str], ...] = ()
    #: The mail's own text, "" when it has none; lines end in LF.
    text: str = ""
    #: The mail's own HTML, "" when it has none.
    html: str = ""
    parts: tuple[Part, ...] = ()
    bodies: tuple[Part, ...] = ()
    #: Bodies of text that are no alternative to any HTML (a list's footer, words after a picture), so that a
    #: reader of `html` alone misses them; empty when there is no HTML. `lone_htmls` is the reverse.
    lone_texts: tuple[Part, ...] = ()
    lone_htmls: tuple[Part, ...] = ()
    attachments: tuple[Part, ...] = ()
    #: Those of the attachments that are members of an alternative whose other members are the bodies (AMP,
    #: text for watches): they say what the bodies say.
    unchosen: tuple[Part, ...] = ()
    embedded: tuple[Embedded, ...] = ()
    defects: tuple[Defect, ...] = ()
    #: The first value of each header field by lower-case name, because the classifier asks for forty.
    _first: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the header fields once."""
        first = {name.lower(): value for name, value in reversed(self.headers)}
        object.__setattr__(self, "_first", first)

    def header(self, name: str) -> str | None:
        """The first value of a header field, whatever its case. Returns None when the field is absent."""
        return self._first.get(name.lower())

    def has_any(self, names: Collection[str]) -> bool:
        """Returns whether the mail has any header field of these lower-case names."""
        return not self._first.keys().isdisjoint(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """The bounds of understanding; beyond them the rest of a mail is taken as it stands."""

    depth: int = 50
    parts: int = 1_000
    header_bytes: int = 1 << 20
    #: Octets of body parts that become `text` and `html`, together, three times what Connect takes; beyond
    #: them the two are cut (BODY_TOO_LONG), and the parts in `bodies` still hold everything.
    body_bytes: int = 16 << 20
    #: Seconds on the clock for the whole mail; after them the rest of the mail is one part, undecoded.
    budget_seconds: float = 10.0
