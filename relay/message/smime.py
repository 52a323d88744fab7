"""The content of opaque S/MIME: what was signed, behind application/pkcs7-mime.

Owns the unwrapping of signed-data (RFC 8551 §3.5, RFC 5652 §5), as far as one walk to the content needs the
encoding rules of X.690 §8: a general decoder builds values of all it meets, and takes quadratic time for one
long number. Never verifies, never decrypts: an enveloped part stays as it is. Nothing is decompressed.
Linear, without recursion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Octets of a part that is opened; a larger one stays a file.
LIMIT = 48 << 20
TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})

#: 1.2.840.113549.1.7.2, its content octets.
_SIGNED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
_INTEGER, _OCTET_STRING, _OBJECT_IDENTIFIER, _SEQUENCE, _SET, _FIRST = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0
_CONSTRUCTED = 0x20
_END = b"\0\0"
#: Elements that are read, about 1 µs each; a signer that streams writes pieces of a thousand octets and more.
_MOST_ELEMENTS = 100_000


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    #: Offsets of the content; `end` is None for the indefinite form (X.690 §8.1.3.6).
    start: int
    end: int | None


#: The beginning of a ContentInfo (RFC 5652 §3) up to its type: a sequence of any length.
_FRONT = rb"\x30(?:\x80|[\x00-\x7f]|\x81.|\x82..|\x83.{3}|\x84.{4})\x06"
_SIGNED_FRONT = re.compile(_FRONT + rb"\x09" + re.escape(_SIGNED_DATA), re.DOTALL)
#: envelopedData, encryptedData, and authEnvelopedData (RFC 5083 §2.1).
_SEALED_FRONT = re.compile(
    _FRONT
    + rb"(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x03\x06]|\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17)",
    re.DOTALL,
)


def is_signed(front: bytes) -> bool:
    """Returns whether the first octets of a file are those of signed-data."""
    return _SIGNED_FRONT.match(front) is not None


def is_sealed(front: bytes) -> bool:
    """Returns whether the first octets of a file are those of encrypted content."""
    return _SEALED_FRONT.match(front) is not None


def signed_content(octets: bytes) -> bytes | None:
    """The octets that were signed, a MIME entity. Returns None when none can be read."""
    try:
        return _Walk(octets).content() or None
    except (ValueError, IndexError):  # another structure, or a torn one
        return None


class _Walk:
    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.left = _MOST_ELEMENTS

    def content(self) -> bytes:
        """The content of EncapsulatedContentInfo (RFC 5652 §5.2)."""
        info = self._expect(0, _SEQUENCE)
        kind = self._expect(info.start, _OBJECT_IDENTIFIER)
        if kind.end is None or self.octets[kind.start : kind.end] != _SIGNED_DATA:
            raise ValueError("no signed-data")
        signed = self._expect(self._expect(kind.end, _FIRST).start, _SEQUENCE)
        version = self._expect(signed.start, _INTEGER)
        algorithms = self._expect(self._behind(version), _SET)
        within = self._expect(self._behind(algorithms), _SEQUENCE)
        content = self._expect(self._behind(self._expect(within.start, _OBJECT_IDENTIFIER)), _FIRST)
        return self._string(self._element(content.start))

    def _expect(self, at: int, tag: int) -> _Element:
        element = self._element(at)
        if element.tag != tag:
            raise ValueError("another structure")
        return element

    def _element(self, at: int) -> _Element:
        """The element at an offset (X.690 §8.1); tags of more than one octet have no place here."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many elements")
        tag, size = self.octets[at], self.octets[at + 1]
        start = at + 2
        if size == 0x80 and tag & _CONSTRUCTED:
            return _Element(tag, start, None)
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 8:
                raise ValueError("no length")
            size = int.from_bytes(self.octets[start : start + count], "big")
            start += count
        if tag & 0x1F == 0x1F or start + size > len(self.octets):
            raise ValueError("no element, or one that is cut off")
        return _Element(tag, start, start + size)

    def _behind(self, element: _Element) -> int:
        """The offset behind an element."""
        at, depth = element.start, 1
        if element.end is not None:
            return element.end
        while depth:
            if self.octets[at : at + 2] == _END:
                at, depth = at + 2, depth - 1
                continue
            inner = self._element(at)
            if inner.end is None:
                at, depth = inner.start, depth + 1
            else:
                at = inner.end
        return at

    def _string(self, element: _Element) -> bytes:
        """An OCTET STRING, whole or in pieces (X.690 §8.7)."""
        if element.tag == _OCTET_STRING and element.end is not None:
            return self.octets[element.start : element.end]
        if element.tag != _OCTET_STRING | _CONSTRUCTED:
            raise ValueError("no octets")
        pieces: list[bytes] = []
        at, ends = element.start, [element.end]
        while ends:
            end = ends[-1]
            if at == end or (end is None and self.octets[at : at + 2] == _END):
                at += 2 if end is None else 0
                ends.pop()
                continue
            inner = self._element(at)
            if inner.tag == _OCTET_STRING | _CONSTRUCTED:
                at = inner.start
                ends.append(inner.end)
            elif inner.tag == _OCTET_STRING and inner.end is not None and at < (end or inner.end):
                pieces.append(self.octets[inner.start : inner.end])
                at = inner.end
            else:
                raise ValueError("no piece of octets")
        return b"".join(pieces)
