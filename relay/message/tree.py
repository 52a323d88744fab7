"""The tree of a mail: multiparts cut at their boundaries, leaves measured and hashed, within bounds.

Owns *node*. Never copies a large part: a leaf is a region of the raw octets and is decoded in chunks whenever
it is read. Follows RFC 2046 §5.1 and §5.2; where a mail breaks them, every octet that a reader could have
seen still lands in some leaf (docs/parsing.md, "Multiparts that are wrong").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from relay.message.headers import Header, parse_header
from relay.message.labels import codec_of
from relay.message.model import PART_FRONT, Defect, Embedded, Message, Part
from relay.message.octets import Chunks, Region, whole
from relay.message.parameters import Parameterized, parse_content_disposition, parse_content_type
from relay.message.sniff import detect_type
from relay.message.transfer import (
    TransferEncoding,
    decoded_chunks,
    looks_like_base64,
    parse_transfer_encoding,
)
from relay.message.words import header_text, one_line, raw_text
from relay.message.work import Work

Path = tuple[int, ...]

#: The greatest depth that a configuration may ask for, within Python's own stack.
_DEEPEST = 150
_PARAMETERS = 16_384
#: A line that opens a part under another boundary than the declared one.
_OPENS = re.compile(
    rb"--(?:(?<=[\r\n]--)|(?<=\A--))([^\s][^\r\n]{0,199})\r{0,2}\nContent-[A-Za-z-]{2,30}[ \t]*:",
    re.IGNORECASE,
)
#: The rest of a boundary line: blanks only, or the closing hyphens and anything that does not make them the
#: middle of a longer boundary.
_LINE_REST = re.compile(rb"(?:(--)(?:[^\w=\r\n][^\r\n]{0,200}+)?|[ \t]{0,64}+)(?:\r{0,2}\n|\r|\Z)")
#: RFC 2046 §5.1.1 allows 70 octets in a boundary, and RFC 5322 §2.1.1 a line 998.
_LONGEST_BOUNDARY = 1_000
#: Boundaries that are tried behind a closing line, each by a search of the rest.
_MOST_LEVELS = 8
_CHARSET = re.compile(rb"charset[ \t]*=[ \t]*\"?([A-Za-z0-9_.:-]{2,40})")
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
_OCTETS = "application/octet-stream"
#: Octets of a file that show whether it is a mail, and fields of which a mail has two at least.
_MAIL_FRONT = 64 << 10
_MAIL_FIELDS = frozenset(
    {"from", "to", "subject", "date", "message-id", "received", "mime-version", "return-path"}
)
_NONE = Parameterized(word="", parameters={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One entity of the tree: a multipart with children, or a leaf with a part."""

    path: Path
    content_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    children: tuple[Node, ...] = ()
    part: Part | None = None
    #: The leaf's decoded octets, kept when it is text and fits one chunk.
    octets: bytes | None = field(default=None, repr=False)
    #: Nodes found inside a leaf (TNEF, S/MIME, uuencode), each with its own origin.
    inner: tuple[Node, ...] = ()
    #: True for a body that counts only when the mail has no other (TNEF).
    fallback: bool = False
    #: True for octets beyond a limit: shown as text only when there is nothing else.
    rest: bool = False

    def as_fallback(self) -> Node:
        """The same leaf as a body that counts only when there is no other."""
        return replace(self, fallback=True)

    def leaves(self) -> Iterator[Node]:
        """Every leaf, depth first; the nodes found inside a leaf follow it."""
        if self.part is not None:
            yield self
        for node in (*self.children, *self.inner):
            yield from node.leaves()


@dataclass(slots=True, kw_only=True)
class TreeBuilder:
    """The builder of one message's tree; `embed` understands a message within, at its depth."""

    work: Work
    embed: Callable[[Region, int], Message]
    unpack: Callable[[TreeBuilder, Node, int], tuple[Node, ...]]
    hint: str | None = None
    origin: str = ""
    defects: dict[Defect, None] = field(default_factory=dict)
    embedded: list[Embedded] = field(default_factory=list)

    def note(self, defect: Defect) -> None:
        """Remember a defect, once."""
        self.defects.setdefault(defect)

    def entity(self, region: Region, path: Path, depth: int, default_type: str = "text/plain") -> Node:
        """The entity that a region holds, header first (RFC 2045 §2.4)."""
        header = parse_header(region, self.work.limits.header_bytes)
        return self.body(header, region.sub(header.body_start, region.end), path, depth, default_type)

    def body(
        self, header: Header, body: Region, path: Path, depth: int, default_type: str = "text/plain"
    ) -> Node:
        """The entity of a header that was read already."""
        if header.malformed:
            self.note(Defect.HEADER_MALFORMED)
        if header.too_long:
            self.note(Defect.HEADER_TOO_LONG)
        declared = header.first("content-type")
        kind = parse_content_type(self._text(declared)) if declared is not None else _NONE
        leaf = LeafHeader(header, kind, self.hint)
        content_type = kind.word or (
            default_type if not declared else "text/plain" if not leaf.name else _OCTETS
        )
        encoding, sound = parse_transfer_encoding(
            self._text(header.first("content-transfer-encoding") or b"")
        )
        if not sound:
            self.note(Defect.TRANSFER_ENCODING)
        if content_type.startswith("multipart/"):
            return self._multipart(body, content_type, leaf, encoding, path, depth)
        return self.leaf(body, content_type, leaf, encoding, path, depth)

    def _text(self, value: bytes) -> str:
        return raw_text(value[:_PARAMETERS], self.hint)

    def too_deep(self, depth: int) -> bool:
        """Returns whether nothing may be opened at this depth any more; notes the defect then."""
        if depth < min(self.work.limits.depth, _DEEPEST):
            return False
        self.note(Defect.TOO_DEEP)
        return True

    # --- multiparts

    def _multipart(
        self,
        body: Region,
        content_type: str,
        header: LeafHeader,
        encoding: TransferEncoding,
        path: Path,
        depth: int,
    ) -> Node:
        if self.too_deep(depth):
            return self.rest(body, path)
        boundary = header.kind.parameters.get("boundary", "")
        cuts = self._cuts(body, boundary.encode("utf-8", "replace"))
        if cuts is None and encoding is not TransferEncoding.IDENTITY and self.work.may_hold(len(body)):
            # RFC 2045 §6.4 forbids an encoded multipart; some programs write one all the same.
            decoded = whole(b"".join(decoded_chunks(body, encoding)))
            cuts = self._cuts(decoded, boundary.encode("utf-8", "replace"))
            body, encoding = (decoded if cuts is not None else body), TransferEncoding.IDENTITY
            self.note(Defect.TRANSFER_ENCODING)
        if cuts is None:
            self.note(Defect.BOUNDARY_MISSING)
            return self.leaf(body, "text/plain", header, encoding, path, depth)
        default_type = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
        children: list[Node] = []
        for index, (start, end) in enumerate(cuts):
            if self.work.parts >= self.work.limits.parts or self.work.late():
                late = self.work.parts < self.work.limits.parts
                self.note(Defect.OVER_BUDGET if late else Defect.TOO_MANY_PARTS)
                children.append(self.rest(body.sub(start, body.end), (*path, index)))
                break
            children.append(self.entity(body.sub(start, end), (*path, index), depth + 1, default_type))
        return Node(
            path=path, content_type=content_type, parameters=header.kind.parameters, children=tuple(children)
        )

    def _cuts(self, body: Region, boundary: bytes) -> list[tuple[int, int]] | None:
        """The offsets of the parts. Returns None when no line of the boundary, or of a likely one, opens a
        part.
        """
        # RFC 2046 §5.1.1: a boundary does not end in a blank. Where the declared one does, its lines may lack
        # it.
        for likely in dict.fromkeys((boundary, boundary.rstrip())):
            cuts = self._cut(body, likely) if 0 < len(likely) <= _LONGEST_BOUNDARY else []
            if cuts:
                return cuts
        opens = body.search(_OPENS, body.start, span=256)
        if opens is None:
            return None
        self.note(Defect.BOUNDARY_MISSING)
        return self._cut(body, opens[1].rstrip()) or None

    def _cut(self, body: Region, boundary: bytes, *, alone: bool = True) -> list[tuple[int, int]]:
        cuts: list[tuple[int, int]] = []
        start: int | None = None
        behind = body.start
        lines = _boundary_lines(body, b"--" + boundary)
        for begin, end, closing in lines:
            if len(cuts) > self.work.limits.parts:
                break
            if start is not None:
                cuts.append((start, max(start, _before_line_end(body, begin))))
            elif cuts and alone:
                cuts.extend(self._behind(body.sub(behind, begin)))
            # Parts behind the closing line are parts too: seen where one boundary was used at two levels.
            start, behind = None if closing else end, end
        else:
            if start is not None:
                self.note(Defect.CLOSING_BOUNDARY_MISSING)
        if start is not None:
            cuts.append((start, body.end))
        elif cuts and alone:
            cuts.extend(self._behind(body.sub(behind, body.end)))
        return cuts

    def _behind(self, epilogue: Region) -> list[tuple[int, int]]:
        """The parts of other boundaries behind the closing line: seen where one boundary was used at two
        levels.
        """
        cuts: list[tuple[int, int]] = []
        for _ in range(_MOST_LEVELS):
            opens = epilogue.search(_OPENS, epilogue.start, span=256)
            if opens is None:
                break
            self.note(Defect.BOUNDARY_MISSING)
            cuts.extend(self._cut(epilogue, opens[1].rstrip(), alone=False))
            epilogue = epilogue.sub(max(opens.end(), cuts[-1][1] if cuts else 0), epilogue.end)
        return cuts

    # --- leaves

    def rest(self, region: Region, path: Path) -> Node:
        """The octets beyond a limit as one text leaf, as they stand."""
        header = Header(fields=(), body_start=region.start)
        node = self.measured(region.chunks, "text/plain", LeafHeader(header, _NONE, None, "attachment"), path)
        return replace(node, rest=True)

    def leaf(
        self,
        body: Region,
        content_type: str,
        header: LeafHeader,
        encoding: TransferEncoding,
        path: Path,
        depth: int,
    ) -> Node:
        """The leaf of a body, and in `embedded` the message that it holds."""
        textual = content_type.startswith(("text/", "message/"))
        if (
            encoding is TransferEncoding.BASE64
            and textual
            and not looks_like_base64(body.read(end=body.start + 1024))
        ):
            self.note(Defect.TRANSFER_ENCODING)
            encoding = TransferEncoding.IDENTITY

        def chunks() -> Iterator[bytes]:
            return decoded_chunks(body, encoding)

        node = self.measured(chunks, content_type, header, path)
        if content_type in _MESSAGES or self._is_message(body, node, encoding):
            self._embed(body if encoding is TransferEncoding.IDENTITY else None, node, path, depth)
            return node
        inner = self.unpack(self, node, depth)
        return replace(node, inner=inner) if inner else node

    def _is_message(self, body: Region, node: Node, encoding: TransferEncoding) -> bool:
        """Returns whether a file is a mail by its name and its header, whatever its type says."""
        part = node.part
        if part is None or not (part.name or "").lower().endswith(".eml"):
            return False
        if not node.content_type.startswith(("application/", "message/")):
            return False
        front = whole(next(iter(decoded_chunks(body, encoding)), b"")[:_MAIL_FRONT])
        names = {name.lower() for name, _ in parse_header(front, _MAIL_FRONT).fields}
        return len(names & _MAIL_FIELDS) >= 2

    def _embed(self, body: Region | None, node: Node, path: Path, depth: int) -> None:
        assert node.part is not None, "only a leaf holds a message"
        if self.too_deep(depth):
            return
        if self.work.parts >= self.work.limits.parts:
            self.note(Defect.TOO_MANY_PARTS)
        elif (
            self.work.tired() or self.work.late() or (body is None and not self.work.may_hold(node.part.size))
        ):
            self.note(Defect.OVER_BUDGET)
        elif node.part.size:
            # A message encoded against RFC 2046 §5.2.1 is decoded in memory, the one large part that is.
            region = body if body is not None else whole(node.part.read())
            self.embedded.append(Embedded(path=path, message=self.embed(region, depth + 1)))

    def measured(
        self, chunks: Chunks, content_type: str, header: LeafHeader, path: Path, *, origin: str | None = None
    ) -> Node:
        """The leaf of a stream of chunks, which is read once for its size, hash and type."""
        digest, size, first = sha256(), 0, b""
        for chunk in chunks():
            digest.update(chunk)
            size += len(chunk)
            first = first or chunk
        self.work.parts += 1
        self.work.octets += size
        part = Part(
            path=path,
            content_type=content_type,
            detected_type=detect_type(first),
            name=header.name,
            content_disposition=header.disposition,
            content_id=header.content_id,
            content_location=header.content_location,
            charset=header.charset,
            size=size,
            sha256=digest.hexdigest(),
            origin=self.origin if origin is None else origin,
            front=first[:PART_FRONT],
            chunks=chunks,
        )
        kept = first if len(first) == size and content_type.startswith("text/") else None
        return Node(
            path=path,
            content_type=content_type,
            parameters=header.kind.parameters,
            part=part,
            octets=kept,
        )


class LeafHeader:
    """The header of a leaf: its type, charset, disposition, name and ids."""

    __slots__ = ("charset", "content_id", "content_location", "disposition", "kind", "name")

    def __init__(
        self, header: Header, kind: Parameterized, hint: str | None, disposition: str | None = None
    ) -> None:
        sent = header.first("content-disposition")
        disposed = (
            parse_content_disposition(raw_text(sent[:_PARAMETERS], hint)) if sent is not None else _NONE
        )
        identifier = header.first("content-id")
        self.kind = kind
        self.disposition = disposed.word if disposition is None else disposition
        names = (
            disposed.parameters.get("filename"),
            kind.parameters.get("name"),
            disposed.parameters.get("name"),
        )
        self.name = next((name for name in names if name), None)
        self.content_id = (one_line(header_text(identifier)[0]).strip("<> ") or None) if identifier else None
        place = header.first("content-location")
        # RFC 2557 §4.4.2: white space in a URL comes from folding.
        self.content_location = "".join(one_line(header_text(place)[0]).split()) or None if place else None
        self.charset = kind.parameters.get("charset", "").lower() or None


def _boundary_lines(body: Region, line: bytes) -> Iterator[tuple[int, int, bool]]:
    """The offsets of the lines of a boundary, and whether each is the closing one.

    Such a line begins a line, and nothing but blanks follows: another boundary may begin like this one.
    """
    behind = body.start
    for at in body.occurrences(line, body.start):
        if at < behind or (at > 0 and bytes(body.buffer[at - 1 : at]) not in (b"\r", b"\n")):
            continue
        rest = _LINE_REST.match(body.buffer, at + len(line), body.end)
        if rest is not None:
            behind = rest.end()
            yield at, behind, rest[1] is not None


def _before_line_end(body: Region, at: int) -> int:
    """The offset before the line end that precedes a boundary and belongs to it (RFC 2046 §5.1.1)."""
    before = body.read(at - 2, at)
    if before == b"\r\n":
        return at - 2
    return at - 1 if before[-1:] in (b"\n", b"\r") else at


def charset_hint(header: Header, body: Region) -> str | None:
    """The charset that a mail declares first, for its raw 8-bit header fields. Returns None when there are
    none.
    """
    if all(value.isascii() for _, value in header.fields):
        return None
    declared = _CHARSET.search(header.first("content-type") or b"") or body.search(
        _CHARSET, body.start, span=64
    )
    label = declared[1].decode("ascii") if declared is not None else None
    return label if label and codec_of(label) not in {None, "utf-7", "utf-8", "cp1252"} else None
