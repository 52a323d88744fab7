"""The records of a journal: how they lie in a segment, and how they are read whatever has happened to it.

Owns the layout. A record is whole or it is nothing: its head and its facts have a checksum, its octets have
that of our trace header and the SHA-256 of the mail. Each begins at a sector of its own, so that no later
write touches a sector of acknowledged mail. A segment that is used again holds older records, with octets
that strangers chose; they are none of its generation, a random number that no peer is told. Readers are
linear, bounded by the segment, and never raise for what they read.

    sector 0     magic, generation, crc32 of both
    then each    magic, crc32 of the rest of the head and of the facts, generation, kind, sizes of facts,
                 trace and octets, crc32 of the trace, SHA-256 of the mail; the facts; the octets
"""

from __future__ import annotations

import hashlib
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

SECTOR_BYTES = 512
#: Of a segment, unless a test has smaller ones.
SEGMENT_BYTES = 64 << 20
#: More than any mail's envelope, recipients and results together: `limits.recipients` of some hundred octets
#: each, twice.
MOST_FACTS_BYTES = 16 << 20

_SEGMENT = struct.Struct("<8sQI")
_SEGMENT_MAGIC = b"RelayJ1\n"
#: Magic, and the checksum of what follows.
_CHECK = struct.Struct("<4sI")
_MAGIC = b"RyJr"
#: Generation, kind, sizes of facts, trace and octets (with the trace), crc32 of the trace, SHA-256 of the
#: rest.
_HEAD = struct.Struct("<QIIIII32s")
_HEAD_BYTES = _CHECK.size + _HEAD.size

#: Octets of the segment from an offset on, at most so many.
Read = Callable[[int, int], bytes]


class Kind(IntEnum):
    """The meaning of a record."""

    #: A mail; its facts are those of `mail`.
    MAIL = 1
    #: Mails without a Message-ID whose peers have seen our 250: their ids.
    CONFIRMED = 2


class Record(NamedTuple):
    """A record as it is written or was read."""

    kind: Kind
    facts: bytes
    #: Our trace header, then the mail; empty for all but mails.
    trace: bytes = b""
    mail: bytes = b""
    #: The SHA-256 of `mail`, which who takes it in has computed already.
    fingerprint: bytes = hashlib.sha256(b"").digest()

    @property
    def size(self) -> int:
        """The octets that it takes in a segment, up to the next sector."""
        return round_up(_HEAD_BYTES + len(self.facts) + len(self.trace) + len(self.mail))


class Found(NamedTuple):
    """A record that was read, and the offset behind it."""

    record: Record
    end: int


def round_up(size: int) -> int:
    """The next offset at which a sector begins."""
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES


def draw_generation() -> int:
    """A generation that nobody can guess."""
    return secrets.randbits(64)


def build_segment_head(generation: int) -> bytes:
    """The first sector of a segment."""
    known = _SEGMENT_MAGIC + generation.to_bytes(8, "little")
    return _SEGMENT.pack(_SEGMENT_MAGIC, generation, zlib.crc32(known)).ljust(SECTOR_BYTES, b"\0")


def read_generation(sector: bytes) -> int | None:
    """The generation that the first sector of a segment names. Returns None if it is no such sector: nothing
    in the segment was ever acknowledged.
    """
    if len(sector) < _SEGMENT.size:
        return None
    magic, generation, check = _SEGMENT.unpack_from(sector)
    if magic != _SEGMENT_MAGIC or check != zlib.crc32(sector[: _SEGMENT.size - 4]):
        return None
    return int(generation)


def build_record(record: Record, generation: int) -> list[bytes]:
    """The octets of a record, in parts that are not copied, up to the next sector."""
    rest = _HEAD.pack(
        generation,
        record.kind,
        len(record.facts),
        len(record.trace),
        len(record.trace) + len(record.mail),
        zlib.crc32(record.trace),
        record.fingerprint,
    )
    check = _CHECK.pack(_MAGIC, zlib.crc32(record.facts, zlib.crc32(rest)))
    size = _HEAD_BYTES + len(record.facts) + len(record.trace) + len(record.mail)
    return [check + rest, record.facts, record.trace, record.mail, bytes(record.size - size)]


def read_records(read: Read, *, size: int, generation: int, at: int = SECTOR_BYTES) -> Iterator[Found]:
    """The whole records of this generation from an offset on, up to the first that is not whole."""
    while (found := _read_record(read, at, size, generation)) is not None:
        yield found
        at = found.end


def _read_record(read: Read, at: int, size: int, generation: int) -> Found | None:
    head = read(at, _HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    magic, check = _CHECK.unpack_from(head)
    if magic != _MAGIC:
        return None
    theirs, kind, facts_size, trace_size, octets_size, trace_check, fingerprint = _HEAD.unpack_from(
        head, _CHECK.size
    )
    begin = at + _HEAD_BYTES
    end = begin + facts_size + octets_size
    if theirs != generation or facts_size > MOST_FACTS_BYTES or trace_size > octets_size or end > size:
        return None
    facts = read(begin, facts_size)
    if zlib.crc32(facts, zlib.crc32(head[_CHECK.size :])) != check or kind not in Kind._value2member_map_:
        return None
    octets = read(begin + facts_size, octets_size)
    trace, mail = octets[:trace_size], octets[trace_size:]
    if (
        len(octets) < octets_size
        or zlib.crc32(trace) != trace_check
        or hashlib.sha256(mail).digest() != fingerprint
    ):
        return None
    return Found(Record(Kind(kind), facts, trace, mail, fingerprint), round_up(end))
