"""The files that stand in a text as lines of uuencode, from before MIME and from some scripts still.

Owns *uuencoded file*. Never changes the text: `without_files` makes one without the lines of files, to be
shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relay.message.octets import Region
from relay.message.transfer import uu_begin

#: Files in one text that are found; more are an attack.
_MOST = 200
_END = re.compile(rb"\r?\n(?:`|\x20)?\r{0,2}\n?end(?=\s|\Z)")
_FIRST_LINE = re.compile(rb"([\x20-\x60])([\x20-\x60]{0,90})\r?\n?")
_BLOCK = re.compile(r"^begin [0-7]{3,4} ([^\n]{1,255})\n(?:[\x20-\x60]{1,90}\n){1,400000}?end$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UuencodedFile:
    """The offsets of a file's lines: from behind its "begin" to before its "end" line."""

    name: bytes
    start: int
    end: int


def find_files(region: Region) -> Iterator[UuencodedFile]:
    """The uuencoded files in a text, in order."""
    begin = uu_begin(region, region.start)
    for _ in range(_MOST):
        if begin is None:
            return
        start = begin.end()
        if not _plausible(region.read(start, start + 100)):
            begin = uu_begin(region, start)
            continue
        end = region.search(_END, start, span=16)
        if end is None:  # torn, or no file: its lines stay in the text
            return
        yield UuencodedFile(name=begin[1].strip(), start=start, end=end.end())
        begin = uu_begin(region, end.end())


def _plausible(line: bytes) -> bool:
    """Returns whether a line can be the first of a file: as long as it states (give or take blanks lost at
    its end).
    """
    found = _FIRST_LINE.match(line)
    if found is None:
        return False
    size = (found[1][0] - 32) & 63
    letters = (size + 2) // 3 * 4
    return size > 0 and letters - 12 <= len(found[2]) <= letters + 2


def without_files(text: str) -> str:
    """The text with each uuencoded file replaced by its name in brackets."""
    return _BLOCK.sub(r"[\1]", text)
