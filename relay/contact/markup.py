"""HTML cut into its pieces, in one pass and in linear time whatever it holds.

Owns the tokens of HTML as far as the fit needs them: to make text of it, to see where it ends, and to see
whether it shows anything. Never builds a tree, never judges what is safe, never does I/O. Follows the
tokenizer of the HTML standard (§13.2.5) where browsers would; `html.parser` is not used because unclosed
comments and tags cost it quadratic time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    #: Comments, declarations, and the content of elements that show none (script, style, title).
    HIDDEN = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of HTML: `name` is the element's in lower case, `value` the text, or what stands in the tag."""

    kind: Kind
    name: str
    value: str


_NAME = re.compile(r"/?([A-Za-z][^\s/>]{0,40})")
_TAG_STOP = re.compile(r"""=\s{0,20}(["'])|>""")
_CLOSERS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
#: Raw elements whose text a reader sees all the same.
_SHOWN = frozenset({"textarea", "xmp"})
_ATTRIBUTE = re.compile(r"""([A-Za-z_:][\w:.-]{0,60})\s{0,20}=\s{0,20}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
# int() of more than 4,300 digits raises, and no character has a number this long.
_HUGE_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9A-Fa-f]{7,});?")
_MEDIA = frozenset({"img", "svg", "video", "audio", "object", "embed", "canvas", "iframe", "input", "image"})


def unescape(text: str) -> str:
    """The text with character references resolved; impossible ones become U+FFFD, never an error."""
    if "&" not in text:
        return text
    return html.unescape(_HUGE_REFERENCE.sub("\ufffd", text))


def read_attributes(tag: str) -> dict[str, str]:
    """The attributes of a tag's inside, names in lower case, the first of two alike."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(tag):
        found.setdefault(name.lower(), unescape(double or single or bare))
    return found


class Scanner:
    """One pass over a piece of HTML.

    After `tokens` ran out, `closer` is what must be written after the HTML so that text after it is seen:
    "" when it ends well, "-->" when it ends inside a comment, "</style>" inside a style sheet, and so on.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.closer = ""
        # Quotes that do not occur in the rest: searching for them again and again would be quadratic.
        self._exhausted: set[str] = set()

    def tokens(self) -> Iterator[Token]:
        """The tokens in order; never raises."""
        source, end = self._source, len(self._source)
        position = 0
        while position < end:
            start = source.find("<", position)
            if start < 0:
                yield Token(Kind.TEXT, "", source[position:])
                return
            if start > position:
                yield Token(Kind.TEXT, "", source[position:start])
            after = source[start + 1 : start + 2]
            if after in ("!", "?"):
                position = self._declaration(start)
                yield Token(Kind.HIDDEN, "", "")
                continue
            found = _NAME.match(source, start + 1)
            if found is None:
                yield Token(Kind.TEXT, "", "<")  # "a < b", "<3"
                position = start + 1
                continue
            stop = self._tag_end(found.end())
            if stop < 0:
                # Browsers drop an unfinished tag and all after it; a reader is better served by seeing it.
                self.closer = '">' if self._exhausted else ">"
                yield Token(Kind.TEXT, "", source[start:])
                return
            name, value = found.group(1).lower(), source[found.end() : stop]
            position = stop + 1
            if after == "/":
                yield Token(Kind.CLOSE, name, "")
                continue
            yield Token(Kind.OPEN, name, value)
            if name in _CLOSERS:
                position = yield from self._raw(name, position)

    def _declaration(self, start: int) -> int:
        """Where a comment or declaration that begins at `start` is over."""
        source = self._source
        if source.startswith("<!--", start):
            # "<!-->" is a whole comment (HTML standard, §13.2.5.43), so its dashes count twice.
            stop = source.find("-->", start + 2)
            if stop < 0:
                self.closer = "-->"
                return len(source)
            return stop + 3
        stop = source.find(">", start)
        if stop < 0:
            self.closer = ">"
            return len(source)
        return stop + 1

    def _tag_end(self, position: int) -> int:
        """Where the ">" of a tag stands, past quoted values; -1 when the tag never ends."""
        source = self._source
        begin = position
        while True:
            found = _TAG_STOP.search(source, position)
            if found is None:
                return -1
            quote = found.group(1)
            if quote is None:
                return found.start()
            stop = -1 if quote in self._exhausted else source.find(quote, found.end())
            if stop < 0:
                # The quote is never closed: take the tag as if it had none, as the sender meant.
                self._exhausted.add(quote)
                return source.find(">", begin)
            position = stop + 1

    def _raw(self, name: str, position: int) -> Generator[Token, None, int]:
        """The content of an element that holds no markup, and where it is over (as the return value)."""
        source = self._source
        found = _CLOSERS[name].search(source, position)
        stop = found.start() if found else len(source)
        if found is None:
            self.closer = f"</{name}>"
        if stop > position:
            kind = Kind.TEXT if name in _SHOWN else Kind.HIDDEN
            yield Token(kind, name, source[position:stop])
        return stop


def find_closer(source: str) -> str:
    """What must follow the HTML so that what comes after it is seen; "" when nothing must."""
    scanner = Scanner(source)
    for _ in scanner.tokens():
        pass
    return scanner.closer


def shows_something(source: str) -> bool:
    """Whether a reader of the HTML would see any text or picture; stops at the first."""
    for token in Scanner(source).tokens():
        if token.kind is Kind.TEXT and unescape(token.value).strip(
            " \t\r\n\f\v\u00a0\u200b\ufeff\u00ad\u034f\u200c\u200d"
        ):
            return True
        if token.kind is Kind.OPEN and token.name in _MEDIA:
            return True
    return False
