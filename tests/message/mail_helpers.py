"""Builders of what no text editor writes: TNEF streams, compressed RTF, signed-data, multiparts."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence

from asn1crypto import cms

CRLF = b"\r\n"


def crlf(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8")


def base64_lines(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", CRLF)


def leaf(content_type: str, octets: bytes, *more: str, encoding: str = "") -> bytes:
    """A part: header and body; `encoding` "base64" encodes."""
    lines = [f"Content-Type: {content_type}", *more]
    if encoding:
        lines.append(f"Content-Transfer-Encoding: {encoding}")
    body = base64_lines(octets) if encoding == "base64" else octets
    return crlf("\n".join(lines) + "\n\n") + body


def multipart(
    subtype: str, parts: Sequence[bytes], boundary: str, more: str = "", preamble: bytes = b""
) -> bytes:
    """A multipart entity, closed."""
    head = crlf(f'Content-Type: multipart/{subtype}; boundary="{boundary}"{more}\n\n') + preamble
    line = b"--" + boundary.encode()
    return head + b"".join(line + CRLF + part + CRLF for part in parts) + line + b"--" + CRLF


def _attribute(level: int, identifier: int, octets: bytes) -> bytes:
    return (
        struct.pack("<BII", level, identifier, len(octets)) + octets + struct.pack("<H", sum(octets) & 0xFFFF)
    )


def tnef_property(kind: int, identifier: int, octets: bytes) -> bytes:
    """One MAPI property of a variable kind."""
    return struct.pack("<HHII", kind, identifier, 1, len(octets)) + octets + b"\0" * (-len(octets) % 4)


def tnef(
    files: Iterable[tuple[str, bytes]] = (),
    *,
    properties: Sequence[bytes] = (),
    file_properties: Sequence[bytes] = (),
    within: bytes = b"",
) -> bytes:
    """A TNEF stream: files by long name, properties of the message, perhaps a message within."""
    stream = struct.pack("<IH", 0x223E9F78, 1)
    stream += _attribute(1, 0x00089006, struct.pack("<I", 0x00010000))
    stream += _attribute(1, 0x00069007, struct.pack("<II", 1252, 0))
    if properties:
        stream += _attribute(1, 0x00069003, struct.pack("<I", len(properties)) + b"".join(properties))
    for name, octets in files:
        stream += _attribute(2, 0x00069002, b"\x01\0" + b"\xff" * 12)
        stream += _attribute(2, 0x00018010, name[:8].encode("cp1252", "replace") + b"\0")
        stream += _attribute(2, 0x0006800F, octets)
        long_name = tnef_property(0x1F, 0x3707, (name + "\0").encode("utf-16-le"))
        held = [long_name, *file_properties]
        stream += _attribute(2, 0x00069005, struct.pack("<I", len(held)) + b"".join(held))
    if within:
        stream += _attribute(2, 0x00069002, b"\x01\0" + b"\xff" * 12)
        held = [tnef_property(0x0D, 0x3701, b"\x07\x03\x02\0" + b"\0" * 12 + within)]
        stream += _attribute(2, 0x00069005, struct.pack("<I", len(held)) + b"".join(held))
    return stream


def compressed_rtf(rtf: bytes) -> bytes:
    """[MS-OXRTFCP] with literals only: legal, if not small."""
    body = bytearray()
    for at in range(0, len(rtf), 8):
        body += b"\0" + rtf[at : at + 8]
    return struct.pack("<II4sI", len(body) + 12, len(rtf), b"LZFu", 0) + bytes(body)


def signed_data(content: bytes) -> bytes:
    """An opaque signed-data of nobody: RFC 5652 with no signer, which unwrapping does not look at."""
    signed = {
        "version": "v1",
        "digest_algorithms": [],
        "encap_content_info": {"content_type": "data", "content": content},
        "signer_infos": [],
    }
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)}).dump()


def enveloped_data() -> bytes:
    """An enveloped-data that nobody can open."""
    octets = cms.ContentInfo({"content_type": "data", "content": b"sealed"}).dump()
    return octets.replace(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03")
