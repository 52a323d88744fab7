"""The look for card numbers in all words of a mail, and the mail with them made unreadable.

Owns where such numbers are looked for (`routes[].sensitive`): subject, names, header fields, both bodies, the
names of files and the files that are text, attached messages too. Pictures, PDFs and archives are not looked
into, and neither are the octets that no reader of ours has decoded. What held such a file (an attached
message, a TNEF container) is not passed on as it came. Never does I/O beyond reading the octets it was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from relay.contact.cards import find_cards, find_cards_in_html, redact, redact_html
from relay.contact.names import get_extension
from relay.message.model import Mailbox, Message, Part
from relay.message.octets import cut_octets

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
#: The octets of a file that held a card number deeper inside.
_PLACEHOLDER = b"This file held card numbers. What could be read of it stands beside it, without them.\r\n"


def has_cards(message: Message) -> bool:
    """Returns whether a mail has a card number in any of its words."""
    leaves = _collect_leaves(message).values()
    lines = (
        message.subject,
        *(value for _, value in message.headers),
        *(part.name or "" for part in leaves),
        message.text,
    )
    return (
        any(find_cards(line) for line in lines)
        or bool(find_cards_in_html(message.html))
        or any(_redact_octets(part) is not None for part in leaves)
        or any(has_cards(one.message) for one in message.embedded)
    )


def redact_cards(message: Message) -> Message:
    """The message with the middle digits of each card number replaced; the same object if it has none."""
    embedded = tuple(replace(one, message=redact_cards(one.message)) for one in message.embedded)
    leaves = _collect_leaves(message)
    redacted = {key: _redact_part(part) for key, part in leaves.items()}
    changed = [
        one.path
        for one, before in zip(embedded, message.embedded, strict=True)
        if one.message is not before.message
    ]
    changed += [part.path for key, part in leaves.items() if part.origin and redacted[key] is not part]
    # A container of what was changed, or the octets of a message that was: neither goes on as it came.
    holding = {path[:depth] for path in changed for depth in range(1, len(path) + 1)}
    redacted = {
        key: _with_octets(part, _PLACEHOLDER) if not part.origin and part.path in holding else part
        for key, part in redacted.items()
    }
    take = partial(_take, redacted)
    made = replace(
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
    return message if made == message else made


def _collect_leaves(message: Message) -> Mapping[int, Part]:
    """Each leaf of a message once, by its identity."""
    return {id(part): part for part in (*message.parts, *message.attachments, *message.bodies)}


def _redact_names(mailboxes: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
    return tuple(replace(mailbox, name=redact(mailbox.name)) for mailbox in mailboxes)


def _take(parts: Mapping[int, Part], wanted: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(parts[id(part)] for part in wanted)


def _redact_part(part: Part) -> Part:
    """The leaf with its name and its text redacted; the very same one if it has no card number."""
    octets = _redact_octets(part)
    changed = part if octets is None else _with_octets(part, octets)
    name = redact(part.name or "")
    return changed if name == (part.name or "") else replace(changed, name=name)


def _with_octets(part: Part, octets: bytes) -> Part:
    return replace(
        part, size=len(octets), sha256=hashlib.sha256(octets).hexdigest(), chunks=partial(cut_octets, octets)
    )


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
