"""The octets of a mail as policy sees them: its size, its longest line, its line ends.

Owns the undoing of dot-stuffing (RFC 5321 §4.5.2), the repair of bare line ends and the look for long lines,
block by block as a mail arrives. `measure_file` does the same for a mail that lies in a file. Values in,
values out.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder
from typing import NamedTuple

#: Octets at a mail's beginning that are looked at for its header.
HEAD_BYTES = 262_144
_PIECE_BYTES = 1_048_576
_END = b".\r\n"
# A dot alone between line ends of which one is a bare LF: an end of data to a server that takes LF for CRLF.
# Shapes with a bare CR are refused for the CR.
_SMUGGLED = re.compile(rb"\n\.\r\n(?<!\r\n\.\r\n)")  # beside LF.LF, which `find` finds


class Octets(NamedTuple):
    """The measures of a mail, or of as much of it as has come."""

    #: Octets as transmitted, with stuffed dots and the end-of-data.
    received: int
    #: Octets of the mail, without a header of ours.
    size: int
    #: A line over the limit was seen.
    long_line: bool = False
    #: The last line is over the limit, and has no end yet.
    unfinished_line: bool = False
    #: LF stands somewhere without CR.
    bare_lf: bool = False
    #: CR stands somewhere without LF.
    bare_cr: bool = False
    #: A dot stands alone between line ends that are not both CRLF.
    smuggled: bool = False


class Cleaner:
    """The undoing of dot-stuffing and the look at line ends, block by block; the result is the same wherever
    blocks end.
    """

    __slots__ = (
        "_line_limit", "_repair", "_run", "_start", "_stuffed", "_tail", "bare_cr", "bare_lf", "smuggled", "too_long",
    )  # fmt: skip

    def __init__(self, *, stuffed: bool, repair: bool, line_limit: int) -> None:
        self._stuffed = stuffed
        self._repair = repair
        self._line_limit = line_limit
        self._start = True  # the next octet begins a line
        self._run = 0  # octets of the line that the last block left unfinished
        self._tail = b"\r\n"  # the last octets as they came; "354 ...CRLF" stands before the first
        #: A bare LF was seen; with `repair` it was made CRLF.
        self.bare_lf = False
        #: A bare CR was seen; with `repair` it was made CRLF.
        self.bare_cr = False
        #: A dot alone was seen between line ends that are not both CRLF.
        self.smuggled = False
        #: A line longer than the limit was seen.
        self.too_long = False

    @property
    def unfinished(self) -> bool:
        """Returns whether the last line is over the limit and has no end yet."""
        return self._run > self._line_limit

    def clean(self, block: bytes) -> bytes:
        """The octets that a block stands for. The block must not end between CR and LF."""
        bare_cr, bare_lf = find_bare(block)
        self.bare_cr |= bare_cr
        self.bare_lf |= bare_lf
        if self.bare_lf and not self.smuggled:
            seen = self._tail + block
            # Without a dot there is nothing to look for, and that look costs next to nothing.
            self.smuggled = b"." in seen and (b"\n.\n" in seen or _SMUGGLED.search(seen) is not None)
        self._tail = block[-3:] if len(block) >= 3 else (self._tail + block)[-3:]
        if self._repair and (bare_cr or bare_lf):
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if self._stuffed and block:
            dotted = self._start and block.startswith(b".")
            # Looked at before dots are taken off: a block may end with the dot of a line that goes on.
            self._start = block.endswith(b"\r\n")
            block = _unstuff(block[1:] if dotted else block)
        if self._run + len(block) > self._line_limit:
            self._measure(block)
        at = block.rfind(b"\n")
        self._run = self._run + len(block) if at < 0 else len(block) - at - 1
        return block

    def _measure(self, block: bytes) -> None:
        """Look for a line over the limit: one `rfind` for each length of the limit, not one for each line."""
        at = 0
        run = self._run
        while len(block) - at + run > self._line_limit:
            end = block.rfind(b"\n", at, max(at + self._line_limit - run, at))
            if end < 0:
                self.too_long = True
                break
            at, run = end + 1, 0


def build_octets(cleaner: Cleaner, *, received: int, size: int) -> Octets:
    """The measures of what a cleaner has seen."""
    # In order and without names, which would cost each mail half a microsecond more.
    return Octets(
        received,
        size,
        cleaner.too_long,
        cleaner.unfinished,
        cleaner.bare_lf,
        cleaner.bare_cr,
        cleaner.smuggled,
    )


def find_bare(block: bytes) -> tuple[bool, bool]:
    """Returns whether CR stands alone somewhere, and whether LF does. One pass: three of `bytes.count` take
    four times as long.
    """
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(block.decode("latin-1"), final=True)
    kinds = seen.newlines
    if kinds is None or kinds == "\r\n":
        return False, False
    # One kind comes as text, several as a tuple.
    return (kinds == "\r", kinds == "\n") if isinstance(kinds, str) else ("\r" in kinds, "\n" in kinds)


def _unstuff(block: bytes) -> bytes:
    """Take the first dot off each line but the first.

    Large mail is mostly base64, which has no dot: behind the last dot there is nothing to look for.
    """
    if block.find(b"\r\n.", 0, block.rfind(b".") + 1) < 0:
        return block
    return block.replace(b"\r\n.", b"\r\n")


def end_lines(raw: bytes) -> bytes:
    """The octets of a mail in a file, as they would be sent: the lines of a file without any CRLF end with
    LF, as this machine's files do, and get CRLF. Where CRLF and others are mixed, they stand as they are.
    """
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


def measure_file(raw: bytes, *, cut: int, line_limit: int, repair: bool) -> tuple[Octets, bytes]:
    """The measures of a mail in a file, and its beginning, as if a client had sent it with DATA.

    Lines are as `end_lines` has them. The look ends after `cut` octets, where a session closes.
    """
    sent = end_lines(raw)
    if not sent.endswith(b"\r\n"):
        sent += b"\r\n"
    sent = (b"." if sent.startswith(b".") else b"") + sent.replace(b"\r\n.", b"\r\n..")
    received = len(sent) + len(_END)
    cleaner = Cleaner(stuffed=True, repair=repair, line_limit=line_limit)
    head = b""
    size = at = 0
    most = min(len(sent), cut) if received > cut else len(sent)
    while at < most:
        end = min(at + _PIECE_BYTES, most)
        if end < most and sent[end - 1 : end + 1] == b"\r\n":
            end += 1
        block = cleaner.clean(sent[at:end])
        head = head or block[:HEAD_BYTES]
        size += len(block)
        at = end
    return build_octets(cleaner, received=received, size=size), head
