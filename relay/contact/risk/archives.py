"""Archives, as far as their tables tell: names and passwords.

Owns bounded looks at ZIP, RAR and 7-Zip files. Never unpacks anything, never raises on any octets. Follows
PKWARE's APPNOTE 6.3 (§4.3.12, §4.4.4), RAR's technical notes, 7zFormat.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: Octets at both ends of a file that are kept, and entries of a table that are read.
HEAD_BYTES = 1 << 16
TAIL_BYTES = 1 << 20
_MOST_ENTRIES = 4_000
_LONGEST_NAME = 1_000
_AES = b"\x06\xf1\x07\x01"  # 7zFormat.txt: the id of the coder 7zAES


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The table of an archive: the names in it, and whether a password protects any of it."""

    names: tuple[str, ...] = ()
    protected: bool = False


def read_zip(head: bytes, tail: bytes, size: int) -> Table:
    """The central directory, else the first local header; `tail` is the end of a file of `size` octets."""
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        return _read_local(head)
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    place = int.from_bytes(tail[end + 16 : end + 20], "little") - (size - len(tail))
    if not 0 <= place < end:
        place = max(end - length, 0)  # octets stand before the archive, or the tail is too short for all
    names, protected, count = [], False, 0
    place = tail.find(b"PK\x01\x02", place, end)
    while place >= 0 and count < _MOST_ENTRIES and tail[place : place + 4] == b"PK\x01\x02":
        count += 1
        protected |= bool(tail[place + 8] & 1)
        lengths = [int.from_bytes(tail[at : at + 2], "little") for at in range(place + 28, place + 34, 2)]
        names.append(_name(tail[place + 46 : place + 46 + lengths[0]]))
        place += 46 + sum(lengths)
    return Table(names=tuple(names), protected=protected or _read_local(head).protected)


def _read_local(head: bytes) -> Table:
    if len(head) < 30 or not head.startswith(b"PK\x03\x04"):
        return Table()
    length = int.from_bytes(head[26:28], "little")
    return Table(names=(_name(head[30 : 30 + length]),), protected=bool(head[6] & 1))


def _name(octets: bytes) -> str:
    return octets[:_LONGEST_NAME].decode("utf-8", "replace")


def is_seven_zip_protected(head: bytes, tail: bytes, size: int) -> bool:
    """Returns whether the table of a 7-Zip archive names its cipher; a packed table does not show it."""
    place = 32 + int.from_bytes(head[12:20], "little")
    length = int.from_bytes(head[20:28], "little")
    start = place - (size - len(tail))
    if start < 0 or start >= len(tail):
        return False
    return _AES in tail[start : start + min(length, TAIL_BYTES)]


def is_rar_protected(head: bytes) -> bool:
    """Returns whether a RAR archive says that its headers or one of its first files are encrypted."""
    if head[:8] == b"Rar!\x1a\x07\x01\x00":
        return any(_five_blocks(head))
    place = 7
    for _ in range(_MOST_ENTRIES):
        block = head[place : place + 11]
        if len(block) < 7:
            return False
        kind, flags = block[2], int.from_bytes(block[3:5], "little")
        if (kind == 0x73 and flags & 0x80) or (kind == 0x74 and flags & 0x04):
            return True
        added = int.from_bytes(block[7:11], "little") if flags >> 15 or kind == 0x74 else 0
        place += max(int.from_bytes(block[5:7], "little"), 7) + added
    return False


def _five_blocks(head: bytes) -> Iterator[bool]:
    """Of each block of a RAR 5 archive, whether it says that something is encrypted."""
    place = 8
    for _ in range(_MOST_ENTRIES):
        size, start = _number(head, place + 4)
        kind, at = _number(head, start)
        flags, at = _number(head, at)
        extra, at = _number(head, at) if flags & 1 else (0, at)
        data, at = _number(head, at) if flags & 2 else (0, at)
        if not size or start + size > len(head):
            yield kind == 4
            return
        yield kind == 4 or (kind == 2 and _has_cipher(head[start + size - min(extra, size) : start + size]))
        place = start + size + data


def _has_cipher(extra: bytes) -> bool:
    """Returns whether the extra area of a file's header has an encryption record (type 1)."""
    place = 0
    while place < len(extra):
        size, start = _number(extra, place)
        kind, _ = _number(extra, start)
        if kind == 1:
            return True
        if not size:
            return False
        place = start + size
    return False


def _number(octets: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits an octet, and the offset behind it; zero past the end."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(octets):
            return 0, place
        octet = octets[place]
        place += 1
        number |= (octet & 0x7F) << shift
        if not octet & 0x80:
            break
    return number, place
