"""The tokens of HTML, cut in one pass and in linear time whatever the HTML holds.

Owns the tokens of HTML as far as a mail needs them: to make text of it, to append to it, to see whether it
shows anything, and to close what hides its words. Never builds a tree, never judges what is safe, never does
I/O. Follows the tokenizer of the HTML standard (§13.2.5) where browsers would; `html.parser` is not used
because unclosed comments and tags cost it quadratic time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterator, Sequence
from enum import Enum, auto
from itertools import islice
from typing import NamedTuple


class Kind(Enum):
    """The kind of a token."""

    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    #: Comments, declarations, and the content of elements that show none (script, style, title).
    HIDDEN = auto()


class Token(NamedTuple):
    """One piece of HTML: `name` is the element's in lower case, `value` the text, or the inside of a tag."""

    kind: Kind
    name: str
    value: str


#: Tokens of one mail's HTML that are read, at about 5 µs each; real mail has less than a tenth of them.
TOKENS = 150_000

#: Elements that hold others and have an end, so that one which is not displayed hides what is in it.
_BLOCKS = frozenset({"div", "span", "table", "td", "section", "article", "center", "font", "b", "strong"})

#: Tokens within which HTML that shows anything begins to: of real mail a few hundred.
_FIRST_TOKENS = 50_000

# Where markup begins; a "<" before anything else is text ("a < b", "<3").
_MARK = re.compile(r"<(?=/?[A-Za-z]|[!?])")
_NAME = re.compile(r"/?([A-Za-z][^\s/>]{0,40})")
_TAG_STOP = re.compile(r"""=\s{0,20}(["'])|>""")
#: Elements that hold no markup: their content ends at their own end alone (HTML standard §13.2.5.2-4).
_RAW = ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
_CLOSERS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
#: Raw elements whose text a reader sees.
_SHOWN = frozenset({"textarea", "xmp"})
# Text and whole tags that leave nothing open, read without a token for each: a tag of which the end is in
# doubt (a quote of over 200 characters, or one that never ends) is not among them.
_PLAIN = re.compile(
    rf"""(?:[^<]++
      | <(?![A-Za-z/!?])
      | <(?:/|(?!(?i:{"|".join(_RAW)})[\s/>]))[A-Za-z][^\s/>]{{0,40}}+
        (?:[^=>]++ | =(?!\s{{0,20}}["']) | =\s{{0,20}}+(?:"[^"]{{0,200}}+" | '[^']{{0,200}}+'))*+ >
    )*+""",
    re.VERBOSE,
)
#: Text and the whole tag behind it, as nearly all are: one look for both. A quote of over a thousand
#: characters is left to the search that remembers which quotes never end.
_TEXT_AND_TAG = re.compile(
    r"""([^<]*+)<(/?)([A-Za-z][^\s/>]{0,40}+)
      ((?:[^=>]++ | =(?!\s{0,20}["']) | =\s{0,20}+(?:"[^"]{0,1000}+" | '[^']{0,1000}+'))*+)>""",
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(
    r"""(?<![\w:.-])([A-Za-z_:][\w:.-]{0,60}+)\s{0,20}+=\s{0,20}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
)
# Digits of a character's number: int() of more than 4,300 digits raises.
_HUGE_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9A-Fa-f]{7,});?")
# The end of a tidy document; a fragment is appended before it. Only the tail is searched.
_END = re.compile(r"</body\s{0,20}>\s{0,200}(?:</html\s{0,20}>\s{0,200})?\Z", re.IGNORECASE)
_TAIL = 600
# White space and other characters that show nothing: no-break, zero-width, soft-hyphen; they fill preheaders.
_BLANK = " \t\r\n\f\v\u00a0\u200b\u200c\u200d\u034f\u00ad\ufeff"
#: Marks that hide what follows while they are open, and their ends.
_COVERING = ("title", "style", "script", "iframe", "noembed", "noframes")
# The look ahead costs less than the choice: most marks are others.
_COVER = re.compile(rf"<(?=[!tsinTSIN])(!--|(?i:{'|'.join(_COVERING)}))")
_COVER_ENDS = {"!--": re.compile("-->")} | {name: _CLOSERS[name] for name in _COVERING}
_COVERS = frozenset({"-->", *(f"</{name}>" for name in _COVERING)})
#: Covers that are taken off one HTML.
_MOST_COVERS = 4
#: The elements that stand for words, or for the end of what has none.
_CONTENT = re.compile(
    r"</head\b|<body\b|</?(?:p|div|table|tr|td|span|br|h[1-6]|a|b|i|u|font|center|ul|ol|li|blockquote|pre|section)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_HIDDEN = re.compile(r"\shidden(?=[\s/=]|$)")
_STYLE_BLANKS = re.compile(r"\s+")
_STYLE_SIZES = re.compile(r"(?:^|;)(?:width|height):([^;]{0,20})")
_TINY = re.compile(r"[01](?:\.0)?(?:px|pt)?(?:!important)?")
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
        #: The offset behind the tag or mark that `closer` closes.
        self.hidden_from = 0
        # Quotes that do not occur in the rest, so that they are not searched for again: that would be
        # quadratic.
        self._exhausted: set[str] = set()
        # The end of a tag with an unclosed quote: up to there the quotes of tags mean nothing.
        self._unquoted = 0

    def tokens(self, *, plain: bool = True) -> Iterator[Token]:
        """The tokens in order; never raises. With `plain` false, those that cannot leave anything open may be
        left out: what `closer` needs, at a tenth of the time.
        """
        source, end = self._source, len(self._source)
        position = 0
        while position < end:
            if not plain and position >= self._unquoted:
                whole = _PLAIN.match(source, position)
                position = whole.end() if whole else position
            both = _TEXT_AND_TAG.match(source, position) if plain and position >= self._unquoted else None
            if both is None:
                position = yield from self._step(position)
                continue
            text, slash, name, value = both.groups()
            position = both.end()
            if text:
                yield Token(Kind.TEXT, "", text)
            name = name.lower()
            yield Token(Kind.CLOSE, name, "") if slash else Token(Kind.OPEN, name, value)
            if name in _CLOSERS and not slash:
                position = yield from self._raw(name, position)

    def _step(self, position: int) -> Generator[Token, None, int]:
        """The next text and the mark behind it, whatever they are; the return value is the offset behind."""
        source, end = self._source, len(self._source)
        mark = _MARK.search(source, position)
        if mark is None:
            yield Token(Kind.TEXT, "", source[position:])
            return end
        start = mark.start()
        if start > position:
            yield Token(Kind.TEXT, "", source[position:start])
        after = source[start + 1]
        if after in "!?":
            position = self._declaration(start)
            yield Token(Kind.HIDDEN, "", "")
            return position
        found = _NAME.match(source, start + 1)
        assert found is not None, "a mark is followed by a name"
        name = found.group(1).lower()
        stop = self._tag_end(found.end())
        if stop < 0:
            # Browsers drop an unfinished tag and everything after it; an agent should see it.
            # The element that the tag opens is closed with it: else "<style" would hide what follows.
            opened = f"</{name}>" if after != "/" and name in _CLOSERS else ""
            self.closer = ('">' if self._exhausted else ">") + opened
            yield Token(Kind.TEXT, "", source[start:])
            return end
        if after == "/":
            yield Token(Kind.CLOSE, name, "")
            return stop + 1
        yield Token(Kind.OPEN, name, source[found.end() : stop])
        return (yield from self._raw(name, stop + 1)) if name in _CLOSERS else stop + 1

    def _declaration(self, start: int) -> int:
        """The offset behind a comment or declaration that begins at `start`."""
        source = self._source
        if source.startswith("<!--", start):
            # "<!-->" is a whole comment (HTML standard, §13.2.5.43), so its dashes count twice.
            stop = source.find("-->", start + 2)
            if stop < 0:
                self.closer, self.hidden_from = "-->", start + 4
                return len(source)
            return stop + 3
        stop = source.find(">", start)
        if stop < 0:
            self.closer = ">"
            return len(source)
        return stop + 1

    def _tag_end(self, position: int) -> int:
        """The offset of the ">" of a tag, past quoted values; -1 when the tag never ends."""
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
                # The quote is never closed: the tag is read as if it had none, as the sender meant.
                self._exhausted.add(quote)
                self._unquoted = found.end()
                break
            position = stop + 1
        return source.find(">", begin)

    def _raw(self, name: str, position: int) -> Generator[Token, None, int]:
        """The content of an element that holds no markup; the return value is the offset behind it."""
        source = self._source
        found = _CLOSERS[name].search(source, position)
        stop = found.start() if found else len(source)
        if found is None:
            self.closer, self.hidden_from = f"</{name}>", position
        if stop > position:
            kind = Kind.TEXT if name in _SHOWN else Kind.HIDDEN
            yield Token(kind, name, source[position:stop])
        return stop


def find_closer(source: str) -> str | None:
    """The closing markup (such as `-->`) that unfinished HTML needs before text can be appended; "" if none.

    Returns None when the HTML has more tokens that matter than are read.
    """
    scanner = Scanner(source)
    for number, _ in enumerate(scanner.tokens(plain=False)):
        if number >= TOKENS:
            return None
    return scanner.closer


def append_fragment(source: str, fragment: str) -> tuple[str, str]:
    """The HTML with a fragment that will be seen at its end, and the closing markup that was put before it.

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


def join_html(pieces: Sequence[str]) -> str:
    """The HTML of several leaves one after the other: none hides the next by what it leaves open."""
    shown = [piece for piece in pieces if piece]
    joined: list[str] = []
    for number, piece in enumerate(shown):
        closer = (find_closer(piece) or "") if number + 1 < len(shown) else ""
        joined += (piece, closer, "" if piece.endswith("\n") or number + 1 == len(shown) else "\n")
    return "".join(joined)


def uncover(source: str) -> str:
    """The HTML with its words uncovered: a title, style or comment that hides the rest of it is closed.

    `<title/>` opens a title for a browser, and a style sheet without an end reaches to the end of the mail.
    The missing mark is put before the first element that stands for words. HTML that hides nothing comes
    back as it is.
    """
    for _ in range(_MOST_COVERS):
        if not _leaves_open(source):
            break
        scanner = Scanner(source)
        for number, _token in enumerate(scanner.tokens(plain=False)):
            if number >= TOKENS:
                return source
        place = _content(source, scanner) if scanner.closer in _COVERS else None
        if place is None:
            break
        source = source[:place] + scanner.closer + source[place:]
    return source


def _leaves_open(source: str) -> bool:
    """Returns whether the last mark of a kind that hides what follows has no end behind it: a look without
    tokens, since nearly all HTML is sound.
    """
    last = {found[1].lower(): found.end() for found in islice(_COVER.finditer(source), TOKENS)}
    return any(_COVER_ENDS[name].search(source, at) is None for name, at in last.items())


def _content(source: str, scanner: Scanner) -> int | None:
    start = scanner.hidden_from
    if scanner.closer != "-->" and source[start - 2 : start] == "/>":
        return start
    found = _CONTENT.search(source, start)
    return None if found is None else found.start()


def shows_something(source: str) -> bool:
    """Returns whether a reader of the HTML would see any text or picture. True, too, after a bounded look at
    what shows nothing. A picture of one pixel is none.
    """
    for number, token in _outside_templates(source):
        if token.kind is Kind.TEXT and unescape(token.value).strip(_BLANK):
            return True
        if number >= _FIRST_TOKENS:
            return True
        if token.kind is Kind.OPEN and token.name in _MEDIA and not _is_pixel(token):
            return True
    return False


def shows_words(source: str) -> bool:
    """Returns whether a reader of the HTML would see text: some that stands in no element that is hidden."""
    inside, depth = "", 0
    for number, token in _outside_templates(source):
        if number >= _FIRST_TOKENS:
            return True
        if inside:
            if token.name == inside:
                depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
            inside = inside if depth else ""
        elif token.kind is Kind.TEXT and unescape(token.value).strip(_BLANK):
            return True
        elif token.kind is Kind.OPEN and token.name in _BLOCKS and _is_hidden(token):
            inside, depth = token.name, 1
    return False


def _outside_templates(source: str) -> Iterator[tuple[int, Token]]:
    """The tokens that are not within a template, which shows nothing by itself, each with its number."""
    depth = 0
    for number, token in enumerate(Scanner(source).tokens()):
        if token.name == "template":
            depth = max(depth + (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE), 0)
        elif not depth or number >= _FIRST_TOKENS:
            yield number, token


def _is_hidden(token: Token) -> bool:
    if "hidden" not in (tag := token.value.lower()) and "display" not in tag:
        return False
    if _HIDDEN.search(_QUOTED.sub("", tag)):
        return True
    return "display:none" in _STYLE_BLANKS.sub("", read_attributes(token.value).get("style", "").lower())


def _is_pixel(token: Token) -> bool:
    """Returns whether a picture is there to be counted, not to be seen."""
    if token.name != "img":
        return False
    attributes = read_attributes(token.value)
    style = _STYLE_BLANKS.sub("", attributes.get("style", "").lower())
    if "display:none" in style or "visibility:hidden" in style:
        return True
    sizes = [attributes.get(side, "").strip() for side in ("width", "height")]
    sizes += _STYLE_SIZES.findall(style)
    return sum(_TINY.fullmatch(size) is not None for size in sizes) >= 2
