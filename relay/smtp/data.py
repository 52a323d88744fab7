"""The end of DATA: found in chunks as they arrive, wherever they were cut.

Owns the sequence CRLF.CRLF, and no other (RFC 5321 §4.1.1.4): LF.LF, CR.CR and every mixture are content.
Also counts the octets of BDAT chunks (RFC 3030 §2). Values in, values out: no socket, no clock.
"""

from __future__ import annotations

import re

from relay.smtp.content import Content
from relay.vocabulary import Reply

_END = b"\r\n.\r\n"
#: Octets of the end-of-data that are no part of the mail: its first CRLF ends the last line.
TRIM = 3
_BDAT = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


class DataReader:
    """The reader of one mail up to its final dot."""

    __slots__ = ("_content", "_tail", "empty")

    def __init__(self, content: Content) -> None:
        self._content = content
        self.empty = False
        self._tail = b"\r\n"  # "354 ...CRLF" counts as the CRLF before a first line that is the dot

    def feed(self, octets: bytes) -> int:
        """Take octets. Returns how many of them belong to this mail, end-of-data included, or -1 when its end
        is not among them.
        """
        tail = self._tail
        at = (tail + octets[:4]).find(_END)
        if at >= 0:
            end = at + len(_END) - len(tail)
        else:
            # Without a dot there is no end: most octets of large mail are base64, and one search passes them
            # by.
            dot = octets.find(b".")
            at = octets.find(_END, max(dot - 2, 0), octets.rfind(b".") + 3) if dot >= 0 else -1
            if at < 0:
                self._content.add(octets)
                self._tail = octets[-4:] if len(octets) >= 4 else (tail + octets)[-4:]
                return -1
            end = at + len(_END)
        self._content.add(octets[:end] if end < len(octets) else octets)
        return end


class ChunkReader:
    """The reader of one BDAT chunk: so many octets, whatever they are."""

    __slots__ = ("_content", "_left", "empty", "last", "refusal", "size")

    def __init__(
        self, content: Content | None, *, size: int, last: bool, refusal: Reply | None = None
    ) -> None:
        #: None for a chunk that is read and dropped.
        self._content = content
        #: The reply to a chunk that is dropped.
        self.refusal = refusal
        self._left = size
        self.size = size
        #: True if the chunk has no octets, and so has ended already.
        self.empty = size == 0
        self.last = last

    def feed(self, octets: bytes) -> int:
        """Take octets. Returns how many of them belong to this chunk, or -1 when the chunk goes on."""
        taken = octets[: self._left]
        self._left -= len(taken)
        if self._content is not None and taken:
            self._content.add(taken)
        return -1 if self._left else len(taken)


def parse_bdat(argument: bytes) -> tuple[int, bool] | None:
    """The size of a BDAT chunk, and whether LAST was said. Returns None for a malformed argument."""
    match = _BDAT.fullmatch(argument)
    return (int(match[1]), match[2] is not None) if match else None
