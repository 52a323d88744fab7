"""The content of a mail as it arrives: cleaned, measured, hashed, kept in memory or moved to a file.

Owns the octets between 354 (or BDAT) and the spool. CRLF ends a line, and nothing else does (RFC 5321
§2.3.8); a bare LF is repaired or refused, by the listener. Feeds observers (SHA-256 is the first) with each
octet once. Holds at most two blocks in memory, whatever the mail's size. Calls nobody back: our own fields
come in as a value, once `head` has been looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from relay import replies, telemetry
from relay.errors import SpoolError, SpoolFullError
from relay.policy.decide import Terms, decide_octets
from relay.policy.octets import HEAD_BYTES, Cleaner, Octets, build_octets
from relay.spool.raw_file import RawFile
from relay.vocabulary import Reply

# Octets that the passes over a mail in memory take at a time: they stay in the processor's cache from one
# pass to the next.
_PIECE_BYTES = 32_768
# Octets that a block keeps back, so that the end-of-data can be taken off wherever the block ended.
_TAIL = 4
#: Octets that cost little whatever they are: some ten looks at a header take a millisecond each for 256 KiB,
#: and the repair of 200,000 line ends four.
CHEAP_BYTES = 65_536
#: Octets a line, on average, below which line ends make up the cost.
_SHORT_LINE_BYTES = 8
#: Octets of a mail that `chunks` gives at a time.
_CHUNK_BYTES = 262_144


class Observer(Protocol):
    """A running computation over a mail's octets, without our own fields; a hash is one."""

    def update(self, octets: bytes, /) -> object:
        """Take the next octets of the mail. Called in a thread where the mail is large."""


def _pieces(parts: list[bytes], trim: int) -> list[bytes]:
    """The parts without their last `trim` octets. Small parts are joined, large ones stay as they are, and
    none is cut within CRLF.
    """
    if len(parts) == 1 and len(parts[0]) > trim:  # most mail comes with one read of the socket
        return [parts[0][: len(parts[0]) - trim]]
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
    """The octets of one mail, from the first to the end-of-data."""

    __slots__ = (
        "_block_bytes", "_cleaner", "_digest", "_failure", "_finished", "_hard_limit", "_observers", "_open", "_parts", "_pieces", "_rest", "_terms",
        "file", "head", "held", "moved", "received", "size",
    )  # fmt: skip

    def __init__(
        self,
        *,
        stuffed: bool,
        terms: Terms,
        block_bytes: int,
        open_file: Callable[[], RawFile],
        observers: Sequence[Observer] = (),
    ) -> None:
        self._terms = terms
        self._hard_limit = terms.hard_limit
        self._cleaner = Cleaner(
            stuffed=stuffed, repair=terms.line_ends != "crlf", line_limit=terms.line_bytes
        )
        self._block_bytes = block_bytes
        self._open = open_file
        self._parts: list[bytes] = []
        self._rest = b""
        #: The mail from its end to `join`, where it is in memory.
        self._pieces: list[bytes] = []
        self._digest = hashlib.sha256()
        self._observers = observers
        #: Octets in memory that wait to be moved.
        self.held = 0
        #: Octets taken from the wire, dots included.
        self.received = 0
        #: Octets of the mail, without our own header.
        self.size = 0
        #: The beginning of the mail, as far as it was kept.
        self.head = b""
        self.file: RawFile | None = None
        #: Set when some of the mail has left memory: the rest is to be moved, too.
        self.moved = False
        self._failure: Reply | None = None
        self._finished = False

    @property
    def octets(self) -> Octets:
        """The measures of the octets taken up so far; of the whole mail once it has ended."""
        return build_octets(self._cleaner, received=self.received, size=self.size)

    @property
    def fault(self) -> Reply | None:
        """The reply that refuses the mail, for the octets taken up so far. Returns None while there is no
        reason for one.
        """
        if self._failure is not None:
            return self._failure
        verdict = decide_octets(self.octets, self._terms)
        return verdict.reply if verdict is not None else None

    @property
    def failed(self) -> bool:
        """Returns whether the mail will be refused for trouble of ours. The rest of it is read and
        dropped.
        """
        return self._failure is not None

    @property
    def repaired(self) -> bool:
        """Returns whether bare CR or LF was made CRLF."""
        return (self._cleaner.bare_lf or self._cleaner.bare_cr) and self._terms.line_ends != "crlf"

    @property
    def over(self) -> bool:
        """Returns whether the mail is so large that waiting for its end is no longer worth it."""
        return self.received > self._hard_limit

    @property
    def full(self) -> bool:
        """Returns whether a block is ready to be moved to the file."""
        return self.held >= self._block_bytes

    def is_costly(self) -> bool:
        """Returns whether a mail in memory of more than `CHEAP_BYTES`, not yet finished, takes the event loop
        too long to look at: its header seems to be long, or its lines are very short.
        """
        ends, left, found = 0, CHEAP_BYTES, False
        for part in self._parts:
            ends += part.count(b"\n")
            if left > 0 and not found:
                found = part.find(b"\r\n\r\n", 0, left) >= 0
                left -= len(part)
        return not found or ends * _SHORT_LINE_BYTES > self.held

    def add(self, octets: bytes) -> None:
        """Take octets as they came. Those past the hard limit are counted only, however they are cut."""
        left = self._hard_limit - self.received
        self.received += len(octets)
        if len(octets) > left:
            octets = octets[: max(left, 0)]
        if self._failure is None:
            self._parts.append(octets)
            self.held += len(octets)

    def refuse(self, fault: Reply) -> None:
        """Keep no more octets: the mail will get this reply."""
        self._failure = self._failure or fault
        self._parts.clear()
        self._rest = b""
        self.held = 0

    def take(self) -> list[bytes]:
        """The octets to be moved next. They count as held no more."""
        parts, self._parts, self.held = self._parts, [], 0
        return parts

    def take_up(self, parts: list[bytes]) -> bytes:
        """A block as it is to be written: cleaned, measured and hashed. Its last few octets are kept back.
        Blocks.
        """
        self.moved = True
        parts.insert(0, self._rest)
        if len(parts[-1]) < 2 * _TAIL:
            parts = [b"".join(parts)]
        last = parts.pop()
        cut = max(len(last) - _TAIL, 0)
        if last[cut - 1 : cut + 1] == b"\r\n":
            cut -= 1
        self._rest = last[cut:]
        return self._clean(b"".join([*parts, last[:cut]]))

    def take_up_last(self, parts: list[bytes], trim: int) -> bytes:
        """The last block as it is to be written, without its last `trim` octets (the end-of-data). Blocks."""
        block = b"".join([self._rest, *parts])
        self._rest = b""
        trim = self._kept_of(trim)
        return self._clean(block[: len(block) - trim] if trim else block)

    def write(self, block: bytes, *, prefix: bytes) -> None:
        """Append a block to the file, the first one after our own fields (`prefix`). A mail that will be
        refused is not written. Blocks.
        """
        if self.fault is not None:
            return
        try:
            if self.file is None:
                self.file = self._open()
                block = prefix + block
            self.file.write(block)
        except SpoolFullError:
            self._failure = replies.NO_ROOM
        except SpoolError as exc:
            telemetry.spool_failed(where="smtp.write", why=str(exc))
            self._failure = replies.NOT_STORED

    def measure(self) -> None:
        """Take up the octets in memory only for their measures, because the mail will be refused."""
        self._clean(b"".join([self._rest, *self.take()]))
        self._rest = b""

    def finish(self, *, trim: int) -> None:
        """Take up a whole mail that is still in memory, without its last `trim` octets. Then `chunks` and
        `join` give it. A second call changes nothing.
        """
        if self._finished:
            return
        self._finished = True
        self._pieces = list(map(self._clean, _pieces(self.take(), self._kept_of(trim))))
        if len(self._pieces) > 1 and b"\r\n\r\n" not in self._pieces[0]:
            self.head = b"".join(self._pieces)[:HEAD_BYTES]

    def join(self, prefix: bytes) -> bytes:
        """A finished mail in one buffer, after our own fields. Only for a mail in memory, on its way to the
        spool.

        The content gives its octets away: `head` and `chunks` have nothing after this.
        """
        whole = b"".join([prefix, *self._pieces])
        # The pieces would lie in memory twice until the commit (measured: 130 µs of page faults for 200 KB).
        self._pieces = []
        self.head = b""
        return whole

    def chunks(self) -> Iterator[bytes]:
        """The whole mail once it has ended, without our own fields, piece by piece, before `join`. Blocks.

        Raises:
            SpoolSickError: its file cannot be read back.
        """
        if self.file is None:
            yield from self._pieces
            return
        with self.file.view() as octets:
            for at in range(len(octets) - self.size, len(octets), _CHUNK_BYTES):
                yield bytes(octets[at : at + _CHUNK_BYTES])

    def _kept_of(self, trim: int) -> int:
        """The number of octets of the end-of-data that were kept: those within the hard limit."""
        past = self.received - self._hard_limit
        return max(trim - past, 0) if past > 0 else trim

    def discard(self) -> None:
        """Remove the file, if there is one. Blocks."""
        if self.file is not None:
            self.file.discard()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the mail without our own header, once the mail is whole."""
        return self._digest.hexdigest()

    def _clean(self, block: bytes) -> bytes:
        """A block of the mail without stuffed dots, after every observer has seen it."""
        block = self._cleaner.clean(block)
        self.head = self.head or block[:HEAD_BYTES]
        self.size += len(block)
        self._digest.update(block)
        for observer in self._observers:
            observer.update(block)
        return block
