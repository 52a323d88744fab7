"""The look for card numbers in all words of a mail, and the mail with them made unreadable.

Owns where such numbers are looked for (`routes[].sensitive`): subject, names, header fields, both bodies, the
names of files and the files that are text, attached messages too. Pictures, PDFs and archives are not looked
into, and neither are the octets that no reader of ours has decoded. What held such a file (an attached
message, a TNEF container) is not passed on as it came. Never does I/O beyond reading the octets it was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from relay.contact.cards import find_cards, find_cards_in_html, redact, redact_html
from relay.contact.names import get_extension
from relay.message.model import Embedded, Mailbox, Message, Part

#: Types and extensions of files that are text, besides `text/*` and what no reader has taken apart.
_TEXT_TYPES = frozenset({
    "application/json", "application/xml", "application/xhtml+xml", "application/csv", "application/rtf",
    "application/sql", "application/x-yaml", "application/yaml",
})  # fmt: skip
_TEXT_EXTENSIONS = frozenset({
    "txt", "csv", "tsv", "json", "xml", "html", "htm", "xhtml", "log", "md", "ics", "vcf", "yaml", "yml", "rtf", "eml",
    "ini", "sql",
})  # fmt: skip
_UNREAD = ("multipart/", "message/")
_HTML = frozenset({"text/html", "application/xhtml+xml"})
#: Cheap look at octets in any encoding that is ASCII in its digits, NUL octets of UTF-16 between them.
_PERHAPS = re.compile(rb"[0-9](?:[^0-9A-Za-z]{0,14}[0-9]){11}")
_UTF16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_CHUNK = 1 << 20
#: What stands in a file that held a card number deeper inside.
_PLACEHOLDER = b"This file held card numbers. What could be read of it stands beside it, without them.\r\n"


def has_cards(message: Message) -> bool:
    """Returns whether a mail has a card number in any of its words."""
    lines = (
        message.subject,
        *(value for _, value in message.headers),
        *(part.name or "" for part in message.parts),
        message.text,
    )
    return (
        any(find_cards(line) for line in lines)
        or bool(find_cards_in_html(message.html))
        or any(_redact_octets(part) is not None for part in message.parts)
        or any(has_cards(one.message) for one in message.embedded)
    )


def redact_cards(message: Message) -> Message:
    """The message with the middle digits of each card number replaced; the same object if it has none."""
    if not has_cards(message):
        return message
    embedded = tuple(Embedded(path=one.path, message=redact_cards(one.message)) for one in message.embedded)
    changed = {
        one.path
        for one, before in zip(embedded, message.embedded, strict=True)
        if one.message is not before.message
    }
    parts = {id(part): _redact_part(part) for part in (*message.parts, *message.attachments, *message.bodies)}
    changed |= {part.path for part in message.parts if part.origin and parts[id(part)] is not part}
    parts = {key: _empty(part) if _holds(part, changed) else part for key, part in parts.items()}
    take = partial(_take, parts)
    return replace(
        message,
        subject=redact(message.subject),
        headers=tuple((name, redact(value)) for name, value in message.headers),
        text=redact(message.text),
        html=redact_html(message.html),
        parts=take(message.parts),
        bodies=take(message.bodies),
        lone_texts=take(message.lone_texts),
        lone_htmls=take(message.lone_htmls),
        attachments=take(message.attachments),
        unchosen=take(message.unchosen),
        embedded=embedded,
        author=_redact_names(message.author),
        sender=_redact_names(message.sender),
        reply_to=_redact_names(message.reply_to),
        to=_redact_names(message.to),
        cc=_redact_names(message.cc),
    )


def _redact_names(mailboxes: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
    return tuple(replace(mailbox, name=redact(mailbox.name)) for mailbox in mailboxes)


def _take(parts: Mapping[int, Part], wanted: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(parts[id(part)] for part in wanted)


def _holds(part: Part, changed: set[tuple[int, ...]]) -> bool:
    """Returns whether a leaf is a container of one that was changed, or an attached message that was."""
    return not part.origin and any(path[: len(part.path)] == part.path for path in changed)


def _empty(part: Part) -> Part:
    return _with_octets(part, _PLACEHOLDER)


def _redact_part(part: Part) -> Part:
    """The leaf with its name and its text redacted; the very same one if it has no card number."""
    octets = _redact_octets(part)
    changed = part if octets is None else _with_octets(part, octets)
    name = redact(part.name or "")
    return changed if name == (part.name or "") else replace(changed, name=name)


def _with_octets(part: Part, octets: bytes) -> Part:
    return replace(
        part, size=len(octets), sha256=hashlib.sha256(octets).hexdigest(), chunks=partial(_slices, octets)
    )


def _slices(octets: bytes) -> Iterator[bytes]:
    return (octets[start : start + _CHUNK] for start in range(0, len(octets), _CHUNK))


def _redact_octets(part: Part) -> bytes | None:
    """The octets of a leaf without its card numbers. Returns None where it has none, or is no text."""
    if not _is_text(part):
        return None
    octets = part.read()
    if octets.isascii() and _PERHAPS.search(octets) is None:
        return None
    codec, mark = _find_codec(octets)
    text = octets.decode(codec, "surrogatepass")
    change: Callable[..., str] = redact_html if _is_html(part) else redact
    redacted = change(text, mark=mark)
    return None if redacted == text else redacted.encode(codec, "surrogatepass")


def _find_codec(octets: bytes) -> tuple[str, str]:
    """The encoding in which octets are read and written again without a loss, and a mark that it has."""
    codec = _UTF16.get(octets[:2])
    if codec is not None and len(octets) % 2 == 0:
        return codec, "•"
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1", "*"
    return "utf-8", "•"


def _is_text(part: Part) -> bool:
    kind = part.content_type
    return (
        kind.startswith(("text/", *_UNREAD))
        or kind in _TEXT_TYPES
        or get_extension(part.name or "") in _TEXT_EXTENSIONS
    )


def _is_html(part: Part) -> bool:
    return part.content_type in _HTML or get_extension(part.name or "") in ("html", "htm", "xhtml")
