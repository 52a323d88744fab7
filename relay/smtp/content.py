"""The content of a mail as it arrives: cleaned, measured, hashed, kept in memory or moved to a file.

Owns what becomes of the octets between 354 (or BDAT) and the spool. Strict about lines: CRLF ends a line and
nothing else does (RFC 5321 §2.3.8); what a bare CR or LF means is the listener's role: refused, or repaired.
Holds at most two blocks in memory, whatever the mail's size. `move` and `close` block: use a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import IncrementalNewlineDecoder

from relay import replies, telemetry
from relay.errors import SpoolError, SpoolFullError
from relay.spool.model import RawFile
from relay.vocabulary import Reply

#: How much of a mail's beginning is kept to be looked at (its header) once the rest has gone to a file.
HEAD_BYTES = 262_144
# What the passes over a mail in memory take at a time: it stays in the processor's cache from one to the next.
_PIECE_BYTES = 32_768
# Octets that a block keeps back, so that the end-of-data dot can be taken off whatever the block's end cut through.
_TAIL = 4


class Cleaner:
    """Undoes dot-stuffing (RFC 5321 §4.5.2) and looks at line ends, block by block; where blocks end changes nothing."""

    __slots__ = ("_line_limit", "_repair", "_run", "_start", "_stuffed", "bare", "too_long")

    def __init__(self, *, stuffed: bool, repair: bool, line_limit: int) -> None:
        self._stuffed = stuffed
        self._repair = repair
        self._line_limit = line_limit
        self._start = True  # whether the next octet begins a line
        self._run = 0  # octets of the line that the last block left unfinished
        #: A bare CR or LF was seen; with `repair` it is one no more.
        self.bare = False
        #: A line longer than the limit was seen.
        self.too_long = False

    def clean(self, block: bytes) -> bytes:
        """The octets meant by a block, which must not end between CR and LF."""
        if has_bare(block):
            self.bare = True
            if self._repair:
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if self._stuffed and block:
            dotted = self._start and block.startswith(b".")
            # Looked at before dots are taken off: a block may end with the dot of a line that goes on.
            self._start = block.endswith(b"\r\n")
            block = _unstuff(block[1:] if dotted else block)
        if self._run + len(block) > self._line_limit:
            self._measure(block)
        self._run = self._rest(block)
        return block

    def _rest(self, block: bytes) -> int:
        """Octets of the unfinished line at the end of a block."""
        at = block.rfind(b"\n")
        return self._run + len(block) if at < 0 else len(block) - at - 1

    def _measure(self, block: bytes) -> None:
        """Look for a line over the limit: one `rfind` a limit's length, not one a line."""
        at = 0
        run = self._run
        while len(block) - at + run > self._line_limit:
            end = block.rfind(b"\n", at, at + self._line_limit - run)
            if end < 0:
                self.too_long = True
                break
            at, run = end + 1, 0


def has_bare(block: bytes) -> bool:
    """Whether CR or LF stands alone somewhere; one pass (three of `bytes.count` take four times as long)."""
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(block.decode("latin-1"), final=True)
    return seen.newlines not in (None, "\r\n")


def _unstuff(block: bytes) -> bytes:
    """Take the first dot off each line but the first.

    Large mail is mostly base64, which has no dot: behind the last one is nothing to look for, at memory's speed.
    """
    if block.find(b"\r\n.", 0, block.rfind(b".") + 1) < 0:
        return block
    return block.replace(b"\r\n.", b"\r\n")


def _pieces(parts: list[bytes], trim: int) -> list[bytes]:
    """The parts without their last `trim` octets: small ones joined, large ones as they are, none cut within CRLF."""
    while trim and parts:
        last = parts.pop()
        if len(last) > trim:
            parts.append(last[:-trim])
        trim = max(trim - len(last), 0)
    pieces: list[bytes] = []
    joined: list[bytes] = []
    size = 0
    for part in parts:
        joined.append(part)
        size += len(part)
        if size >= _PIECE_BYTES and not part.endswith(b"\r"):
            pieces.append(b"".join(joined))
            joined.clear()
            size = 0
    pieces.append(b"".join(joined))
    return pieces


class Content:
    """One mail's octets, from the first to the end-of-data."""

    __slots__ = (
        "_block_bytes", "_cleaner", "_digest", "_hard_limit", "_keep_bare", "_limit", "_line_limit", "_open", "_parts", "_prefix",
        "_rest", "fault", "file", "head", "held", "received", "repaired", "size",
    )  # fmt: skip

    def __init__(
        self,
        *,
        stuffed: bool,
        repair: bool,
        limit: int,
        line_limit: int,
        block_bytes: int,
        open_file: Callable[[], RawFile],
        prefix: Callable[[bytes], bytes],
    ) -> None:
        self._cleaner = Cleaner(stuffed=stuffed, repair=repair, line_limit=line_limit)
        self._keep_bare = repair
        self._limit = limit
        self._line_limit = line_limit
        self._hard_limit = 2 * limit  # past it nothing is drained any more: the session closes
        self._block_bytes = block_bytes
        self._open = open_file
        self._prefix = prefix
        self._parts: list[bytes] = []
        self._rest = b""
        self._digest = hashlib.sha256()
        #: Octets in memory that wait to be moved.
        self.held = 0
        #: Octets taken from the wire, dots included.
        self.received = 0
        #: Octets of the mail, without our own header.
        self.size = 0
        #: The beginning of the mail, as far as it was kept.
        self.head = b""
        self.file: RawFile | None = None
        #: Why this mail will be refused at its end; the rest of it is read and dropped.
        self.fault: Reply | None = None
        #: Whether bare CR or LF was made CRLF.
        self.repaired = False

    @property
    def over(self) -> bool:
        """Whether so much has come that waiting for the end is no longer worth it."""
        return self.received > self._hard_limit

    @property
    def endless(self) -> bool:
        """Whether it is one line that does not end, as far as can be seen of what came last."""
        if self.fault is replies.LONG_LINE:
            return True
        return self.held > self._line_limit and not any(b"\n" in part for part in self._parts)

    @property
    def full(self) -> bool:
        """Whether a block is ready to be moved to the file."""
        return self.held >= self._block_bytes

    def add(self, octets: bytes) -> None:
        """Take octets as they came."""
        self.received += len(octets)
        if self.fault is None:
            self._parts.append(octets)
            self.held += len(octets)

    def refuse(self, fault: Reply) -> None:
        """Keep nothing more: the mail will get this reply."""
        if self.fault is None:
            self.fault = fault
        self._parts.clear()
        self._rest = b""
        self.held = 0

    def take(self) -> list[bytes]:
        """The octets to be moved next; they count as held no more."""
        parts, self._parts, self.held = self._parts, [], 0
        return parts

    def move(self, parts: list[bytes]) -> None:
        """Clean a block and append it to the file, opening it first; keeps back its last few octets. Blocks."""
        parts.insert(0, self._rest)
        if len(parts[-1]) < 2 * _TAIL:
            parts = [b"".join(parts)]
        last = parts.pop()
        cut = max(len(last) - _TAIL, 0)
        if last[cut - 1 : cut + 1] == b"\r\n":
            cut -= 1
        self._rest = last[cut:]
        self._write(self._clean(b"".join([*parts, last[:cut]])))

    def close(self, parts: list[bytes], trim: int) -> None:
        """Move what is left, without its last `trim` octets (the end-of-data). Blocks."""
        block = b"".join([self._rest, *parts])
        self._rest = b""
        self._write(self._clean(block[: len(block) - trim] if trim else block))

    def finish(self, *, trim: int) -> bytes:
        """The whole mail with our own header, where all of it is in memory still, without its last `trim` octets.

        Empty when it cannot be taken: see `fault`.
        """
        pieces = [self._take_up(piece) for piece in _pieces(self.take(), trim)]
        self._judge()
        if self.fault is not None:
            return b""
        self.head = pieces[0] if b"\r\n\r\n" in pieces[0] else b"".join(pieces)
        return b"".join([self._prefix(self.head), *pieces])

    def discard(self) -> None:
        """Remove the file, if there is one. Blocks."""
        if self.file is not None:
            self.file.discard()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the mail without our own header, once it is whole."""
        return self._digest.hexdigest()

    def _clean(self, block: bytes) -> bytes:
        """A block, cleaned, counted and hashed; sets `fault` when the mail cannot be taken."""
        block = self._take_up(block)
        self._judge()
        return block

    def _take_up(self, block: bytes) -> bytes:
        block = self._cleaner.clean(block)
        self.size += len(block)
        self._digest.update(block)
        return block

    def _judge(self) -> None:
        """Set `fault` when what was taken up cannot be taken."""
        if self._cleaner.too_long:
            self.fault = self.fault or replies.LONG_LINE
        elif self.size > self._limit:
            self.fault = self.fault or replies.fill(replies.TOO_BIG, octets=self._limit)
        elif self._cleaner.bare:
            if self._keep_bare:
                self.repaired = True
            else:
                self.fault = self.fault or replies.BARE_LINE_END

    def _write(self, block: bytes) -> None:
        """Append a cleaned block, after our own header when it is the first."""
        if self.fault is not None:
            return
        try:
            if self.file is None:
                self.head = block[:HEAD_BYTES]
                self.file = self._open()
                block = self._prefix(self.head) + block
            self.file.write(block)
        except SpoolFullError:
            self.fault = replies.NO_ROOM
        except SpoolError as exc:
            telemetry.spool_failed(where="smtp.write", why=str(exc))
            self.fault = replies.NOT_STORED
