"""The hash of a body, as a signature names it: one linear pass for each canonicalisation, as the octets come.

Owns the body canonicalisations "simple" and "relaxed" (RFC 6376 §3.4.3, §3.4.4) and the length `l=` (§3.4.5).
Holds no octets of the body but the last two: empty lines at the end are counted, not kept. Each octet is
looked at by calls of C, a fixed number of times; where a block is cut changes nothing. Never reads a header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Octets that one call of C takes: some 30 µs each, so no other thread waits long for the interpreter.
PIECE_BYTES = 32_768
#: Empty lines that are hashed at a time, once a line follows them.
_LINES = 8_192


class Canonicalisation(StrEnum):
    """The forms of a body that RFC 6376 knows."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyDigests:
    """The SHA-256 digests of one body in one canonical form."""

    #: Octets of the canonical body.
    size: int
    #: The digest of the whole.
    whole: bytes
    #: The digests of its first octets, by their number; lengths over `size` are not there.
    prefixes: Mapping[int, bytes]

    def of(self, length: int | None) -> bytes | None:
        """The digest of so many octets, of the whole for None. Returns None where the body is shorter."""
        return self.whole if length is None else self.prefixes.get(length)


class BodyHasher:
    """The running hash of a body in one canonical form; an observer of its octets."""

    __slots__ = ("_carry", "_cuts", "_digest", "_empty", "_prefixes", "_relaxed", "_size")

    def __init__(self, form: Canonicalisation, lengths: Iterable[int] = ()) -> None:
        """Begin a body; `lengths` are the prefixes of which digests are wanted."""
        self._relaxed = form is Canonicalisation.RELAXED
        self._digest = hashlib.sha256()
        self._prefixes: dict[int, bytes] = {}
        self._size = 0
        #: Lengths that are still to come, the smallest last.
        self._cuts = sorted({length for length in lengths if length >= 0}, reverse=True)
        #: Octets that may belong to a line end, or to blanks before one: at most a blank and a CR.
        self._carry = b""
        #: CRLFs that end the body unless something follows.
        self._empty = 0

    def update(self, octets: bytes, /) -> None:
        """Take the next octets of the body."""
        if len(octets) <= PIECE_BYTES:
            self._take(octets)
            return
        view = memoryview(octets)
        for at in range(0, len(octets), PIECE_BYTES):
            self._take(bytes(view[at : at + PIECE_BYTES]))

    def finish(self) -> BodyDigests:
        """The digests of the body, which has ended."""
        if self._carry:
            self._flush()
            self._add(self._carry)
            self._carry = b""
            self._empty = 1
        # Empty lines at the end are ignored. The last line gets an end where it has none, and "simple" takes
        # an empty body for one CRLF; "relaxed" leaves it empty.
        if self._size or not self._relaxed:
            self._add(b"\r\n")
        elif self._cuts and self._cuts[-1] == 0:
            self._add(b"")
        return BodyDigests(size=self._size, whole=self._digest.digest(), prefixes=self._prefixes)

    def _take(self, octets: bytes) -> None:
        text = self._carry + octets if self._carry else octets
        if self._relaxed:
            text = _relax(text)
        kept = len(text)
        if text.endswith(b"\r"):
            kept -= 1
        if self._relaxed and text.endswith(b" ", 0, kept):
            kept -= 1
        self._carry, text = text[kept:], text[:kept]
        if not text:
            return
        lines = text[_end_of_lines(text) :]
        if len(lines) < len(text):
            self._flush()
            self._add(text[: len(text) - len(lines)])
        self._empty += len(lines) // 2

    def _flush(self) -> None:
        """Hash the empty lines that turned out not to end the body."""
        while self._empty:
            lines = min(self._empty, _LINES)
            self._add(b"\r\n" * lines)
            self._empty -= lines

    def _add(self, octets: bytes) -> None:
        while self._cuts and self._cuts[-1] <= self._size + len(octets):
            length = self._cuts.pop()
            part, octets = octets[: length - self._size], octets[length - self._size :]
            self._digest.update(part)
            self._size = length
            self._prefixes[length] = self._digest.digest()
        self._digest.update(octets)
        self._size += len(octets)


def _relax(text: bytes) -> bytes:
    """The text with each run of blanks as one, and none before a line end.

    The text may end anywhere. A run is halved at each turn, so the turns are few, however long it is.
    """
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n")


def _end_of_lines(text: bytes) -> int:
    """The offset from which a text is nothing but CRLFs."""
    if not text.endswith(b"\n"):
        return len(text)
    tail = len(text.rstrip(b"\r\n"))
    return max(
        tail + 1 if text.startswith(b"\n", tail) else tail,
        text.rfind(b"\r\r", tail) + 1,
        text.rfind(b"\n\n", tail) + 2 if text.find(b"\n\n", tail) >= 0 else tail,
    )


def hash_body(octets: bytes, form: Canonicalisation, lengths: Iterable[int] = ()) -> BodyDigests:
    """The digests of a whole body."""
    hasher = BodyHasher(form, lengths)
    hasher.update(octets)
    return hasher.finish()
