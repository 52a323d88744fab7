"""The marks that a gateway of ours puts before each mail, taken away again: "[EXTERNAL]", "CAUTION: ...".

Owns the rule of `strip`: an exact text at the very beginning of the subject or of the body; in HTML the block
that holds just it. Only mail that came through `identity.trusted_relays` is touched: what a stranger wrote
himself stays. Where the HTML is not sound that far, and where nothing would be left, it stays as it is.
Linear: only the beginning of a body is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.characters import is_blank
from relay.contact.plan import Adaptation, Context
from relay.message.markup import shows_something, unescape
from relay.message.model import Message
from relay.networks import parse_address, parse_network

#: Octets of a body in which a mark and its markup stand.
_HEAD = 16_384
# Markup is passed over with at most 4,096 characters a tag; anything else ends the look.
_TOKEN = re.compile(
    r"<!--(?:(?!-->).){0,4096}-->|<(style|script|title)\b[^<>]{0,4096}>[^<]{0,16384}</\1\s*>|<!?/?([A-Za-z]\w{0,20})?[^<>]{0,4096}>|[^<]+",
    re.IGNORECASE | re.DOTALL,
)
_BLOCKS = frozenset({
    "blockquote", "center", "div", "h1", "h2", "h3", "h4", "h5", "h6", "header", "p", "pre", "section", "table",
})  # fmt: skip
#: Elements without an end (HTML standard §13.1.2) that show nothing.
_VOID = frozenset({"base", "br", "col", "hr", "link", "meta", "wbr"})
#: The result that is set where a mail was judged behind systems of ours.
_HOP = "relay_hop_detail"


def strip_marks(
    message: Message, context: Context, route: Route, config: Config
) -> tuple[Message, tuple[Adaptation, ...]]:
    """The message without the marks of its route, and the changes."""
    marks = route.strip
    if not (marks.subject or marks.body) or not _is_trusted(context, config):
        return message, ()
    subject = _cut_all(message.subject, marks.subject)
    text, html = _cut_all(message.text, marks.body), _cut_blocks(message.html, marks.body)
    changes = []
    if subject != message.subject:
        changes.append(
            Adaptation(
                code=Code.SUBJECT_STRIPPED,
                detail=Code.SUBJECT_STRIPPED.sentence,
                before=message.subject,
                after=subject,
            )
        )
    if (text, html) != (message.text, message.html):
        changes.append(Adaptation(code=Code.BODY_STRIPPED, detail=Code.BODY_STRIPPED.sentence))
    if not changes:
        return message, ()
    return replace(message, subject=subject, text=text, html=html), tuple(changes)


def _is_trusted(context: Context, config: Config) -> bool:
    """Returns whether the mail came by a system of ours: from it, or named by it in XCLIENT or PROXY."""
    if _HOP in context.results:
        return True
    try:
        peer = parse_address(context.envelope.peer.address)
    except ValueError:
        return False
    return any(peer in network for network in map(parse_network, config.identity.trusted_relays))


def _cut_all(text: str, marks: Iterable[str]) -> str:
    """The text without the marks at its beginning, each once and in any order. A text that is nothing else
    stays.
    """
    rest, left = text, list(marks)
    while found := next((mark for mark in left if _pattern(mark).match(rest)), None):
        left.remove(found)
        rest = _pattern(found).sub("", rest, count=1)
    return text if is_blank(rest) else rest


@lru_cache(maxsize=256)
def _pattern(mark: str) -> re.Pattern[str]:
    """A mark at the beginning, its white space in any form: lines of a body are wrapped on the way."""
    return re.compile(r"\s*+" + r"\s++".join(map(re.escape, mark.split())) + r"\s*+")


def _cut_blocks(html: str, marks: Iterable[str]) -> str:
    """The HTML without the first blocks that hold just a mark. HTML that would show nothing then stays."""
    rest, left = html, [" ".join(mark.split()) for mark in marks]
    while left and (found := _find_block(rest, left)):
        mark, begin, end = found
        left.remove(mark)
        rest = rest[:begin] + rest[end:]
    return html if rest == html or not shows_something(rest) else rest


def _find_block(html: str, marks: list[str]) -> tuple[str, int, int] | None:
    """The first block, if its text is one of the marks: the mark, and where the outermost such block stands.

    Returns None where other text comes first, or the markup is not sound that far.
    """
    text, words, best, at = "", "", None, 0
    stack: list[tuple[str, int, bool]] = []
    for found in _TOKEN.finditer(html, 0, _HEAD):
        if found.start() != at:  # a piece that is no token: not sound
            break
        at = found.end()
        name, piece = (found[2] or "").lower(), found[0]
        if not piece.startswith("<"):
            text += unescape(piece)
            words = " ".join(text.split())
            if not any(mark.startswith(words) for mark in marks):
                break
        elif not name or found[1] or name in _VOID:
            continue
        elif not piece.startswith("</"):
            stack.append((name, found.start(), not words))
        else:
            while stack and stack[-1][0] != name:
                stack.pop()  # an element whose end may be left out
            if not stack:
                break
            _, begin, was_first = stack.pop()
            if was_first and words in marks and name in _BLOCKS:
                best = words, begin, found.end()
    return best
