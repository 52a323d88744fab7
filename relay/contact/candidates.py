"""The candidates of a mail: everything that could become a file beside its contact, each with a number of its
own.

Owns the walk over a message's attachments and what can be made of them, and the S3 keys. Never chooses, never
does I/O. The numbers depend on the message alone: a mail that goes to two destinations under two routes
stores the same octets under the same key for both, and so does every retry at every rung.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from relay.contact.characters import clean_text, is_blank
from relay.contact.embedded import render_message
from relay.contact.html_text import Effort, make_text
from relay.contact.names import EXTENSION_OF_TYPE, clean_name, get_extension
from relay.contact.promotion import is_page, read_words
from relay.message.markup import uncover
from relay.message.model import Defect, Embedded, Message, Part
from relay.message.octets import cut_octets, slices
from relay.message.sniff import measure_picture

#: Origins of leaves whose container holds nothing else (a text with uuencode holds words as well).
_OPENED = frozenset({"tnef", "smime"})


#: RFC 8551 §3.5.3, RFC 3156 §5.
_SIGNATURES = frozenset({
    "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature",
})  # fmt: skip
#: The names of detached signatures, which gateways leave when they change the type.
_SIGNATURE_NAME = re.compile(
    r"(?:smime(?:-\d+)?\.p7s|(?:openpgp_)?signature(?:-\d+)?\.(?:asc|sig|pgp))", re.IGNORECASE
)
#: Octets of a picture of one pixel, with room for what programs add.
_PIXEL_BYTES = 4_096

#: File names for parts that programs send without a name.
_NAMES = {
    "message/delivery-status": "delivery-status.txt",
    "message/disposition-notification": "read-receipt.txt",
    "message/feedback-report": "feedback-report.txt",
    "text/rfc822-headers": "headers.txt",
    "text/calendar": "invite.ics",
}


class Role(StrEnum):
    """The role of a candidate in its mail."""

    ATTACHMENT = "attachment"
    #: An attached message as it came; `RENDERED` follows it, then the files `LIFTED` out of it.
    MESSAGE = "message"
    RENDERED = "rendered"
    #: A file of HTML; `RENDERED` follows it.
    PAGE = "page"
    #: What tells an agent nothing: see `_is_noise`.
    NOISE = "noise"
    LIFTED = "lifted"
    #: A container that was opened; its files stand beside it.
    CONTAINER = "container"
    #: The whole text, or the whole HTML, of a mail whose contact does not hold it.
    TEXT = "text"
    HTML = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file that could go with the contact, or be stored."""

    #: The last piece of its S3 key.
    number: int
    role: Role
    #: The name as sent, or as made by us; "" when there is none.
    name: str
    content_type: str
    detected_type: str | None = None
    size: int
    sha256: str
    #: The leaf of the mail; None when we made the file.
    part: Part | None = None
    #: The number of the attached message that held the file; None for the mail's own.
    parent: int | None = None
    chunks: Callable[[], Iterator[bytes]] = field(repr=False, compare=False)

    @property
    def is_inside(self) -> bool:
        """Returns whether another candidate, a message or a container, holds the octets of this one."""
        return self.parent is not None or (self.part is not None and self.part.origin in _OPENED)


def collect_candidates(message: Message) -> tuple[Candidate, ...]:
    """All candidates of a mail, except its bodies, numbered from 1 in its order."""
    found: list[Candidate] = []
    _collect(message, found, Effort(), parent=None)
    return tuple(found)


def collect_bodies(
    message: Message, roles: tuple[Role, ...], *, count: int, most_bytes: int
) -> tuple[Candidate, ...]:
    """The bodies that a contact does not hold whole, as files; the mail has `count` other candidates.

    Each file is the text as decoded, in UTF-8. Where the parser cut that text, or in UTF-8 it has more than
    `most_bytes`, the parts themselves are the files.
    """
    made = {
        Role.TEXT: lambda: _make(count + 1, Role.TEXT, "message.txt", message.text),
        Role.HTML: lambda: _make(count + 2, Role.HTML, "message.html", message.html),
    }
    if Defect.BODY_TOO_LONG not in message.defects:
        files = tuple(made[role]() for role in roles)
        if sum(file.size for file in files) <= most_bytes:
            return files
    if not roles:
        return ()
    return tuple(
        _take(part, count + 3 + index, Role.TEXT, name="", parent=None)
        for index, part in enumerate(message.bodies)
    )


def _collect(message: Message, found: list[Candidate], effort: Effort, *, parent: int | None) -> None:
    inner = {one.path: one for one in message.embedded}
    # Files found in a leaf lie below its path, at any depth.
    opened = {
        part.path[:depth]
        for part in message.parts
        if part.origin in _OPENED
        for depth in range(len(part.path))
    }
    role = Role.ATTACHMENT if parent is None else Role.LIFTED
    unchosen = {id(part) for part in message.unchosen}
    for part in message.attachments:
        embedded = inner.pop(part.path, None)
        number = len(found) + 1
        name = _title(embedded, "eml") if embedded else ""
        page = "" if embedded else _page_text(part, effort)
        kind = Role.CONTAINER if part.path in opened and not part.origin else Role.PAGE if page else role
        if not embedded and (id(part) in unchosen or _is_noise(part)):
            kind = Role.NOISE
        found.append(_take(part, number, Role.MESSAGE if embedded else kind, name=name, parent=parent))
        if kind is Role.PAGE:
            stem = (part.name or "page").rpartition(".")[0] or "page"
            found.append(_make(number + 1, Role.RENDERED, f"{stem}.txt", page, parent=number))
        elif embedded:
            text = render_message(embedded.message, effort)
            found.append(_make(number + 1, Role.RENDERED, _title(embedded, "txt"), text, parent=number))
            _collect(embedded.message, found, effort, parent=number)


def _page_text(part: Part, effort: Effort) -> str:
    """The text of a file of HTML; "" where it is none, or shows none."""
    if not is_page(part) or effort.spent:
        return ""
    text = make_text(uncover(read_words(part, detecting=False)[0]), effort)
    return "" if is_blank(text) else text + "\n"


def _is_noise(part: Part) -> bool:
    """Returns whether a part is a detached signature, or a picture of one pixel that counts readers."""
    if part.content_type in _SIGNATURES or _SIGNATURE_NAME.fullmatch(part.name or "") is not None:
        return True
    if not (0 < part.size <= _PIXEL_BYTES):
        return False
    return measure_picture(part.read()) in {(0, 0), (0, 1), (1, 0), (1, 1)}


def _take(part: Part, number: int, role: Role, *, name: str, parent: int | None) -> Candidate:
    """The candidate of a leaf; `name` is for one that came without."""
    return Candidate(
        number=number,
        role=role,
        name=part.name or name,
        content_type=part.content_type,
        detected_type=part.detected_type,
        size=part.size,
        sha256=part.sha256,
        part=part,
        parent=parent,
        chunks=part.chunks,
    )


def _title(embedded: Embedded, extension: str) -> str:
    """The name of an attached message: its subject, since most come without a name."""
    subject = clean_name(embedded.message.subject[:120]) or "message"
    return f"{subject}.{extension}"


def _make(number: int, role: Role, name: str, text: str, *, parent: int | None = None) -> Candidate:
    octets = b"".join(piece.encode("utf-8") for piece in slices(clean_text(text)))
    return Candidate(
        number=number,
        role=role,
        name=name,
        content_type="text/html" if role is Role.HTML else "text/plain",
        size=len(octets),
        sha256=hashlib.sha256(octets).hexdigest(),
        parent=parent,
        chunks=partial(cut_octets, octets),
    )


def default_name(candidate: Candidate) -> str:
    """The name of a file that came without one, its extension by its type."""
    kind = candidate.detected_type or candidate.content_type
    if candidate.content_type in _NAMES:
        return _NAMES[candidate.content_type]
    extension = EXTENSION_OF_TYPE.get(kind) or EXTENSION_OF_TYPE.get(candidate.content_type) or "bin"
    return f"image.{extension}" if kind.startswith("image/") else f"attachment.{extension}"


def is_picture(candidate: Candidate) -> bool:
    """Returns whether a candidate is an image, by its content, its declaration or its name."""
    kind = candidate.detected_type or candidate.content_type
    return kind.startswith("image/") or get_extension(candidate.name) in (
        "jpg", "jpeg", "jfif", "png", "gif", "bmp", "webp", "heic", "heif", "svg", "tif", "tiff",
    )  # fmt: skip
