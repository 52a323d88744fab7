"""The body made of text and HTML that follow one another in a mail.

Owns the joining of text and HTML that are two pieces of a mail (multipart/mixed) and not two forms of the
same words (multipart/alternative, RFC 2046 §5.1.4): a gateway's disclaimer in HTML must not hide what the
customer wrote in text. `Message.lone_texts` and `lone_htmls` name such bodies. Never does I/O beyond reading
the bodies.
"""

from __future__ import annotations

import re
from html import escape

from relay.contact.characters import clean_text
from relay.contact.html_text import Effort, make_text
from relay.message.bodies import part_text
from relay.message.markup import append_fragment
from relay.message.model import Message, Part

_HTML = "text/html"
#: Octets of a lone piece that are read: it is a note or a disclaimer.
_PIECE_LIMIT = 1_048_576
# The beginning of a document's body, searched at its front only.
_BODY = re.compile(r"<body\b[^>]{0,2000}>", re.IGNORECASE)
_FRONT = 20_000


def weave_text(message: Message, source: str, lone: tuple[Part, ...]) -> str:
    """The HTML with the lone pieces of text before or after it, as they stood in the mail."""
    first = min((part.path for part in message.bodies if part.content_type == _HTML), default=())
    before = [part for part in lone if part.path < first]
    after = [part for part in lone if part.path > first]
    begin = _BODY.search(source, 0, _FRONT)
    place = begin.end() if begin else 0
    woven = source[:place] + _as_html(before) + source[place:]
    fragment = _as_html(after)
    return append_fragment(woven, fragment)[0] if fragment else woven


def lead_in(text: str, line: str, *, html: bool) -> str:
    """The text or HTML of a body with a line before it."""
    if not html:
        return f"{line}\n\n{text}"
    begin = _BODY.search(text, 0, _FRONT)
    place = begin.end() if begin else 0
    return f"{text[:place]}<p>{escape(line, quote=False)}</p>\n{text[place:]}"


def weave_html(message: Message, text: str, lone: tuple[Part, ...]) -> str:
    """The text with the lone pieces of HTML, as text, before or after it."""
    first = min((part.path for part in message.bodies if part.content_type != _HTML), default=())
    effort = Effort()
    before = [make_text(_read(part), effort) for part in lone if part.path < first]
    after = [make_text(_read(part), effort) for part in lone if part.path > first]
    return "\n\n".join(piece.strip("\n") for piece in (*before, text, *after) if piece.strip())


def _read(part: Part) -> str:
    return clean_text(part_text(part, _PIECE_LIMIT, detecting=True))


def _as_html(parts: list[Part]) -> str:
    texts = [escape(_read(part).strip("\n"), quote=False) for part in parts]
    return "".join(f'<div style="white-space: pre-wrap">{text}</div>\n' for text in texts if text.strip())
