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


#: What one mail's HTML may cost, in tokens of about 5 µs: real mail stays below a tenth of it.
TOKENS = 150_000

# Where markup begins; a "<" before anything else is text ("a < b", "<3").
_MARK = re.compile(r"<(?=/?[A-Za-z]|[!?])")
_NAME = re.compile(r"/?([A-Za-z][^\s/>]{0,40})")
_TAG_STOP = re.compile(r"""=\s{0,20}(["'])|>""")
_CLOSERS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
#: Raw elements whose text a reader sees all the same.
_SHOWN = frozenset({"textarea", "xmp"})
_ATTRIBUTE = re.compile(
    r"""(?<![\w:.-])([A-Za-z_:][\w:.-]{0,60}+)\s{0,20}+=\s{0,20}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
)
# int() of more than 4,300 digits raises, and no character has a number this long.
_HUGE_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9A-Fa-f]{7,});?")
# Where a tidy document ends; what is appended goes before it. Only the tail is searched.
_END = re.compile(r"</body\s{0,20}>\s{0,200}(?:</html\s{0,20}>\s{0,200})?\Z", re.IGNORECASE)
_TAIL = 600
# White space, and what shows none either: no-break, zero-width and soft-hyphen characters that fill preheaders.
_BLANK = " \t\r\n\f\v\u00a0\u200b\u200c\u200d\u034f\u00ad\ufeff"
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
        # How far a tag with an unclosed quote was read: up to there the quotes of tags mean nothing.
        self._unquoted = 0

    def tokens(self) -> Iterator[Token]:
        """The tokens in order; never raises."""
        source, end = self._source, len(self._source)
        position = 0
        while position < end:
            mark = _MARK.search(source, position)
            if mark is None:
                yield Token(Kind.TEXT, "", source[position:])
                return
            start = mark.start()
            if start > position:
                yield Token(Kind.TEXT, "", source[position:start])
            after = source[start + 1]
            if after in "!?":
                position = self._declaration(start)
                yield Token(Kind.HIDDEN, "", "")
                continue
            found = _NAME.match(source, start + 1)
            assert found is not None, "a mark is followed by a name"
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
        while position >= self._unquoted:
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
                self._unquoted = found.end()
                break
            position = stop + 1
        return source.find(">", begin)

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


def find_closer(source: str) -> str | None:
    """What must follow the HTML so that what comes after it is seen; "" when nothing must.

    None when the HTML has more tokens than we look at.
    """
    scanner = Scanner(source)
    for number, _ in enumerate(scanner.tokens()):
        if number >= TOKENS:
            return None
    return scanner.closer


def append_fragment(source: str, fragment: str) -> tuple[str, str]:
    """The HTML with a fragment that will be seen at its end, and what had to be closed before it ("" for nothing).

    Before HTML too long to be read to its end the fragment stands first, where it cannot be hidden.
    """
    closer = find_closer(source)
    if closer is None:
        return fragment + source, ""
    if closer:
        return source + closer + fragment, closer
    end = _END.search(source, max(0, len(source) - _TAIL))
    place = end.start() if end else len(source)
    return source[:place] + fragment + source[place:], ""


def shows_something(source: str) -> bool:
    """Whether a reader of the HTML would see any text or picture; stops at the first, and believes after a while."""
    for number, token in enumerate(Scanner(source).tokens()):
        if token.kind is Kind.TEXT and unescape(token.value).strip(_BLANK):
            return True
        if (token.kind is Kind.OPEN and token.name in _MEDIA) or number >= TOKENS:
            return True
    return False
