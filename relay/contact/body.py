"""The body of a contact: which of the mail's bodies, in what form, and how much of it.

Owns the choice between HTML and text, the empty body, and the cut. Never does I/O beyond reading pictures.
Body of the service model: 1 to 5,242,880, which we count in UTF-8 bytes, the larger of all counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.candidates import Role
from relay.contact.characters import clean_text, count_utf8, cut_utf8, is_category_c
from relay.contact.html_text import make_text
from relay.contact.inline import choose_images, find_references, image_type, replace_references
from relay.contact.markup import shows_something
from relay.contact.plan import Adaptation, Rung
from relay.message.model import Message

BODY_LIMIT = 5_242_880
#: What the "Get stored content" block of a flow reads (administrator guide): the last rung asks for no more.
TEXT_RUNG_LIMIT = 32_768

HTML = "text/html"
PLAIN = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body without its note."""

    text: str
    content_type: str
    #: Whole bodies that must be kept beside it because it does not hold them.
    kept: tuple[Role, ...] = ()
    #: Positions in `message.attachments` of the pictures that stand in it, and of all that its HTML refers to.
    inlined: frozenset[int] = frozenset()
    shown: frozenset[int] = frozenset()
    changes: tuple[Adaptation, ...] = ()


def make_body(message: Message, route: Route, config: Config, *, rung: Rung, limit: int) -> Body:
    """The body within `limit` UTF-8 bytes, and what was changed."""
    wants_html = rung is not Rung.TEXT and route.prefer == "html"
    has_html = bool(message.html) and shows_something(message.html)
    has_text = bool(message.text.strip())
    if has_html and wants_html:
        body = _make_html(message, limit)
        if body is not None:
            return _note_alternative(body, message, has_other=has_text)
    if has_text:
        body = _note_alternative(_make_plain(message.text), message, has_other=has_html)
    elif has_html:
        made = make_text(clean_text(message.html))
        body = Body(text=made, content_type=PLAIN, changes=(_change(Code.BODY_TO_TEXT),))
    else:
        body = Body(text="", content_type=PLAIN)
    if has_html and wants_html:
        body = replace(body, kept=(Role.HTML,), changes=(*body.changes, _too_large(message.html, "HTML")))
    if rung is Rung.TEXT:
        body = replace(body, text=_only_plain(body.text))
    if not body.text.strip():
        shown = config.contact.empty_body
        change = _change(Code.BODY_EMPTY, before=body.text[:200] or message.html[:200], after=shown)
        return replace(body, text=shown, changes=(*body.changes, change))
    return _cut(body, message, min(limit, TEXT_RUNG_LIMIT) if rung is Rung.TEXT else limit)


def _make_html(message: Message, limit: int) -> Body | None:
    """The HTML with its pictures, None when it is too large without any."""
    source = clean_text(message.html)
    size = count_utf8(source)
    if size > limit:
        return None
    changes = [] if source == message.html else [_change(Code.BODY_CLEANED)]
    references = find_references(source, message.attachments)
    chosen = choose_images(references, limit - size)
    shown = frozenset(one.index for one in references)
    for index in sorted(shown):
        part = message.attachments[index]
        code = Code.IMAGE_INLINED if index in chosen else Code.IMAGE_NOT_INLINED
        if index in chosen or image_type(part) is not None:
            changes.append(_change(code, before=part.name or part.content_id or "", after=part.sha256))
    return Body(
        text=replace_references(source, references, chosen),
        content_type=HTML,
        inlined=chosen,
        shown=shown,
        changes=tuple(changes),
    )


def _make_plain(text: str) -> Body:
    cleaned = clean_text(text)
    changes = () if cleaned == text else (_change(Code.BODY_CLEANED),)
    return Body(text=cleaned, content_type=PLAIN, changes=changes)


def _note_alternative(body: Body, message: Message, *, has_other: bool) -> Body:
    """The body with a word on the version of the mail that it is not."""
    if not has_other:
        return body
    unsent = [
        part.sha256 for part in message.bodies if (part.content_type == HTML) != (body.content_type == HTML)
    ]
    change = _change(Code.BODY_ALTERNATIVE, before=" ".join(unsent))
    return replace(body, changes=(*body.changes, change))


def _only_plain(text: str) -> str:
    """The text without any character that a strict reader could refuse."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or not is_category_c(char))


def _cut(body: Body, message: Message, limit: int) -> Body:
    """The body within its limit, cut at the end of a line where there is one."""
    if count_utf8(body.text) <= limit:
        return body
    cut = cut_utf8(body.text, limit)
    line = cut.rfind("\n")
    if line > len(cut) - 1_000:
        cut = cut[:line] + "\n…"
    own = Role.TEXT if message.text.strip() else Role.HTML
    kept = body.kept if own in body.kept else (own, *body.kept)
    return replace(body, text=cut, kept=kept, changes=(*body.changes, _too_large(body.text, "text")))


def _too_large(text: str, kind: str) -> Adaptation:
    return Adaptation(
        code=Code.BODY_TOO_LARGE,
        detail=f"{Code.BODY_TOO_LARGE.sentence} (its {kind} has {count_utf8(text):,} bytes)",
    )


def _change(code: Code, *, before: str = "", after: str = "") -> Adaptation:
    return Adaptation(code=code, detail=code.sentence, before=before, after=after)
