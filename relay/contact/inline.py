"""The pictures that HTML shows by reference, moved into the HTML itself.

Owns the finding of references (cid: of RFC 2392, Content-Location of RFC 2557) and their replacement by
data: URIs (RFC 2397). Never does I/O beyond reading the parts. Connect's attachments know no Content-ID, and
what it stores for an e-mail holds its pictures in Base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote, urljoin

from relay.message.markup import unescape
from relay.message.model import Message, Part
from relay.message.sniff import EXECUTABLES

#: The types that Connect shows inline (administrator guide, "Feature specifications"), by the types that
#: mails declare.
IMAGE_TYPES: Mapping[str, str] = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/png": "image/png",
    "image/x-png": "image/png",
    "image/gif": "image/gif",
    "image/svg+xml": "image/svg+xml",
    "image/webp": "image/webp",
    "image/bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/heic": "image/heic",
    "image/heif": "image/heif",
}
_TYPE_OF_EXTENSION = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "jfif": "image/jpeg", "png": "image/png", "gif": "image/gif",
    "svg": "image/svg+xml", "webp": "image/webp", "bmp": "image/bmp", "heic": "image/heic", "heif": "image/heif",
}  # fmt: skip

# A reference stands after a quote, an equals sign or "url("; every repeat is bounded, so the search is
# linear.
_CID = re.compile(r"""(?<=["'(=\s;])cid:([^"'<>\s)]{1,1000})""", re.IGNORECASE)
_SOURCE = re.compile(
    r"""\b(?:src|background)\s{0,8}=\s{0,8}["']?([^"'<>\s]{1,2000})|url\(\s{0,8}["']?([^"'<>\s)]{1,2000})""",
    re.IGNORECASE,
)
#: Places of one HTML that are read; a newsletter has hundreds.
_MOST_PLACES = 20_000
#: Places that are joined with the Content-Location of the HTML, at 20 µs and more each.
_MOST_JOINS = 2_000
_LONGEST_BASE = 1_000
_LINK = re.compile(r"""href\s{0,8}=\s{0,8}["']?$""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in the HTML that shows a part; `source[start:end]` becomes a data: URI."""

    start: int
    end: int
    #: The position of the part among those that were searched for.
    index: int
    part: Part


def image_type(part: Part) -> str | None:
    """The type under which a part can be shown inline. Returns None when it is no such picture, or is a
    program by its content.
    """
    if part.detected_type in EXECUTABLES:
        return None
    declared = IMAGE_TYPES.get(part.detected_type or "") or IMAGE_TYPES.get(part.content_type)
    if declared is None and part.detected_type is None and part.content_type == "application/octet-stream":
        return _TYPE_OF_EXTENSION.get((part.name or "").rpartition(".")[2].lower())
    return declared


def find_shown(message: Message, source: str) -> tuple[Reference, ...]:
    """The references by which the mail's HTML, as sent or as cleaned, shows the mail's attachments."""
    place = next((part.content_location for part in message.bodies if part.content_type == "text/html"), None)
    return find_references(source, message.attachments, base=_unfold(place or ""))


def find_references(source: str, parts: Sequence[Part], *, base: str = "") -> tuple[Reference, ...]:
    """The references of the HTML to the parts, in order and without overlap; `base` is the Content-Location
    of the HTML.
    """
    # Of two parts with one id the first counts. Positions are unique; paths are not (TNEF, uuencode).
    numbered = [*enumerate(parts)][::-1]
    by_id = {_key(part.content_id): (index, part) for index, part in numbered if part.content_id}
    by_place = {
        _unfold(part.content_location): (index, part) for index, part in numbered if part.content_location
    }
    found = list(_by_content_id(source, by_id)) if by_id else []
    if by_place:
        taken = {reference.start for reference in found}
        found.extend(one for one in _by_location(source, by_place, base) if one.start not in taken)
        found.sort(key=lambda one: one.start)
    return tuple(found)


def _key(content_id: str) -> str:
    return unquote(content_id.strip().strip("<>")).casefold()


def _unfold(place: str) -> str:
    """The URL without the white space at which it was folded (RFC 2557 §4.4.2)."""
    return "".join(place.split())


def _by_content_id(source: str, parts: Mapping[str, tuple[int, Part]]) -> Iterator[Reference]:
    for found in islice(_CID.finditer(source), _MOST_PLACES):
        known = parts.get(_key(unescape(found.group(1))))
        if known is not None and not _LINK.search(source, max(0, found.start() - 24), found.start()):
            yield Reference(found.start(), found.end(), *known)


def _by_location(source: str, parts: Mapping[str, tuple[int, Part]], base: str) -> Iterator[Reference]:
    joins = _MOST_JOINS if 0 < len(base) <= _LONGEST_BASE else 0
    for found in islice(_SOURCE.finditer(source), _MOST_PLACES):
        group = 1 if found.group(1) is not None else 2
        place = unescape(found.group(group))
        known = parts.get(place)
        if known is None and joins:
            joins -= 1
            known = parts.get(_join(base, place))
        if known is not None:
            yield Reference(found.start(group), found.end(group), *known)


def _join(base: str, place: str) -> str:
    """The URL of a place relative to the HTML's own (RFC 2557 §5); "" when it is no URL."""
    try:
        return urljoin(base, place)
    except ValueError:
        return ""


def choose_images(references: Sequence[Reference], room: int) -> frozenset[int]:
    """The indices of the pictures that fit into `room` more bytes, the smallest first so that most of them
    fit.
    """
    cost: dict[int, int] = {}
    for one in references:
        kind = image_type(one.part)
        if kind is None or one.part.size == 0:
            continue
        uri = len(f"data:{kind};base64,") + (one.part.size + 2) // 3 * 4
        cost[one.index] = cost.get(one.index, 0) + uri - (one.end - one.start)
    chosen: set[int] = set()
    for index, more in sorted(cost.items(), key=lambda item: (item[1], item[0])):
        if more > room:
            break
        room -= more
        chosen.add(index)
    return frozenset(chosen)


def replace_references(source: str, references: Sequence[Reference], chosen: frozenset[int]) -> str:
    """The HTML with the chosen pictures in it."""
    pieces: list[str] = []
    uris: dict[int, str] = {}
    position = 0
    for one in references:
        if one.index not in chosen:
            continue
        if one.index not in uris:
            encoded = base64.b64encode(one.part.read()).decode("ascii")
            uris[one.index] = f"data:{image_type(one.part)};base64,{encoded}"
        pieces += (source[position : one.start], uris[one.index])
        position = one.end
    return "".join((*pieces, source[position:]))
