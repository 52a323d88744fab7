"""The document of a mail's HTML, for a frame in which nothing runs and nothing is fetched.

Owns the elements and attributes that are kept, each written anew, so that a browser reads the tags that were
read here. The policy of the response (`relay.web.responses`) forbids scripts and requests a second time.
Takes linear time, and gives a document of bounded length, depth and number of elements. Never does I/O.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Final

from relay.message.markup import Kind, Scanner, Token, read_attributes, unescape
from relay.web.pictures import drawable_type
from relay.web.rendering import clean

#: Characters that are taken beside those of pictures: of real mail one in ten thousand has more.
MOST_CHARACTERS: Final = 1_000_000
#: Characters of HTML that are read, with pictures inside it: more than a contact's body may have.
_MOST_SOURCE: Final = 8_000_000
#: Tokens that are read, and elements that may stand inside each other; newsletters have up to 80.
MOST_TOKENS: Final = 30_000
MOST_DEPTH: Final = 160
#: Octets of pictures inside a document.
MOST_PICTURES: Final = 8_000_000
_MOST_VALUE: Final = 4_000

_VOID = frozenset({"br", "hr", "img", "wbr", "col"})
_KEPT = _VOID | frozenset({
    "a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "caption", "center",
    "cite", "code", "colgroup", "dd", "del", "dfn", "dir", "div", "dl", "dt", "em", "figcaption", "figure",
    "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "i", "ins", "kbd", "li", "main", "mark",
    "ol", "p", "pre", "q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span", "strike", "strong",
    "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var",
})  # fmt: skip
#: An element that a tag ends without a tag of its own (HTML standard, §13.1.2.4).
_ENDS: Final[Mapping[str, frozenset[str]]] = {
    "li": frozenset({"li", "p"}),
    "p": frozenset({"p"}),
    "dt": frozenset({"dt", "dd", "p"}),
    "dd": frozenset({"dt", "dd", "p"}),
    "td": frozenset({"td", "th", "p"}),
    "th": frozenset({"td", "th", "p"}),
    "tr": frozenset({"td", "th", "tr", "p"}),
    "tbody": frozenset({"td", "th", "tr", "tbody", "thead", "p"}),
    "a": frozenset({"a"}),
}
_ATTRIBUTES = frozenset({
    "align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "class", "color", "colspan", "dir", "face",
    "height", "id", "lang", "rowspan", "size", "start", "style", "title", "type", "valign", "width",
})  # fmt: skip
_SPANS = frozenset({"colspan", "rowspan", "start", "size", "border", "cellpadding", "cellspacing"})
#: Columns and rows that a cell may span; a hundred cost a browser seconds.
_MOST_SPAN = 20
#: Characters of style sheets; real ones have a tenth.
MOST_CSS: Final = 200_000
_NUMBER = re.compile(r"[0-9]{1,3}")
_SCHEME = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
_DATA_PICTURE = re.compile(r"\s*data:image/[a-z]{3,4};base64,([A-Za-z0-9+/=\s]*+)\Z", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f]+")
# What would fetch, or keep the machine busy; escapes could spell any of it. The policy of the response stops
# requests whatever is left.
_UNWANTED_CSS = re.compile(
    r"\\|<|@(?:import|font-face|(?:-\w{1,10}-)?keyframes|namespace)|\b(?:url|src|image|(?:-\w{1,10}-)?image-set"
    r"|expression|element|cross-fade)\s*\(|\b(?:filter|animation|transition|behavior|-moz-binding|columns?|column-count|column-width)\b",
    re.IGNORECASE,
)
_HEAD = (
    '<!doctype html><html><head><meta charset="utf-8"><base target="_blank">'
    '<meta name="referrer" content="no-referrer"><title>The message</title><style>'
    ":root{color-scheme:light;background:#fff;color:#111}body{margin:12px;overflow-wrap:break-word;"
    "font:15px/1.5 system-ui,sans-serif}img{max-width:100%}</style></head><body>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The document of a frame, and the things that it leaves out."""

    document: str
    #: True if the end of the HTML is not shown.
    cut: bool
    #: Pictures elsewhere that were not fetched.
    remote: int


def build_frame(source: str, *, pictures: Mapping[str, str]) -> Frame:
    """The document for HTML of a mail; `pictures` has the data URL of each Content-ID that may be drawn."""
    writer = _Writer(pictures)
    tokens = Scanner(source[:_MOST_SOURCE]).tokens()
    for token in islice(tokens, MOST_TOKENS):
        writer.take(token)
        if writer.left < 0:
            break
    cut = len(source) > _MOST_SOURCE or writer.left < 0 or next(tokens, None) is not None
    return Frame(document=_HEAD + writer.finish() + "</body></html>", cut=cut, remote=writer.remote)


def content_ids(source: str) -> frozenset[str]:
    """The Content-IDs of pictures that HTML shows, in lower case (RFC 2392)."""
    tokens = islice(Scanner(source[:_MOST_SOURCE]).tokens(), MOST_TOKENS)
    return frozenset(
        found
        for token in tokens
        if token.kind is Kind.OPEN and token.name == "img" and "cid:" in token.value.lower()
        if (found := _content_id(read_attributes(token.value).get("src", "")))
    )


def _content_id(url: str) -> str:
    url = _BLANKS.sub("", url)
    return url[4:].lower() if url[:4].lower() == "cid:" else ""


class _Writer:
    """The document so far, and the elements that are open in it."""

    def __init__(self, pictures: Mapping[str, str]) -> None:
        self._pictures = pictures
        self._written: list[str] = []
        self._open: list[str] = []
        self._left_open: dict[str, int] = {}
        self._css_left = MOST_CSS
        self._picture_left = MOST_PICTURES
        #: Characters that may still be written, pictures apart; negative once there were more.
        self.left = MOST_CHARACTERS
        self.remote = 0

    def take(self, token: Token) -> None:
        if token.kind is Kind.TEXT:
            self._write(escape(clean(unescape(token.value[: self.left])), quote=False), len(token.value))
        elif token.kind is Kind.HIDDEN:
            if token.name == "style" and self._css_left > 0:
                css = _safe_css(token.value[: self._css_left])
                self._css_left -= len(css)
                self._write(f"<style>{css}</style>", len(css))
        elif token.kind is Kind.CLOSE:
            self._close(token.name)
        elif token.name == "body":
            self._start("div", token)
        elif token.name in _KEPT:
            self._start(token.name, token)

    def finish(self) -> str:
        while self._open:
            self._pop()
        return "".join(self._written)

    def _start(self, name: str, token: Token) -> None:
        ended = _ENDS.get(name, frozenset())
        while self._open and self._open[-1] in ended:
            self._pop()
        if name not in _VOID:
            if len(self._open) >= MOST_DEPTH:
                return
            self._open.append(name)
            self._left_open[name] = self._left_open.get(name, 0) + 1
        attributes = self._attributes(name, token)
        picture = self._source(token) if name == "img" else ""
        self._write(f"<{name}{attributes}{picture}>", len(name) + len(attributes))

    def _write(self, piece: str, cost: int) -> None:
        self._written.append(piece)
        self.left -= cost

    def _close(self, name: str) -> None:
        if not self._left_open.get(name):
            return
        if name not in {"table", "td", "th", "tr"} and "table" in self._open:
            # A tag inside a cell ends nothing outside of its table.
            inner = len(self._open) - 1 - self._open[::-1].index("table")
            if name not in self._open[inner:]:
                return
        while self._pop() != name:
            pass

    def _pop(self) -> str:
        name = self._open.pop()
        self._left_open[name] -= 1
        self._written.append(f"</{name}>")
        return name

    def _attributes(self, name: str, token: Token) -> str:
        if not token.value.strip():
            return ""
        found = read_attributes(token.value)
        kept = [
            f' {key}="{escape(clean(value))}"'
            for key, given in found.items()
            if key in _ATTRIBUTES and (value := _safe_value(key, given))
        ]
        if name == "a" and (url := _safe_link(found.get("href", ""))):
            kept.append(f' href="{escape(clean(url))}" rel="noopener noreferrer"')
        return "".join(kept)

    def _source(self, token: Token) -> str:
        """The attribute of a picture that stands in the document; "" for one that does not."""
        url = read_attributes(token.value).get("src", "")
        if content_id := _content_id(url):
            url = self._pictures.get(content_id, "")
        elif _REMOTE.match(_BLANKS.sub("", url[:40])):
            self.remote += 1
            return ""
        found = _DATA_PICTURE.match(url)
        octets = _decode_base64(found[1]) if found and len(found[1]) < 1.4 * self._picture_left else b""
        kind = drawable_type(octets)
        if kind is None:
            return ""
        self._picture_left -= len(octets)
        return f' src="data:{kind};base64,{base64.b64encode(octets).decode()}"'


def _decode_base64(text: str) -> bytes:
    """The octets; none where the text is no base64."""
    try:
        return base64.b64decode("".join(text.split()))
    except ValueError:
        return b""


def _safe_value(key: str, value: str) -> str:
    value = value[:_MOST_VALUE]
    if key == "style":
        return _safe_css(value)
    if key in _SPANS:
        found = _NUMBER.match(value.strip())
        return str(min(int(found[0]), _MOST_SPAN)) if found else ""
    return value


def _safe_css(text: str) -> str:
    return clean(_UNWANTED_CSS.sub(" ", text))


def _safe_link(url: str) -> str:
    url = _BLANKS.sub("", url)
    return url[:_MOST_VALUE] if _SCHEME.match(url) else ""
