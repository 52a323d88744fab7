"""The containers inside leaves: Outlook's winmail.dat, opaque S/MIME, uuencode in text.

Owns the choice of what is opened. Never removes the leaf itself, so that nothing depends on our reading of
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from relay.message.headers import Header
from relay.message.model import Defect, Part
from relay.message.octets import Region, whole
from relay.message.parameters import Parameterized
from relay.message.rtf import decompress_rtf, rtf_words
from relay.message.smime import LIMIT as SMIME_LIMIT
from relay.message.smime import TYPES as SMIME_TYPES
from relay.message.smime import is_signed, signed_content
from relay.message.sniff import detect_type
from relay.message.tnef import SIGNATURE, Tnef, TnefFile, parse_tnef
from relay.message.transfer import decoded_uu_lines
from relay.message.tree import LeafHeader, Node, TreeBuilder
from relay.message.uuencode import find_files
from relay.message.words import one_line, raw_text

_TNEF_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
#: Octets up to which a leaf is read whole to be opened; a larger one stays as it is.
_TNEF_LIMIT = 64 << 20
_TEXT_LIMIT = 16 << 20
_OCTETS = "application/octet-stream"
#: The first field of a MIME entity.
_ENTITY = re.compile(rb"[!-9;-~]{1,80}[ \t]*:")
_NO_HEADER = Header(fields=(), body_start=0)


def unpack(builder: TreeBuilder, node: Node, depth: int) -> tuple[Node, ...]:
    """The nodes found inside a leaf, in order; most leaves have none."""
    part = node.part
    if part is None or not part.size or builder.work.tired() or builder.work.late():
        return ()
    if node.content_type in SMIME_TYPES or (_is_binary(node) and is_signed(part.front)):
        return _unpack_smime(builder, part, depth)
    known = node.content_type in _TNEF_TYPES or (part.name or "").lower() == "winmail.dat"
    if known or (_is_binary(node) and part.detected_type == "application/ms-tnef"):
        return _unpack_tnef(builder, part)
    if node.content_type == "text/plain" and part.content_disposition != "attachment":
        return tuple(_unpack_uuencode(builder, node, part))
    return ()


def _is_binary(node: Node) -> bool:
    """Returns whether a leaf may be a container whatever its label says (RFC 8551 §3.9): no text, no detached
    signature.
    """
    kind = node.content_type
    return kind.startswith("application/") and "signature" not in kind


def _room(builder: TreeBuilder) -> bool:
    if builder.work.parts < builder.work.limits.parts:
        return True
    builder.note(Defect.TOO_MANY_PARTS)
    return False


def _may_hold(builder: TreeBuilder, part: Part) -> bool:
    """Returns whether a part may be kept decoded, so that it is not decoded anew for each file in it."""
    if builder.work.may_hold(part.size):
        return True
    builder.note(Defect.OVER_BUDGET)
    return False


def _unpack_smime(builder: TreeBuilder, part: Part, depth: int) -> tuple[Node, ...]:
    if part.size > SMIME_LIMIT or builder.too_deep(depth) or not _may_hold(builder, part):
        return ()
    content = signed_content(part.read())
    if content is None:
        return ()
    if _ENTITY.match(content) is None and detect_type(content[:4096]) is not None:
        return (_signed_file(builder, part, content),)
    around, builder.origin = builder.origin, "smime"
    try:
        return (builder.entity(whole(content), (*part.path, 0), depth + 1),)
    finally:
        builder.origin = around


def _signed_file(builder: TreeBuilder, part: Part, content: bytes) -> Node:
    """The file that was signed as it is, without a MIME header: an invoice as "invoice.pdf.p7m"."""
    name = (part.name or "").removesuffix(".p7m").removesuffix(".P7M")
    header = LeafHeader(_NO_HEADER, Parameterized(word="", parameters={"name": name}), None, "attachment")
    kind = detect_type(content[:4096]) or _OCTETS
    return builder.measured(whole(content).chunks, kind, header, (*part.path, 0), origin="smime")


def _unpack_uuencode(builder: TreeBuilder, node: Node, part: Part) -> Iterator[Node]:
    if part.size > _TEXT_LIMIT:
        return
    octets = node.octets if node.octets is not None else part.read()
    if b"begin" not in octets or not _may_hold(builder, part):
        return
    region = whole(octets)
    for index, file in enumerate(find_files(region)):
        if not _room(builder):
            return
        name = one_line(raw_text(file.name, part.charset)).strip("\"'")
        yield builder.measured(
            partial(decoded_uu_lines, region.sub(file.start, file.end)),
            "application/octet-stream",
            LeafHeader(_NO_HEADER, Parameterized(word="", parameters={"name": name}), None, "attachment"),
            (*part.path, index),
            origin="uuencode",
        )


def _unpack_tnef(builder: TreeBuilder, part: Part) -> tuple[Node, ...]:
    if part.size > _TNEF_LIMIT or not _may_hold(builder, part):
        return ()
    octets = part.read()
    if octets[:4] != SIGNATURE:
        builder.note(Defect.TNEF)
        return ()
    tnef = parse_tnef(octets)
    if not tnef.sound:
        builder.note(Defect.TNEF)
    nodes: list[Node] = []
    for file in tnef.files:
        if not _room(builder):
            break
        nodes.append(_tnef_file(builder, part, whole(octets), file, len(nodes)))
    body = _tnef_body(tnef)
    if body is not None and _room(builder):
        nodes.append(_tnef_body_node(builder, part, *body, len(nodes)))
    return tuple(nodes)


def _tnef_file(builder: TreeBuilder, part: Part, stream: Region, file: TnefFile, index: int) -> Node:
    chunks = stream.sub(file.offset, file.offset + file.size).chunks
    parameters = {"name": one_line(file.name)} if file.name else {}
    header = LeafHeader(_NO_HEADER, Parameterized(word="", parameters=parameters), None, "attachment")
    header.content_id = one_line(file.content_id) if file.content_id else None
    return builder.measured(chunks, file.content_type, header, (*part.path, index), origin="tnef")


def _tnef_body(tnef: Tnef) -> tuple[bytes, str] | None:
    """The best body of the stream in UTF-8, and its type."""
    if tnef.html:
        return tnef.html.rstrip(b"\0").decode(tnef.codec, "replace").encode(), "text/html"
    rtf = decompress_rtf(tnef.rtf) if tnef.rtf else None
    if rtf:
        words, html = rtf_words(rtf)
        if words.strip():
            return words.encode("utf-8", "replace"), "text/html" if html else "text/plain"
    if tnef.plain:
        text = tnef.plain.decode("utf-16-le" if tnef.wide else tnef.codec, "replace").rstrip("\0")
        return text.encode(), "text/plain"
    return None


def _tnef_body_node(builder: TreeBuilder, part: Part, body: bytes, content_type: str, index: int) -> Node:
    header = LeafHeader(_NO_HEADER, Parameterized(word="", parameters={"charset": "utf-8"}), None)
    region = whole(body)
    node = builder.measured(region.chunks, content_type, header, (*part.path, index), origin="tnef")
    return node.as_fallback()
