"""The TNEF reader: the files and the body of Outlook's winmail.dat.

Owns the reading of the stream. Never raises for its content: what was read before the stream went wrong is
returned. Follows [MS-OXTNEF] §2.1 and [MS-OXPROPS]; checksums are not checked, because a wrong one hides
nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

SIGNATURE = b"\x78\x9f\x3e\x22"
#: Depth of messages within messages, each a stream of its own; Outlook itself stops long before.
_DEEPEST = 8
_MOST_ATTRIBUTES = 20_000
#: Properties and their further values, in a stream with all streams within it.
_MOST_VALUES = 50_000

_MESSAGE_PROPERTIES = 0x00069003
_CODE_PAGE = 0x00069007
_BODY = 0x0002800C
_BEGIN_ATTACHMENT = 0x00069002
_TITLE = 0x00018010
_TRANSPORT_NAME = 0x00069001
_DATA = 0x0006800F
_ATTACHMENT_PROPERTIES = 0x00069005

_PR_BODY, _PR_RTF, _PR_HTML = 0x1000, 0x1009, 0x1013
_PR_ATTACH_DATA, _PR_FILENAME, _PR_LONG_FILENAME = 0x3701, 0x3704, 0x3707
_PR_MIME_TAG, _PR_CONTENT_ID, _PR_DISPLAY_NAME = 0x370E, 0x3712, 0x3001
_PR_CODE_PAGE = 0x3FDE

_STRING8, _UNICODE, _OBJECT, _BINARY, _CLSID = 0x1E, 0x1F, 0x0D, 0x102, 0x48
_FIXED = {
    0x02: 4,
    0x03: 4,
    0x04: 4,
    0x0A: 4,
    0x0B: 4,
    0x05: 8,
    0x06: 8,
    0x07: 8,
    0x14: 8,
    0x40: 8,
    _CLSID: 16,
}
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TnefFile:
    """A file of the stream: `size` octets at `offset`."""

    name: str | None
    content_type: str
    content_id: str | None
    offset: int
    size: int


@dataclass(slots=True, kw_only=True)
class Tnef:
    """The content of a stream; `sound` is False when the stream ended in the middle or made no sense
    somewhere.
    """

    files: list[TnefFile] = field(default_factory=list)
    plain: bytes | None = None
    html: bytes | None = None
    #: The RTF body, compressed as in the stream.
    rtf: bytes | None = None
    #: The Python codec of 8-bit strings.
    codec: str = "cp1252"
    #: True when `plain` is UTF-16.
    wide: bool = False
    sound: bool = True


@dataclass(slots=True)
class _File:
    name: str = ""
    long_name: str = ""
    content_type: str = ""
    content_id: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Value:
    kind: int
    start: int
    end: int


def parse_tnef(octets: bytes) -> Tnef:
    """The files and body of a TNEF stream, with those of messages within it."""
    tnef = Tnef()
    if octets[:4] != SIGNATURE:
        tnef.sound = False
        return tnef
    _Reader(octets, tnef).stream(0, len(octets), 0)
    return tnef


class _Reader:
    def __init__(self, octets: bytes, tnef: Tnef) -> None:
        self.octets = octets
        self.tnef = tnef
        self.attributes = 0
        self.values_left = _MOST_VALUES

    def stream(self, start: int, end: int, depth: int) -> None:
        current: _File | None = None
        for attribute, first, last in self._attributes(start + 6, end):
            if attribute == _BEGIN_ATTACHMENT:
                self._keep(current, depth)
                current = _File()
            elif current is not None:
                self._of_file(current, attribute, first, last)
            else:
                self._of_message(attribute, first, last, depth)
        self._keep(current, depth)

    def _attributes(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        while at + 9 <= end:
            level, attribute, size = struct.unpack_from("<BII", self.octets, at)
            self.attributes += 1
            if level not in {1, 2} or self.attributes > _MOST_ATTRIBUTES:
                self.tnef.sound = False
                return
            first, last = at + 9, at + 9 + size
            if last > end:
                self.tnef.sound = False
                last = end
            yield attribute, first, last
            at = last + 2  # behind the checksum

    def _of_message(self, attribute: int, first: int, last: int, depth: int) -> None:
        tnef = self.tnef
        if attribute == _CODE_PAGE and last - first >= 4:
            tnef.codec = code_page(struct.unpack_from("<I", self.octets, first)[0])
        elif attribute == _BODY and depth == 0:
            tnef.plain = self.octets[first:last].partition(b"\0")[0]
        elif attribute == _MESSAGE_PROPERTIES and depth == 0:
            self._of_properties(first, last)

    def _of_properties(self, first: int, last: int) -> None:
        tnef, octets = self.tnef, self.octets
        for identifier, value in self._properties(first, last):
            if identifier == _PR_HTML:
                tnef.html = octets[value.start : value.end]
            elif identifier == _PR_RTF and value.kind == _BINARY:
                tnef.rtf = octets[value.start : value.end]
            elif identifier == _PR_BODY:
                tnef.plain, tnef.wide = octets[value.start : value.end], value.kind == _UNICODE
            elif identifier == _PR_CODE_PAGE and value.end - value.start >= 4:
                tnef.codec = code_page(struct.unpack_from("<I", octets, value.start)[0])

    def _of_file(self, current: _File, attribute: int, first: int, last: int) -> None:
        if attribute in {_TITLE, _TRANSPORT_NAME}:
            current.name = current.name or self._string(_Value(_STRING8, first, last))
        elif attribute == _DATA:
            current.span = (first, last)
        elif attribute == _ATTACHMENT_PROPERTIES:
            for identifier, value in self._properties(first, last):
                if identifier == _PR_LONG_FILENAME:
                    current.long_name = self._string(value)
                elif identifier in {_PR_FILENAME, _PR_DISPLAY_NAME}:
                    current.name = current.name or self._string(value)
                elif identifier == _PR_MIME_TAG:
                    current.content_type = self._string(value)
                elif identifier == _PR_CONTENT_ID:
                    current.content_id = self._string(value)
                elif identifier == _PR_ATTACH_DATA and value.kind in {_OBJECT, _BINARY}:
                    current.span = (value.start, value.end)

    def _keep(self, current: _File | None, depth: int) -> None:
        if current is None or current.span is None:
            return
        start, end = current.span
        # An object begins with the identifier of its interface; a message within is a stream behind it.
        if self.octets[start + 16 : start + 20] == SIGNATURE and depth < _DEEPEST:
            self.stream(start + 16, end, depth + 1)
            return
        content_type = current.content_type.lower()
        self.tnef.files.append(
            TnefFile(
                name=current.long_name or current.name or None,
                content_type=content_type
                if _MEDIA_TYPE.fullmatch(content_type)
                else "application/octet-stream",
                content_id=current.content_id.strip("<> ") or None,
                offset=start,
                size=end - start,
            )
        )

    def _string(self, value: _Value) -> str:
        octets = self.octets[value.start : min(value.end, value.start + 2048)]
        if value.kind == _UNICODE:
            return octets[: len(octets) // 2 * 2].decode("utf-16-le", "replace").split("\0")[0]
        return octets.split(b"\0")[0].decode(self.tnef.codec, "replace")

    # --- MAPI properties, [MS-OXTNEF] §2.1.3.4

    def _properties(self, at: int, end: int) -> Iterator[tuple[int, _Value]]:
        """The properties between two offsets, each with its first value; no count in the stream is
        trusted.
        """
        try:
            count, at = self._number(at, end), at + 4
            for _ in range(count):
                kind, identifier = struct.unpack_from("<HH", self.octets, at)
                at = self._behind_name(at + 4, end) if identifier >= 0x8000 else at + 4
                value, at = self._value(kind, at, end)
                if value is not None:
                    yield identifier, value
        except struct.error:  # beyond the end of the attribute, or over the budget of one mail
            self.tnef.sound = False

    def _number(self, at: int, end: int) -> int:
        if at + 4 > end:
            raise struct.error
        (number,) = struct.unpack_from("<I", self.octets, at)
        return int(number)

    def _behind_name(self, at: int, end: int) -> int:
        if self._number(at + 16, end) == 0:
            return at + 24
        return at + 24 + _padded(self._number(at + 20, end))

    def _value(self, kind: int, at: int, end: int) -> tuple[_Value | None, int]:
        """The first value of a property, None where it has none; and the offset behind its last value."""
        self._spend()
        multiple, kind = bool(kind & 0x1000), kind & 0xEFFF
        size = _FIXED.get(kind)
        if size is not None:
            count = 1
            if multiple:
                count, at = self._number(at, end), at + 4
            behind = at + count * _padded(size)
            if behind > end:
                raise struct.error
            return (_Value(kind, at, at + size) if count else None), behind
        if kind not in {_STRING8, _UNICODE, _OBJECT, _BINARY}:
            raise struct.error
        first = None
        count, at = self._number(at, end), at + 4
        for _ in range(count):
            if first is not None:
                self._spend()
            length, at = self._number(at, end), at + 4
            if at + length > end:
                raise struct.error
            first = first or _Value(kind, at, at + length)
            at += _padded(length)
        return first, at

    def _spend(self) -> None:
        self.values_left -= 1
        if self.values_left < 0:
            raise struct.error


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


#: The Python codecs for Windows code pages.
_CODE_PAGES = {
    874: "cp874", 932: "cp932", 936: "gb18030", 949: "cp949", 950: "big5hkscs", 20127: "cp1252", 20866: "koi8-r",
    21866: "koi8-u", 28591: "cp1252", 50220: "iso2022_jp", 51932: "euc_jp", 65001: "utf-8",
    **{28590 + part: f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 13, 15)},
    **{number: f"cp{number}" for number in (*range(1250, 1259), 437, 850, 852, 855, 857, *range(860, 867))},
}  # fmt: skip


def code_page(number: int) -> str:
    """The Python codec for a Windows code page; windows-1252 for an unknown one."""
    return _CODE_PAGES.get(number, "cp1252")
