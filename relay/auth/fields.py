"""The header of a mail as its signatures see it: fields in order, to the octet, and their canonical forms.

Owns the header canonicalisations "simple" and "relaxed" (RFC 6376 §3.4.1, §3.4.2) and the choice of the
fields that a signature names (§5.4.2). Never decodes a value: `relay.message` does. A line that is no field
belongs to no signature and is passed over. Linear in the octets, and bounded by `HEADER_BYTES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

#: The signatures of a longer header are not looked at; `relay.policy` keeps as much of a mail's beginning.
HEADER_BYTES = 262_144
#: Fields behind so many octets of a header are nobody's: `relay.message` leaves them out, too.
SHOWN_BYTES = 1_048_576

#: A line with its folds; only CRLF ends a line (RFC 5321 §2.3.8).
_END = re.compile(rb"\r\n(?![ \t])")
_NAME = re.compile(rb"([!-9;-~]++)[ \t]*+:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BLANKS = re.compile(rb"[ \t]++")
_COLON = re.compile(rb"[ \t]*+:")


@dataclass(frozen=True, kw_only=True)
class Field:
    """A header field."""

    #: In lower case, without white space before the colon (RFC 5322 §4.5.8 has it).
    name: bytes
    #: As received, without the line end behind it.
    raw: bytes

    @property
    def value(self) -> bytes:
        """The octets behind the colon, folds among them."""
        return self.raw.partition(b":")[2]

    @cached_property
    def relaxed(self) -> bytes:
        """The relaxed form: unfolded, each run of blanks one, none at the ends; without a line end."""
        return relax(self.name, self.value)

    def canonical(self, *, relaxed: bool) -> bytes:
        """The form that a signature hashes, without a line end."""
        return self.relaxed if relaxed else self.raw


def relax(name: bytes, value: bytes) -> bytes:
    """The relaxed form of a field (RFC 6376 §3.4.2), without a line end."""
    return name + b":" + _BLANKS.sub(b" ", _FOLD.sub(b"", value)).strip(b" ")


class Fields:
    """All fields of a header, in order."""

    def __init__(self, header: bytes) -> None:
        """Take apart a header: everything before the empty line, or with it."""
        self.all: tuple[Field, ...] = tuple(_read_fields(header))
        self._places: dict[bytes, list[Field]] = {}
        for field in self.all:
            self._places.setdefault(field.name, []).append(field)

    def named(self, name: bytes) -> tuple[Field, ...]:
        """The fields of a lower-case name, from the top."""
        return tuple(self._places.get(name, ()))

    def select(self, names: Iterable[bytes]) -> list[Field]:
        """The fields that a list of lower-case names stands for, in its order.

        The first mention of a name is its last field, the next one the field above. A name without a field
        that is left stands for nothing.
        """
        left = {name: len(places) for name, places in self._places.items()}
        chosen = []
        for name in names:
            at = left.get(name, 0) - 1
            if at >= 0:
                left[name] = at
                chosen.append(self._places[name][at])
        return chosen


class FieldFinder:
    """The finder of a few fields in a header, at memory's speed: no other field is taken apart.

    A byte order mark in front of the first field does not hide it: `relay.message` passes over one, too.
    """

    __slots__ = ("_lines", "_lowered", "_unfolded")

    def __init__(self, header: bytes) -> None:
        """Get ready to look into a header."""
        start = 3 if header.startswith(b"\xef\xbb\xbf") else 0
        self._lines = b"\r\n" + header[start:]
        self._lowered = self._lines.lower()
        # Folds are blanks here, and as long as they were: what ends a line ends a field.
        self._unfolded = self._lines.replace(b"\r\n ", b"   ").replace(b"\r\n\t", b"   ")

    def find(self, name: bytes, *, looks: int | None = None) -> Iterator[Field]:
        """The fields of a lower-case name, in order.

        Lines that begin with the name are looked at, `looks` of them at most where the event loop waits.
        """
        for _, field in self.locate(name, looks=looks):
            yield field

    def above(self, place: int) -> bytes:
        """The fields before a place that `locate` gave, each with its line end."""
        return self._lines[2:place]

    def below(self, place: int) -> bytes:
        """The fields from a place that `locate` gave on."""
        return self._lines[place:]

    def locate(self, name: bytes, *, looks: int | None = None) -> Iterator[tuple[int, Field]]:
        """The fields that `find` gives, each with its place in the header."""
        wanted = b"\r\n" + name
        at = self._lowered.find(wanted)
        while at >= 0 and looks != 0:
            looks = None if looks is None else looks - 1
            behind = at + len(wanted)
            if _COLON.match(self._lines, behind) is not None:
                end = self._unfolded.find(b"\r\n", behind)
                behind = len(self._lines) if end < 0 else end
                yield at + 2, Field(name=name, raw=self._lines[at + 2 : behind])
            at = self._lowered.find(wanted, behind)


def _read_fields(header: bytes) -> Iterator[Field]:
    for raw in _END.split(header):
        name = _NAME.match(raw)
        if name is not None:
            yield Field(name=name[1].lower(), raw=raw)
