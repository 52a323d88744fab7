"""The words of a mail whose own body shows none: a file, an attached message or a report in the body's place.

Owns the rule that a mail never shows as empty while a leaf of it has words: disposition and position decide
only between candidates. Never does I/O beyond reading the parts, never takes a file away that the contact can
take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import clean_text, is_blank
from relay.contact.embedded import render_message
from relay.contact.html_text import Effort, make_text
from relay.contact.invitation import find_invitation, is_calendar, render_invitation
from relay.contact.plan import Adaptation
from relay.contact.sealed import ENCRYPTED, find_sealed, is_sealed_text
from relay.message.bodies import FILE_TYPES, part_text
from relay.message.concealed import reveal
from relay.message.markup import shows_something, shows_words, uncover
from relay.message.model import Message, Part
from relay.message.rtf import rtf_words

#: Octets of one leaf that are read: a text that stands in a file is short, and the file is kept.
_LIMIT = 1 << 20
#: Leaves that are joined, and those that are looked at.
_MOST_JOINED = 20
_MOST_LOOKED_AT = 100

_HTML = "text/html"
_HTML_TYPES = frozenset({_HTML, "application/xhtml+xml"})
_RTF_TYPES = frozenset({"text/rtf", "application/rtf", "application/x-rtf", "text/richtext+rtf"})
_GENERIC = frozenset({
    "application/octet-stream", "application/unknown", "application/x-unknown", "application/binary", "application/text",
    "application/html", "application/msword",
})  # fmt: skip
_FORM = "application/x-www-form-urlencoded"
_FORM_TYPES = frozenset({_FORM, "application/json"})
_MOST_FIELDS = 1_000
_OF_EXTENSION = {"htm": _HTML, "html": _HTML, "xhtml": _HTML, "txt": "text/plain", "text": "text/plain"}
#: Files by their kind whose text a person can read; a table (CSV) is read as the file that it goes as.
_DATA = (FILE_TYPES | {"application/xml", "application/json"}) - {"text/csv", "text/css"}
_DATA_LIMIT = 64 << 10
#: Types that say nothing of what a leaf is, and extensions that promise no other program's file.
_NAMELESS = _GENERIC | {"message/partial"}
_NO_KIND = frozenset({"", "att", "bin", "dat", "log", "md"})
#: Octets that no text holds: controls but for tab, line ends, form feed and the escape of ISO 2022.
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_STATUS = frozenset({
    "message/delivery-status", "message/global-delivery-status", "message/disposition-notification",
    "message/global-disposition-notification",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A message whose text or HTML are the words of its leaves, where it had none of its own."""

    message: Message
    #: Positions in `message.attachments` of leaves that are no files any more: the body shows all of them.
    spent: frozenset[int] = frozenset()
    changes: tuple[Adaptation, ...] = ()


def promote(message: Message) -> Promotion:
    """The message with its HTML uncovered, and with words in its body if any leaf has some."""
    changes: list[Adaptation] = []
    uncovered = uncover(message.html)
    if uncovered != message.html:
        changes.append(Adaptation(code=Code.BODY_CLOSED, detail=Code.BODY_CLOSED.sentence))
        message = replace(message, html=uncovered)
    if is_sealed_text(message.text) and not shows_words(message.html):
        change = Adaptation(code=Code.BODY_ENCRYPTED, detail=Code.BODY_ENCRYPTED.sentence)
        sealed = replace(message, text=f"{ENCRYPTED}\n{message.text}", html="")
        return Promotion(message=sealed, changes=(*changes, change))
    if not is_blank(message.text) or shows_something(message.html):
        return Promotion(message=message, changes=tuple(changes))
    revealed = _reveal(message.html)
    if revealed != message.html:
        changes.append(Adaptation(code=Code.BODY_REVEALED, detail=Code.BODY_REVEALED.sentence))
        return Promotion(message=replace(message, html=revealed), changes=tuple(changes))
    unchosen = {id(part) for part in message.unchosen}
    leaves = [
        (index, part)
        for index, part in enumerate(message.attachments[:_MOST_LOOKED_AT])
        if id(part) not in unchosen
    ]
    shown = [one for one in leaves if one[1].content_disposition != "attachment"]
    rest = [one for one in leaves if one[1].content_disposition == "attachment"]
    # HTML that shows nothing was read to its end for that, and need not be again.
    nothing = Promotion(message=replace(message, html=""))
    ways: tuple[Callable[[], Promotion | None], ...] = (
        lambda: _from_leaves(message, shown, most=_MOST_JOINED),
        lambda: nothing if _invites(message) else None,
        lambda: _from_leaves(message, rest, most=1),
        lambda: _from_sealed(message),
        lambda: _from_message(message),
        lambda: _from_leaves(message, [(-1, part) for part in message.unchosen], most=1),
        lambda: _from_status(message, leaves),
        lambda: _from_data(message, leaves),
        lambda: _from_octets(message, leaves),
    )
    found = next(filter(None, (way() for way in ways)), None) or nothing
    return replace(found, changes=(*changes, *found.changes))


def _open(source: str) -> str:
    """The HTML of a leaf with what it shows uncovered, and if that is nothing, with what it conceals."""
    uncovered = uncover(source)
    return uncovered if shows_something(uncovered) else _reveal(uncovered)


def _reveal(source: str) -> str:
    """The HTML with the words that it conceals in their place. Returns it as it is where there are none."""
    revealed = reveal(source)
    return revealed if revealed != source and shows_words(revealed) else source


def read_words(part: Part, *, detecting: bool) -> tuple[str, str]:
    """The words of a leaf and their type, text/html or text/plain; "" where it is a file by its kind."""
    kind = _kind(part)
    if kind is None or not part.size:
        return "", ""
    if kind == "rtf":
        octets = next(iter(part.chunks()), b"")[:_LIMIT]
        words, html = rtf_words(octets) if octets.lstrip().startswith(b"{\\rtf") else ("", False)
        return clean_text(words), _HTML if html else "text/plain"
    if kind in _FORM_TYPES:
        return clean_text(_read_form(part, kind)), "text/plain"
    words = clean_text(
        part_text(replace(part, content_type=kind) if kind == _HTML else part, _LIMIT, detecting=detecting)
    )
    return words, kind


def _read_form(part: Part, kind: str) -> str:
    """The fields of a form that a browser mailed as it would have posted them, a line each."""
    text = part_text(replace(part, charset=part.charset or "utf-8"), _LIMIT, detecting=False)
    if kind != _FORM:
        return text
    fields = text.replace("\r", "").replace("\n", "").split("&", _MOST_FIELDS)[:_MOST_FIELDS]
    pairs = [tuple(unquote_plus(piece) for piece in field.partition("=")[::2]) for field in fields]
    return "".join(f"{name}: {value}\n" for name, value in pairs if name or value)


def is_page(part: Part) -> bool:
    """Returns whether a leaf is HTML."""
    return _kind(part) == _HTML


def _kind(part: Part) -> str | None:
    """The kind of text that a leaf is, by its type, content and name. Returns None for a file."""
    kind, extension = part.content_type, (part.name or "").rpartition(".")[2].lower()
    if kind in _HTML_TYPES:
        return _HTML
    if kind in _RTF_TYPES or (part.detected_type == "application/rtf" and kind in _GENERIC):
        return "rtf"
    if kind.startswith("text/") and kind not in FILE_TYPES:
        return _HTML if part.detected_type == _HTML and extension in ("htm", "html", "") else "text/plain"
    if kind in _FORM_TYPES:
        return kind
    if kind in _GENERIC:
        return _HTML if part.detected_type == _HTML else _OF_EXTENSION.get(extension)
    return None


def _from_leaves(message: Message, leaves: Iterable[tuple[int, Part]], *, most: int) -> Promotion | None:
    found: list[tuple[int, Part, str, str]] = []
    for index, part in leaves:
        words, kind = read_words(part, detecting=True)
        if is_blank(words) or (kind == _HTML and not shows_something(words := _open(words))):
            continue
        found.append((index, part, words, kind))
        if len(found) == most:
            break
    if not found:
        return None
    effort = Effort()
    html = found[0][2] if len(found) == 1 and found[0][3] == _HTML else ""
    pieces = [make_text(words, effort) if kind == _HTML else words.strip("\n") for _, _, words, kind in found]
    text = "" if html else "\n\n".join(pieces) + "\n"
    parts = [part for _, part, _, _ in found]
    # A file that has a name may be wanted as a file, if the instance takes it; HTML stands in the body whole.
    spent = frozenset(
        index
        for index, part, _, kind in found
        if index >= 0 and part.size < _LIMIT and (kind == _HTML or not part.name) and _kind(part) != "rtf"
    )
    return _promoted(message, text=text, html=html, parts=parts, code=Code.BODY_FROM_FILE, spent=spent)


def _from_message(message: Message) -> Promotion | None:
    if not message.embedded:
        return None
    text = render_message(message.embedded[0].message, Effort())
    return _promoted(message, text=text, code=Code.BODY_FROM_FILE)


def _from_sealed(message: Message) -> Promotion | None:
    sealed = find_sealed(message)
    if sealed is None:
        return None
    return _promoted(message, text=ENCRYPTED, parts=[sealed], code=Code.BODY_ENCRYPTED)


def _from_status(message: Message, leaves: Iterable[tuple[int, Part]]) -> Promotion | None:
    texts = [
        clean_text(part_text(part, _LIMIT, detecting=False))
        for _, part in leaves
        if part.content_type in _STATUS
    ]
    words = "\n".join(text for text in texts if not is_blank(text))
    return _promoted(message, text=words, code=Code.BODY_FROM_FILE) if words else None


def _from_data(message: Message, leaves: Iterable[tuple[int, Part]]) -> Promotion | None:
    """The text of a file that is no words by its kind (a card, XML), if nothing else is left."""
    for _, part in leaves:
        if part.content_type in _DATA and not is_calendar(part):
            words = clean_text(part_text(part, _DATA_LIMIT, detecting=False))
            if not is_blank(words):
                return _promoted(message, text=words, parts=[part], code=Code.BODY_FROM_FILE)
    return None


def _from_octets(message: Message, leaves: Iterable[tuple[int, Part]]) -> Promotion | None:
    """The text of a leaf whose type says nothing, or of a fragment (RFC 2046 §5.2.2), if it is text."""
    for _, part in leaves:
        extension = (part.name or "").rpartition(".")[2].lower()
        if part.content_type not in _NAMELESS or part.detected_type is not None or extension not in _NO_KIND:
            continue
        octets = next(iter(part.chunks()), b"")[:_DATA_LIMIT]
        if _CONTROLS.search(octets) is not None:
            continue
        words = clean_text(part_text(part, _DATA_LIMIT, detecting=True))
        if not is_blank(words):
            return _promoted(message, text=words, parts=[part], code=Code.BODY_FROM_FILE)
    return None


def _invites(message: Message) -> bool:
    part = find_invitation(message)
    return part is not None and bool(render_invitation(part))


def _promoted(
    message: Message,
    *,
    text: str = "",
    html: str = "",
    parts: Iterable[Part] = (),
    code: Code,
    spent: frozenset[int] = frozenset(),
) -> Promotion:
    parts = tuple(parts)
    # The body that shows nothing is named, too: it stands in the stored original alone.
    named = dict.fromkeys(part.sha256 for part in (*message.bodies, *parts))
    change = Adaptation(code=code, detail=code.sentence, before=" ".join(named))
    made = replace(message, text=text, html=html, bodies=parts, lone_texts=(), lone_htmls=())
    return Promotion(message=made, spent=spent, changes=(change,))
