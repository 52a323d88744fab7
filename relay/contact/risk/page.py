"""HTML as its reader sees it: the words that are shown, those that are hidden, and the links.

Owns the walk over the tokens with the look of each element. Never builds a tree, never does I/O; linear, and
bounded by the tokens of `relay.message.markup`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from relay.contact.risk.styles import WHITE, Look, apply, parse_colour, read_declarations, read_sheet
from relay.message.markup import TOKENS, Kind, Scanner, Token, read_attributes, unescape

_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
#: Elements that end where the next of their kind begins.
_ENDED_BY_NEXT = frozenset(["dd", "dt", "li", "option", "p", "td", "th", "tr"])
_NEVER_SHOWN = frozenset(["datalist", "template"])
#: Elements of a page that are remembered, and looks.
_REMEMBERED = 10_000
_GONE = Look(gone="not displayed")
_HIDDEN = {"display": "none"}
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
#: Characters in which most pages that are not plain show it; the last tag in them may be cut.
_GLANCE = 1_000
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


class _Element(NamedTuple):
    """An element by its tag: what is found out of it once, since the rows of a table are alike."""

    #: The target of a link; "" where it is none.
    target: str
    #: Words that a reader does not see as a rule.
    aside: tuple[str, ...]
    #: The styles that make its look, the strongest last.
    styles: tuple[Mapping[str, str], ...]


class _Applied(NamedTuple):
    """The look that a style makes of another, and the way in which it hides words. The two that it was made
    of are kept, since their ids name it.
    """

    made: Look
    way: str
    look: Look
    style: Mapping[str, str]


class _Walk:
    """The walk over the elements of a page."""

    def __init__(self, lower: str, sheet: Mapping[str, Mapping[str, str]]) -> None:
        """`lower` is the source in lower case."""
        self.page = Page()
        self._sheet = sheet
        # Without any background the page is white; with style sheets that is not known.
        known = not any(word in lower for word in ("background", "bgcolor", "<style", "<link"))
        #: The name of each open element, its look, and the way in which that hides words.
        self._looks: list[tuple[str, Look, str]] = [("", Look(background=WHITE if known else None), "")]
        self._open: dict[str, int] = {}
        self._link: tuple[str, list[str]] | None = None
        #: Elements by name and inside of their tags; what a style makes of a look, by the ids of both.
        self._elements: dict[tuple[str, str], _Element] = {}
        self._styles: dict[tuple[str, str, str], Mapping[str, str]] = {}
        self._applied: dict[tuple[int, int], _Applied] = {}

    def take(self, token: Token) -> None:
        if token.kind is Kind.TEXT:
            self._text(unescape(token.value))
        elif token.kind is Kind.OPEN:
            self._enter(token.name, token.value)
        elif token.kind is Kind.CLOSE:
            self._leave(token.name)
        elif token.value and token.name not in ("style", "script"):
            self.page.aside.append(token.value)

    def finish(self) -> Page:
        self._end_link()
        return self.page

    def _text(self, text: str) -> None:
        way = self._looks[-1][2]
        if not way:
            self.page.shown.append(text)
            if self._link is not None and len(self._link[1]) < _LONGEST:
                self._link[1].append(text[:_LONGEST])
        elif not text.isspace():
            self.page.hidden.append((way, text))

    def _enter(self, name: str, inside: str) -> None:
        element = self._elements.get((name, inside))
        if element is None:
            element = self._read(name, inside)
        if element.aside:
            self.page.aside += element.aside
        if name in ("a", "area"):
            self._end_link()
            if element.target:
                self._link = (element.target, [])
        if name in _VOID:
            return
        if name in _ENDED_BY_NEXT and self._looks[-1][0] == name:
            self._leave(name)
        if len(self._looks) >= _DEEPEST:
            return
        _, look, way = self._looks[-1]
        if name in _NEVER_SHOWN:
            look, way = _GONE, _GONE.gone
        else:
            for style in element.styles:
                look, way = self._apply(look, style)
        self._looks.append((name, look, way))
        self._open[name] = self._open.get(name, 0) + 1

    def _read(self, name: str, inside: str) -> _Element:
        """The element of a tag."""
        attributes = read_attributes(inside) if "=" in inside else _NOTHING
        aside = tuple(words for key in _TELLING if (words := attributes.get(key))) if attributes else ()
        target = attributes.get("href", "")[:_LONGEST] if name in ("a", "area") else ""
        element = _Element(target, aside, tuple(self._find_styles(name, inside, attributes)))
        if len(self._elements) < _REMEMBERED:
            self._elements[name, inside] = element
        return element

    def _find_styles(
        self, name: str, inside: str, attributes: Mapping[str, str]
    ) -> Iterator[Mapping[str, str]]:
        """The styles of an element, by the style sheets and its attributes."""
        lower = f" {inside.lower().replace('/', ' ')} "
        if "hidden" in lower and ("hidden" in attributes or " hidden " in lower):
            yield _HIDDEN
            return
        names = [name, *(f".{one}" for one in attributes.get("class", "").lower().split()[:20])]
        names.append(f"#{attributes.get('id', '').lower()}")
        for one in names if self._sheet else ():
            yield from (self._sheet[key] for key in (one, f"{name}{one}") if key in self._sheet)
        colour = attributes.get("color", "") if name == "font" else ""
        written = (attributes.get("bgcolor", ""), colour, attributes.get("style", ""))
        if any(written):
            # Links are alike but for their targets.
            style = self._styles.get(written)
            if style is None:
                style = _read_style(*written)
                if len(self._styles) < _REMEMBERED:
                    self._styles[written] = style
            yield style

    def _apply(self, look: Look, style: Mapping[str, str]) -> tuple[Look, str]:
        """The look that a style makes of another, and the way in which it hides words."""
        key = (id(look), id(style))
        found = self._applied.get(key)
        if found is None:
            made = apply(look, style)
            made = look if made == look else made
            found = _Applied(made, made.hides, look, style)
            if len(self._applied) < _REMEMBERED:
                self._applied[key] = found
        return found[0], found[1]

    def _leave(self, name: str) -> None:
        if name == "a":
            self._end_link()
        if not self._open.get(name):
            return  # closes nothing that is open: no search, or unclosed elements would cost squares
        while True:
            closed, _, _ = self._looks.pop()
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
    tokens: Iterable[Token] = islice(Scanner(source).tokens(), TOKENS)
    sheets: list[str] = []
    lower = source.lower()
    if "<style" in lower:
        # Style sheets hold for what stands before them, too.
        tokens = tuple(tokens)
        sheets = [one.value for one in tokens if one.name == "style" and one.kind is Kind.HIDDEN]
    walk = _Walk(lower, _read_sheets(sheets))
    for token in tokens:
        walk.take(token)
    page = walk.finish()
    page.aside += _between(source, "<!--", "-->")
    return page


def _is_plain(source: str) -> bool:
    """Returns whether a page has plain tags alone."""
    if not _PLAIN_TAGS.issuperset(_TAG.findall(source[:_GLANCE].lower())[:-1]):
        return False
    tags = set(_TAG.findall(source))
    return tags <= _PLAIN_TAGS or {tag.lower() for tag in tags} <= _PLAIN_TAGS


def _read_style(background: str, colour: str, declared: str) -> Mapping[str, str]:
    """The declarations of an element by its attributes: bgcolor, the color of a font, and style."""
    style: dict[str, str] = {}
    if background:
        style["background-color"] = background.strip().lower()
    if parse_colour(colour) is not None:
        style["color"] = colour.strip().lower()
    return style | read_declarations(declared)


def _read_sheets(sheets: Iterable[str]) -> Mapping[str, dict[str, str]]:
    """The declarations of the rules in some style sheets, by their selectors."""
    found: dict[str, dict[str, str]] = {}
    for sheet in sheets:
        for selector, declarations in read_sheet(sheet):
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
