"""The body of a contact: the choice among the mail's bodies, its form, and its cut.

Owns the choice between HTML and text, the empty body, and the cut. Never does I/O beyond reading pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from relay.config.model import Config, Route
from relay.contact.adaptations import AdaptationCode as Code
from relay.contact.candidates import Role
from relay.contact.characters import (
    clean_text,
    count_utf8,
    cut_utf8,
    exceeds_utf8,
    is_blank,
    strip_invisible,
)
from relay.contact.html_text import Effort, make_text
from relay.contact.inline import choose_images, find_shown, image_type, replace_references
from relay.contact.invitation import find_invitation, render_invitation
from relay.contact.joined import weave_html, weave_text
from relay.contact.limits import STORED_CONTENT_BYTES
from relay.contact.plan import Adaptation
from relay.message.markup import shows_something, shows_words
from relay.message.model import Defect, Message, Part
from relay.vocabulary import Rung

HTML = "text/html"
PLAIN = "text/plain"
#: Words of mail programs in the text for a picture in the HTML: "[cid:image001.png]", "[image: photo.jpg]".
_PLACEHOLDER = re.compile(
    r"\[(?:cid|image|inline image|bild|imagen|immagine|img|logo)\b[^\]\n]{0,200}\]|\ufffc", re.IGNORECASE
)
#: Characters of a text that tell whether it has words; the names of pictures are not as long.
_LOOKED_AT = 4_096
_FEW_DRAW = frozenset({"image/heic", "image/heif"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body without its note."""

    text: str
    content_type: str
    #: Bodies of the mail that must be kept as files, because this one does not hold them whole.
    kept: tuple[Role, ...] = ()
    #: Positions in `message.attachments` of the pictures that stand in the HTML, and of all that it refers
    #: to.
    inlined: frozenset[int] = frozenset()
    shown: frozenset[int] = frozenset()
    changes: tuple[Adaptation, ...] = ()


def make_body(message: Message, route: Route, config: Config, *, rung: Rung, limit: int) -> Body:
    """The body within `limit` UTF-8 bytes, with the changes that were needed."""
    wants_html = rung is not Rung.TEXT and route.prefer == "html"
    # HTML of nothing but pictures says less than the text beside it, if that is more than their names.
    shows = shows_something if is_blank(_PLACEHOLDER.sub("", message.text[:_LOOKED_AT])) else shows_words
    has_html = bool(message.html) and shows(message.html)
    if has_html and wants_html:
        body = _make_html(message, limit)
        if body is not None:
            return body
    if not is_blank(message.text):
        body = _make_plain(message, has_html=has_html)
    elif has_html:
        body = _make_text(message)
    else:
        body = _make_invitation(message)
    if has_html and wants_html and not body.kept:
        change = _too_large(message.html, "HTML")
        body = replace(body, kept=(Role.HTML,), changes=(*body.changes, change))
    if rung is Rung.TEXT:
        body = _cut(body, message, min(limit, STORED_CONTENT_BYTES))
        plain = strip_invisible(body.text)
        if plain != body.text:
            body = replace(body, text=plain, changes=(*body.changes, _cleaned(message)))
    if not is_blank(body.text):
        return _cut(body, message, limit)
    shown = config.contact.empty_body
    change = _change(Code.BODY_EMPTY, before=_hashes(message.bodies), after=shown)
    return replace(body, text=shown, changes=(*body.changes, change))


def _make_html(message: Message, limit: int) -> Body | None:
    """The HTML with its pictures. Returns None when it is too large without any."""
    source = clean_text(message.html)
    changes = [] if source == message.html else [_cleaned(message)]
    lone = message.lone_texts
    woven = weave_text(message, source, lone) if lone else source
    if woven != source:
        changes.append(_change(Code.BODY_JOINED, after=_hashes(lone)))
    changes += _unsent(message, HTML, lone if woven != source else ())
    if exceeds_utf8(woven, limit) or Defect.BODY_TOO_LONG in message.defects:
        return None
    references = find_shown(message, woven)
    chosen = choose_images(references, limit - count_utf8(woven)) if references else frozenset[int]()
    shown = frozenset(one.index for one in references)
    heic = frozenset(index for index in shown if image_type(message.attachments[index]) in _FEW_DRAW)
    for index in sorted(shown):
        part = message.attachments[index]
        code = Code.IMAGE_INLINED if index in chosen else Code.IMAGE_NOT_INLINED
        if index in chosen or image_type(part) is not None:
            changes.append(_change(code, before=part.name or part.content_id or "", after=part.sha256))
    return Body(
        text=replace_references(woven, references, chosen),
        content_type=HTML,
        # No browser but Safari draws HEIC: such a picture goes as a file, too.
        inlined=chosen - heic,
        shown=shown - heic,
        changes=tuple(changes),
    )


def _make_plain(message: Message, *, has_html: bool) -> Body:
    """The text, with the HTML that is a piece of its own beside it."""
    text = clean_text(message.text)
    changes = [] if text == message.text else [_cleaned(message)]
    lone = message.lone_htmls if has_html else ()
    woven = weave_html(message, text, lone) if lone else text
    if woven != text:
        changes.append(_change(Code.BODY_JOINED, before=_hashes(lone)))
    changes += _unsent(message, PLAIN, lone if woven != text else ())
    return Body(text=woven, content_type=PLAIN, changes=tuple(changes))


def _make_text(message: Message) -> Body:
    """The text of the HTML."""
    effort = Effort()
    text = make_text(clean_text(message.html), effort)
    changes = (_change(Code.BODY_TO_TEXT, before=_hashes(message.bodies)),)
    if effort.spent:
        return Body(
            text=text,
            content_type=PLAIN,
            kept=(Role.HTML,),
            changes=(*changes, _too_large(message.html, "HTML")),
        )
    return Body(text=text, content_type=PLAIN, changes=changes)


def _make_invitation(message: Message) -> Body:
    """The text of an invitation in a mail without words; "" when there is none."""
    part = find_invitation(message)
    text = render_invitation(part) if part else ""
    changes = (_change(Code.BODY_INVITATION, before=_hashes(message.bodies), after=text),) if text else ()
    return Body(text=text, content_type=PLAIN, changes=changes)


def _unsent(message: Message, sent: str, lone: tuple[Part, ...]) -> list[Adaptation]:
    """The record of the bodies that say the same as the one that is sent, and stay in the original."""
    known = {id(part) for part in lone}
    others = [
        part
        for part in message.bodies
        if (part.content_type == HTML) != (sent == HTML) and part.size and id(part) not in known
    ]
    return [_change(Code.BODY_ALTERNATIVE, before=_hashes(others))] if others else []


def _cleaned(message: Message) -> Adaptation:
    return _change(Code.BODY_CLEANED, before=_hashes(message.bodies))


def _hashes(parts: Iterable[Part]) -> str:
    return " ".join(part.sha256 for part in parts)


def _cut(body: Body, message: Message, limit: int) -> Body:
    """The body within its limit, cut at the end of a line where possible."""
    if not exceeds_utf8(body.text, limit) and (Defect.BODY_TOO_LONG not in message.defects or body.kept):
        return body
    cut = cut_utf8(body.text, limit)
    line = cut.rfind("\n")
    if line > max(0, len(cut) - 1_000):
        cut = cut[:line] + "\n…"
    own = Role.HTML if is_blank(message.text) else Role.TEXT
    kept = body.kept if own in body.kept else (own, *body.kept)
    return replace(body, text=cut, kept=kept, changes=(*body.changes, _too_large(body.text, "text")))


def _too_large(text: str, kind: str) -> Adaptation:
    return Adaptation(
        code=Code.BODY_TOO_LARGE,
        detail=f"{Code.BODY_TOO_LARGE.sentence} (its {kind} has {count_utf8(text):,} bytes)",
    )


def _change(code: Code, *, before: str = "", after: str = "") -> Adaptation:
    return Adaptation(code=code, detail=code.sentence, before=before, after=after)
