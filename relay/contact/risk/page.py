"""HTML as its reader sees it: the words that are shown, those that are hidden, and the links.

Owns the walk over the tokens with the look of each element. Never builds a tree, never does I/O; linear, and
bounded by the tokens of `relay.message.markup`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from relay.contact.risk.styles import WHITE, Look, apply, parse_colour, read_declarations, read_sheet
from relay.message.markup import TOKENS, Kind, Scanner, Token, read_attributes, unescape

_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
#: Elements that end where the next of their kind begins.
_ENDED_BY_NEXT = frozenset(["dd", "dt", "li", "option", "p", "td", "th", "tr"])
_NEVER_SHOWN = frozenset(["datalist", "template"])
_STYLING = ("style", "class", "id", "hidden", "color", "size")
#: Attributes that hold words a reader does not see as a rule.
_TELLING = ("alt", "title", "aria-label", "content", "placeholder", "summary")
#: Plain tags, behind "<". A page of text in plain elements without attributes, as most people's mail
#: programs write one, hides nothing and links nothing, and a look at each tag says so.
_PLAIN_TAGS = frozenset(
    f"{slash}{name}{way}{end}>"
    for name in (
        *("html", "head", "body", "div", "p", "br", "hr", "b", "i", "u", "s", "em", "strong", "span"),
        *("blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "tbody", "tr"),
        *("td", "th"),
    )
    for slash in ("", "/")
    for way in ("", ' dir="ltr"', ' dir="rtl"', ' dir="auto"')
    for end in ("", " ", "/", " /")
)
_TAG = re.compile(r"<([^>]*>?)")
_DEEPEST = 1_000
_NOTHING: Mapping[str, str] = MappingProxyType({})
#: Characters of a link's text and target that are kept.
_LONGEST = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link: the target as written, and the words that are seen for it."""

    target: str
    text: str


@dataclass(slots=True, kw_only=True)
class Page:
    """The page as far as it was read."""

    links: list[Link] = field(default_factory=list)
    #: Words that are seen, and the hidden ones, each with the way they are hidden.
    shown: list[str] = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    #: Comments, titles, descriptions: not seen, and nobody expects that they are.
    aside: list[str] = field(default_factory=list)
    #: The source of a page of plain tags alone: its words are cut out where they are asked for.
    plain: str = ""

    def list_shown(self) -> list[str]:
        """The words that are seen, in pieces."""
        if not self.plain:
            return self.shown
        return [unescape(text) for text in _TAG.sub("<", self.plain).split("<") if text]

    def look(self) -> list[str]:
        """The words that are seen, plain tags perhaps between them: enough to look for single characters."""
        return [unescape(self.plain)] if self.plain else self.shown


class _Walk:
    def __init__(self, source: str) -> None:
        self.page = Page()
        self._sheet = _read_sheets(source)
        lower = source.lower()
        # Without any background the page is white; with style sheets that is not known.
        known = not any(word in lower for word in ("background", "bgcolor", "<style", "<link"))
        self._looks: list[tuple[str, Look]] = [("", Look(background=WHITE if known else None))]
        self._open: dict[str, int] = {}
        self._link: tuple[str, list[str]] | None = None

    def take(self, token: Token) -> None:
        if token.kind is Kind.TEXT:
            self._text(unescape(token.value))
        elif token.kind is Kind.OPEN:
            self._enter(token)
        elif token.kind is Kind.CLOSE:
            self._leave(token.name)
        elif token.value and token.name not in ("style", "script"):
            self.page.aside.append(token.value)

    def finish(self) -> Page:
        self._end_link()
        return self.page

    def _text(self, text: str) -> None:
        way = self._looks[-1][1].hides
        if not way:
            self.page.shown.append(text)
            if self._link is not None and len(self._link[1]) < _LONGEST:
                self._link[1].append(text[:_LONGEST])
        elif not text.isspace():
            self.page.hidden.append((way, text))

    def _enter(self, token: Token) -> None:
        name, inside = token.name, token.value
        attributes: Mapping[str, str] = _NOTHING
        if "=" in inside:
            attributes = read_attributes(inside)
            self.page.aside += [words for key in _TELLING if (words := attributes.get(key))]
        if name in ("a", "area"):
            self._end_link()
            if target := attributes.get("href", ""):
                self._link = (target[:_LONGEST], [])
        if name in _VOID:
            return
        if name in _ENDED_BY_NEXT and self._looks[-1][0] == name:
            self._leave(name)
        look = self._looks[-1][1]
        if name in _NEVER_SHOWN:
            look = Look(gone="not displayed")
        elif self._sheet or (inside and any(word in inside.lower() for word in _STYLING)):
            look = self._style(look, name, inside, attributes)
        if len(self._looks) < _DEEPEST:
            self._looks.append((name, look))
            self._open[name] = self._open.get(name, 0) + 1

    def _style(self, look: Look, name: str, inside: str, attributes: Mapping[str, str]) -> Look:
        """The look inside an element, by the style sheets and its attributes."""
        lower = f" {inside.lower().replace('/', ' ')} "
        if "hidden" in lower and ("hidden" in attributes or " hidden " in lower):
            return apply(look, {"display": "none"})
        names = [name, *(f".{one}" for one in attributes.get("class", "").lower().split()[:20])]
        names.append(f"#{attributes.get('id', '').lower()}")
        for one in names:
            for key in (one, f"{name}{one}"):
                if key in self._sheet:
                    look = apply(look, self._sheet[key])
        style: dict[str, str] = {}
        if colour := attributes.get("bgcolor"):
            style["background-color"] = colour.strip().lower()
        if name == "font" and parse_colour(attributes.get("color", "")) is not None:
            style["color"] = attributes["color"].strip().lower()
        return apply(look, style | read_declarations(attributes.get("style", "")))

    def _leave(self, name: str) -> None:
        if name == "a":
            self._end_link()
        if not self._open.get(name):
            return  # closes nothing that is open: no search, or unclosed elements would cost squares
        while True:
            closed, _ = self._looks.pop()
            self._open[closed] -= 1
            if closed == name:
                return

    def _end_link(self) -> None:
        if self._link is not None:
            self.page.links.append(Link(target=self._link[0], text="".join(self._link[1])[:_LONGEST]))
            self._link = None


def read_page(source: str) -> Page:
    """The page that a piece of HTML makes; what stands after its first 150,000 tokens is left out."""
    if _is_plain(source):
        return Page(plain=source)
    walk = _Walk(source)
    for number, token in enumerate(Scanner(source).tokens()):
        if number >= TOKENS:
            break
        walk.take(token)
    page = walk.finish()
    page.aside += _between(source, "<!--", "-->")
    return page


def _is_plain(source: str) -> bool:
    """Returns whether a page has plain tags alone."""
    tags = set(_TAG.findall(source))
    return tags <= _PLAIN_TAGS or {tag.lower() for tag in tags} <= _PLAIN_TAGS


def _read_sheets(source: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for number, token in enumerate(Scanner(source).tokens() if "<style" in source.lower() else ()):
        if number >= TOKENS:
            break
        if token.kind is Kind.HIDDEN and token.name == "style":
            for selector, declarations in read_sheet(token.value):
                found.setdefault(selector, {}).update(read_declarations(declarations))
    return found


def _between(source: str, opening: str, closing: str) -> list[str]:
    """The pieces between two marks, in order; the last one may have no end."""
    pieces = []
    start = source.find(opening)
    while start >= 0:
        stop = source.find(closing, start + len(opening))
        pieces.append(source[start + len(opening) : stop if stop >= 0 else len(source)])
        start = source.find(opening, stop) if stop >= 0 else -1
    return pieces
