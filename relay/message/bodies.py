"""The bodies of a mail: which of its leaves are the writer's own words, and those words as text.

Owns *body*. Never shows an attachment as if the writer had said it. Follows RFC 2046 §5.1 (alternative,
mixed), RFC 2387 (related), RFC 1847 (signed), RFC 6522 (report).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from io import IncrementalNewlineDecoder
from itertools import islice

from relay.message.charset import decode
from relay.message.flowed import unflow
from relay.message.markup import shows_something, uncover
from relay.message.model import Part
from relay.message.octets import CHUNK
from relay.message.tree import Node

#: Types of text that are files by their kind, never a writer's words.
FILE_TYPES = frozenset({
    "text/calendar", "text/x-vcalendar", "text/x-vcard", "text/vcard", "text/directory", "text/csv", "text/rfc822-headers", "text/xml",
    "text/css", "text/rtf",
})  # fmt: skip
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*+=\s*+[\"']?+\s*+([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"\s*+<\?xml[^>]{0,100}?encoding\s*+=\s*+[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_ENRICHED = re.compile(r"<(/?)([A-Za-z0-9-]{1,60})>|<<")
#: The names that Exchange gives to the pieces of a writer's text between and behind files.
_EXCHANGE_PIECE = re.compile(r"ATT\d{5,6}\.(?:html?|txt)", re.IGNORECASE)
#: Octets above which a flowed text is left as it is: a log, not paragraphs.
_FLOWED = 4 << 20
_FLOWED_LINES = 100_000
#: Octets of HTML that may show nothing: the blank pieces that mail programs write have a tenth of them.
_LOOKED_AT = 16 << 10
#: Texts that show nothing though they have octets: no-break spaces, a byte order mark.
_BLANK_OCTETS = frozenset({b"\xc2\xa0", b"\xa0", b"&nbsp;", b"\xef\xbb\xbf", b"\xe2\x80\x8b"})
_LINE_END = re.compile(r"\r{1,4}\n|\r")
_RETURNS = re.compile(r"\r*+\n?")


@dataclass(slots=True)
class Bodies:
    """The leaves that make up the text and those that make up the HTML, each in order."""

    texts: list[Node] = field(default_factory=list)
    htmls: list[Node] = field(default_factory=list)
    #: The leaves for a reader of HTML, in order: the HTML, and the text that is no alternative to any of it.
    seen_as_html: list[Node] = field(default_factory=list)
    #: The leaves for a reader of text: the text, and the HTML that has no text beside it as its alternative.
    seen_as_text: list[Node] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.texts or self.htmls)

    def __add__(self, other: Bodies) -> Bodies:
        return Bodies(
            self.texts + other.texts,
            self.htmls + other.htmls,
            self.seen_as_html + other.seen_as_html,
            self.seen_as_text + other.seen_as_text,
        )

    def all(self) -> list[Node]:
        """Every leaf that is one of the mail's own words, for either reader."""
        return [*self.texts, *self.htmls, *self.seen_as_html, *self.seen_as_text]

    def lone_texts(self) -> list[Node]:
        """The text that a reader of the HTML alone would miss."""
        lone = [
            node for node in self.seen_as_html if node.content_type != "text/html" and not _is_blank(node)
        ]
        return lone if self.htmls else []

    def lone_htmls(self) -> list[Node]:
        """The HTML that a reader of the text alone would miss."""
        lone = [
            node for node in self.seen_as_text if node.content_type == "text/html" and not _is_blank(node)
        ]
        return lone if not all(map(_is_blank, self.texts)) else []


def find_unchosen(root: Node, chosen: Collection[int]) -> list[Node]:
    """The leaves of alternatives that stand for the same words as those that were chosen, by their `id`."""
    found: dict[int, Node] = {}
    for node in _alternatives(root):
        leaves = list(node.leaves())
        if any(id(leaf) in chosen for leaf in leaves):
            found.update(
                (id(leaf), leaf) for leaf in leaves if id(leaf) not in chosen and _stands_for_words(leaf)
            )
    return list(found.values())


def _alternatives(node: Node) -> Iterator[Node]:
    """The outermost alternatives below a node: their leaves include those of the inner ones."""
    if node.content_type == "multipart/alternative" and node.part is None:
        yield node
        return
    for child in node.children:
        yield from _alternatives(child)


def _stands_for_words(node: Node) -> bool:
    part = node.part
    assert part is not None, "leaves have parts"
    return (
        node.content_type.startswith("text/")
        and node.content_type not in FILE_TYPES - {"text/rtf"}
        and part.detected_type != "text/calendar"
        and part.content_disposition != "attachment"
        and not part.origin
        and not part.name
    )


def choose_bodies(root: Node) -> Bodies:
    """The leaves that are the mail's own words; where there are none, other text that is no file."""
    bodies = _choose(root, alone=True)
    if all(_is_blank(node) for node in (*bodies.texts, *bodies.htmls)):
        for node in root.leaves():
            if node.fallback:
                bodies = bodies + (_html(node) if node.content_type == "text/html" else _text(node))
    return bodies or _choose_other(root)


def _is_blank(node: Node) -> bool:
    """Returns whether a reader of the leaf sees nothing; one larger than a chunk is not looked at."""
    octets = node.octets
    if octets is None or not (octets := octets.strip()):
        return octets is not None
    if node.content_type == "text/html":
        if len(octets) > _LOOKED_AT or b"\0" in octets[:4]:
            return False  # a long one is not read to its end to find that it shows nothing
        return not shows_something(uncover(octets.decode("latin-1")))
    return octets in _BLANK_OCTETS


def _text(node: Node) -> Bodies:
    return Bodies(texts=[node], seen_as_html=[node], seen_as_text=[node])


def _html(node: Node) -> Bodies:
    return Bodies(htmls=[node], seen_as_html=[node], seen_as_text=[node])


def _choose(node: Node, *, alone: bool) -> Bodies:
    """The bodies below a node. `alone`: no sibling stands before it, so that a name does not make it a file
    yet.
    """
    if node.part is not None:
        for inner in node.inner:
            if inner.part is None or inner.part.origin == "smime":
                return _choose(inner, alone=alone)
        return _choose_leaf(node, alone=alone)
    kind = node.content_type
    if kind == "multipart/alternative":
        return _choose_alternative(node, alone=alone)
    if kind == "multipart/related":
        root = _related_root(node)
        return _choose(root, alone=alone) or _join(node.children, alone=alone)
    if kind in {"multipart/report", "multipart/signed"} and node.children:
        return _choose(node.children[0], alone=alone) or _join(node.children[1:], alone=False)
    return _join(node.children, alone=alone)


def _join(nodes: tuple[Node, ...], *, alone: bool) -> Bodies:
    bodies = Bodies()
    for index, node in enumerate(nodes):
        bodies = bodies + _choose(node, alone=alone and index == 0)
    return bodies


def _choose_leaf(node: Node, *, alone: bool) -> Bodies:
    part = node.part
    assert part is not None, "a leaf has a part"
    if part.detected_type == "text/calendar":
        return Bodies()  # whatever it is called
    piece = part.name is not None and _EXCHANGE_PIECE.fullmatch(part.name) is not None
    if not piece and (part.content_disposition == "attachment" or (part.name and not alone)):
        return Bodies()
    if node.content_type == "text/plain":
        return _text(node)
    return _html(node) if node.content_type == "text/html" else Bodies()


def _choose_alternative(node: Node, *, alone: bool) -> Bodies:
    """The last plain text and the last HTML of an alternative, chosen apart (RFC 2046 §5.1.4: the last is the
    best).
    """
    choices = [_choose(child, alone=alone) for child in node.children]
    # Plain text beside the HTML of a nested mixed (Apple Mail) is part of that HTML's story, not the
    # alternative.
    plain = next((each for each in reversed(choices) if each.texts and not each.htmls), None)
    riches = [each for each in reversed(choices) if each.htmls]
    seen = (each for each in riches if not all(map(_is_blank, each.htmls)))
    rich = next(seen, riches[0] if riches else None)
    if rich is None:
        return plain or Bodies()
    if plain is None:
        return rich
    # Text within the HTML's own choice belongs to that choice, and is no alternative to the plain one.
    return Bodies(plain.texts, rich.htmls, rich.seen_as_html, plain.seen_as_text)


def _related_root(node: Node) -> Node:
    start = node.parameters.get("start", "").strip("<> ")
    for child in node.children:
        if start and child.part is not None and child.part.content_id == start:
            return child
    return node.children[0] if node.children else node


def _choose_other(root: Node) -> Bodies:
    """The leaves of other text: a kind we do not know is read as plain (RFC 2046 §4.1.4), as is what lay
    beyond a limit.
    """
    for node in root.leaves():
        assert node.part is not None, "leaves have parts"
        declared = node.part.content_disposition
        unnamed_text = (
            node.content_type.startswith("text/") and not node.part.name and declared != "attachment"
        )
        if node.rest or (unnamed_text and node.content_type not in FILE_TYPES):
            return _text(node)
    # A report without words for a person: its lines for programs are shown.
    status = (node for node in root.leaves() if node.content_type == "message/delivery-status")
    return _join_texts(node for node in status if root.content_type == "multipart/report")


def _join_texts(nodes: Iterable[Node]) -> Bodies:
    bodies = Bodies()
    for node in nodes:
        bodies = bodies + _text(node)
    return bodies


def body_text(node: Node, limit: int, guess: Callable[[], bool]) -> tuple[str, bool]:
    """The words of a leaf with lines ended by LF, of at most `limit` octets. Returns beside them whether the
    charset was right.
    """
    octets = _octets(node, limit)
    part = node.part
    assert part is not None, "a leaf has a part"
    label = _label(octets, node.content_type, part.charset)
    text, good = decode(octets, label, detecting=not octets.isascii() and guess())
    text = _end_lines(text)
    if (
        node.content_type == "text/plain"
        and node.parameters.get("format", "").lower() == "flowed"
        and len(text) <= _FLOWED
        and text.count("\n") <= _FLOWED_LINES
    ):
        text = unflow(text, delete_space=node.parameters.get("delsp", "").lower() == "yes")
    elif node.content_type in {"text/enriched", "text/richtext"}:
        text = strip_enriched(text)
    return text, good or part.charset is None


def part_text(part: Part, limit: int, *, detecting: bool) -> str:
    """The words of any leaf that is text, as `body_text` reads those of a body; `detecting` takes 3 ms."""
    octets = b"".join(islice(part.chunks(), limit // CHUNK + 1))[:limit]
    text = _end_lines(decode(octets, _label(octets, part.content_type, part.charset), detecting=detecting)[0])
    return strip_enriched(text) if part.content_type in {"text/enriched", "text/richtext"} else text


def _label(octets: bytes, content_type: str, charset: str | None) -> str | None:
    """The charset that a leaf declares: its parameter, or what its HTML says of itself."""
    if charset is not None or content_type != "text/html":
        return charset
    declared = _META.search(octets, 0, 4096) or _XML.match(octets, 0, 256)
    label = declared[1].decode("ascii") if declared is not None else None
    if label is not None and label.lower().startswith(("utf-16", "utf-32")):
        label = (
            "utf-8"  # HTML Standard §13.2.3.2: a declaration that can be read in ASCII does not mean UTF-16
        )
    return label


def strip_enriched(text: str) -> str:
    """The text of text/enriched (RFC 1896) without its commands, and without what stands in `<param>`."""
    pieces: list[str] = []
    at, within = 0, False
    for tag in _ENRICHED.finditer(text):
        if not within:
            pieces.append(text[at : tag.start()])
        at = tag.end()
        if tag[0] == "<<":
            pieces.append("" if within else "<")
        elif tag[2].lower() == "param":
            within = not tag[1]
    return "".join(pieces) + ("" if within else text[at:])


def _end_lines(text: str) -> str:
    """The text with its lines ended by LF; piece by piece, so that no call holds the interpreter for long."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        stop = at + CHUNK
        if text[stop - 1 : stop] == "\r":  # a CRLF is not cut in two
            stop = _RETURNS.match(text, stop).end()  # type: ignore[union-attr] # the pattern matches anything
        pieces.append(_end_piece(text[at:stop]))
        at = stop
    return "".join(pieces)


def _end_piece(piece: str) -> str:
    if "\r" not in piece:
        return piece
    decoder = IncrementalNewlineDecoder(None, translate=True)  # three times as fast as a replacement
    ended = decoder.decode(piece, final=True)
    if decoder.newlines in ("\r\n", ("\n", "\r\n")):
        return ended
    # CRs doubled on the way, or line ends of old Macs.
    return _LINE_END.sub("\n", piece.replace("\r\n", "\n"))


def _octets(node: Node, limit: int) -> bytes:
    if node.octets is not None:
        return node.octets[:limit]
    part = node.part
    assert part is not None, "a leaf has a part"
    pieces: list[bytes] = []
    size = 0
    for chunk in part.chunks():
        pieces.append(chunk)
        size += len(chunk)
        if size >= limit:
            break
    return b"".join(pieces)[:limit]


def join_texts(texts: list[str]) -> str:
    """The texts of several bodies one after the other, each beginning on a line of its own."""
    joined: list[str] = []
    for text in texts:
        if joined and text and not joined[-1].endswith("\n"):
            joined.append("\n")
        if text:
            joined.append(text)
    return "".join(joined)
