"""The header block of a mail or of a part: its fields, however they are written.

Owns *header block* and *field*. Never decodes a value (`words` does). Follows RFC 5322 §2.2 and §4.5, and
reads on where a mail breaks them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.message.octets import CHUNK, Region

#: The empty line after the header; CRs doubled on the way belong to the line end (seen from old gateways).
_EMPTY_LINE = re.compile(rb"\n\r{0,8}\n")
#: The same where no line ends in LF at all: files of old Macs.
_EMPTY_CR_LINE = re.compile(rb"\r\r")
_SPAN = 10
_LINE = re.compile(rb"[^\r\n]*+(?:\r{0,8}\n|\r|\Z)")
#: RFC 5322 §3.6.8 and §4.5.8: printable ASCII except the colon, perhaps blanks before it. UTF-8 is let in.
#: With its first folds, of which one call looks at 500.
_FIELD = re.compile(
    rb"([!-9;-~\x80-\xff]{1,200})[ \t]*:"
    rb"([^\r\n]*+(?:\r{0,8}\n|\r|\Z)(?:[ \t][^\r\n]*+(?:\r{0,8}\n|\r|\Z)){0,500}+)"
)
#: Field names that prove that a header goes on; "Note: ..." after a line of words may be words too.
_KNOWN_FIELD = re.compile(
    rb"(?:from|to|cc|bcc|sender|reply-to|subject|date|message-id|in-reply-to|references|received|return-path|delivered-to"
    rb"|mime-version|precedence|priority|importance|user-agent|organization|thread-(?:topic|index)|errors-to|status"
    rb"|authentication-results|received-spf|(?:x|content|list|dkim|arc|resent|auto|feedback|autocrypt)-[!-9;-~]{1,80})"
    rb"[ \t]*:",
    re.IGNORECASE,
)
_PARAMETER = re.compile(rb"[A-Za-z][A-Za-z0-9*-]{1,30}=[\"A-Za-z0-9]")
_FOLDED = re.compile(rb"(?:[ \t][^\r\n]{0,998}+(?:\r{0,8}\n|\r)){1,3}+")
#: A field's body with its first 500 folds: each costs some 60 ns, and the event loop waits meanwhile.
_BODY = re.compile(rb"[ \t]*:([^\r\n]*+(?:\r{0,8}\n[ \t][^\r\n]*+){0,500}+)")
#: Octets before the first field: a byte order mark, the envelope line of a mailbox file.
_LEAD = re.compile(rb"(?:\xef\xbb\xbf)?(?:>?From (?![ \t]*:)[^\r\n]*+(?:\r{0,8}\n|\r))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields in order, names as sent and values as folded octets; the offset of the body; and the
    defects.
    """

    fields: tuple[tuple[str, bytes], ...]
    #: Absolute offset in the region's buffer.
    body_start: int
    malformed: bool = False
    too_long: bool = False
    #: The first value of each field, by its name in lower case.
    _first: Mapping[str, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the fields once: each entity asks for seven of them."""
        object.__setattr__(self, "_first", {name.lower(): value for name, value in reversed(self.fields)})

    def first(self, name: str) -> bytes | None:
        """The value of the first field of this lower-case name."""
        return self._first.get(name)


def parse_header(region: Region, limit: int) -> Header:
    """The header at the start of a region; its fields beyond `limit` octets are left out.

    A line that is no field is passed over when a field we know follows it, else the body begins there.
    """
    start = region.start
    first = region.read(start, start + 2)
    if first[:1] == b"\n" or first == b"\r\n":
        return Header(fields=(), body_start=start + (1 if first[:1] == b"\n" else 2))
    empty = region.search(_EMPTY_LINE, start, span=_SPAN)
    if empty is None and b"\n" not in region.read(start, start + CHUNK):
        empty = region.search(_EMPTY_CR_LINE, start, span=2)
    end = empty.end() if empty is not None else region.end
    too_long = end - start > limit
    if too_long:
        cut = region.read(start, start + limit).rfind(b"\n") + 1
        # Without an empty line behind it, the header beyond the limit is shown as text rather than lost.
        end = end if empty is not None else start + (cut or limit)
        block = region.read(start, start + (cut or limit))
    else:
        block = region.read(start, end)
    fields, malformed, stopped = _split(block)
    body = end if stopped is None else start + stopped
    return Header(fields=tuple(fields), body_start=body, malformed=malformed, too_long=too_long)


def _split(block: bytes) -> tuple[list[tuple[str, bytes]], bool, int | None]:
    """The fields, whether a line was no field, and the offset at which the block turned out to be body, or
    None.
    """
    #: The name of each field, and where its value begins and ends.
    found: list[tuple[str, int, int]] = []
    malformed, stopped = False, None
    start = _LEAD.match(block)
    at = 0 if start is None else start.end()
    while at < len(block):
        named = _FIELD.match(block, at)
        if named is not None:
            at = named.end()
            found.append((named[1].decode("ascii", "replace"), named.start(2), at))
            continue
        line = _LINE.match(block, at)
        assert line is not None, "the pattern matches anything"
        end = line.end()
        lead = block[at : at + 1]
        if lead in b"\r\n":
            break
        if found and (lead in b" \t" or _PARAMETER.match(block, at) is not None):
            # A line that is no field is taken as a fold whose blank was lost.
            malformed |= lead not in b" \t"
            found[-1] = (*found[-1][:2], end)
        else:
            malformed = True
            if not _fields_follow(block, end):
                stopped = at
                break
        at = end
    fields = [(name, block[first:last].strip(b" \t\r\n")) for name, first, last in found]
    return fields, malformed, stopped


def _fields_follow(block: bytes, at: int) -> bool:
    folded = _FOLDED.match(block, at)
    return _KNOWN_FIELD.match(block, at if folded is None else folded.end()) is not None


def header_block(raw: bytes) -> bytes:
    """The header of a mail as it comes in, up to and with its first empty line, at most 1 MiB."""
    if raw.startswith((b"\n", b"\r\n")):
        return b""
    end = raw.find(b"\n\r\n", 0, CHUNK)
    # Three jumps where all is in order; the pattern is for empty lines of another form, or for none.
    if end >= 0 and raw.find(b"\n\n", 0, end + 1) < 0 and raw.find(b"\r\r", 0, end) < 0:
        return raw[: end + 3]
    empty = _EMPTY_LINE.search(raw, 0, CHUNK)
    return raw[: empty.end() if empty is not None else CHUNK]


#: Places where a field's name is looked at: a header made of nothing but look-alikes would take milliseconds.
LOOKS = 1_000
_LOOKS = range(LOOKS)


class FieldFinder:
    """The finder of a few fields in a header block, at memory's speed instead of line by line."""

    __slots__ = ("_block", "_lowered")

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._lowered = block.lower()

    def may_have(self, name: bytes) -> bool:
        """Returns whether a lower-case name stands anywhere in the block, be it a field or not."""
        return name in self._lowered

    def match(self, name: bytes, form: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """The match of a form with the octets behind the first place where a line begins with this lower-case
        name: a field in its usual form, for half the time of `find`. Returns None where `find` must look.
        """
        lowered, block, step = self._lowered, self._block, len(name)
        at = lowered.find(name)
        for _ in _LOOKS:
            if at < 0:
                break
            if at == 0 or block[at - 1] in b"\r\n":
                return form.match(block, at + step)
            at = lowered.find(name, at + step)
        return None

    def find(self, name: bytes, *, most: int = LOOKS) -> list[tuple[int, bytes]]:
        """The first `most` fields of this lower-case name, in order: their offsets, and their bodies still
        folded.
        """
        lowered = self._lowered
        at = lowered.find(name)
        if at < 0:
            return []
        block, step = self._block, len(name)
        found: list[tuple[int, bytes]] = []
        for _ in _LOOKS:
            if at == 0 or block[at - 1] in b"\r\n":
                body = _BODY.match(block, at + step)
                if body is not None:
                    found.append((at, body[1]))
                    if len(found) >= most:
                        break
            at = lowered.find(name, at + step)
            if at < 0:
                break
        return found
