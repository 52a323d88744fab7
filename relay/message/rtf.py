"""The words of a compressed RTF body: the HTML or text that Outlook put inside, or the RTF's own text.

Owns the reading of RTF. Never raises, never returns more octets than the caller allows. Follows [MS-OXRTFCP]
(compression), [MS-OXRTFEX] (HTML and text in RTF).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import islice

from relay.message.tnef import code_page

#: Octets of RTF that are read: its text is short, and its pictures are among the files as well.
LIMIT = 8 << 20
#: Tokens that are read (words, braces, runs of text), about 1 µs each; a page of Outlook's has a few
#: thousand.
_MOST_TOKENS = 400_000

# [MS-OXRTFCP] §2.1.2.1: the dictionary before the first octet.
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?[0-9]{1,9})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]{1,65536})|[\r\n]+",
    re.DOTALL,
)
#: Groups whose content is no text.
_HIDDEN = frozenset({
    b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"object", b"themedata", b"colorschememapping",
    b"datastore", b"latentstyles", b"generator", b"listtable", b"listoverridetable", b"header", b"footer", b"xmlnstbl",
    b"fldinst", b"revtbl", b"rsidtbl", b"mmathPr",
})  # fmt: skip
_LETTERS = {
    b"par": "\n", b"line": "\n", b"row": "\n", b"tab": "\t", b"cell": "\t", b"emdash": "\u2014", b"endash": "\u2013",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"bullet": "\u2022",
}  # fmt: skip


def decompress_rtf(octets: bytes, limit: int = LIMIT) -> bytes | None:
    """The RTF behind [MS-OXRTFCP], as far as the octets go and `limit` allows. Returns None for other
    octets.
    """
    if len(octets) < 16:
        return None
    kind = octets[8:12]
    (size,) = struct.unpack_from("<I", octets, 4)
    if kind == b"MELA":
        return octets[16 : 16 + min(size, limit)]
    if kind != b"LZFu":
        return None
    return _decompress(octets, min(size, limit))


def _decompress(octets: bytes, limit: int) -> bytes:
    # The dictionary is a ring of 4,096 octets: here the last of `out`, which begins with it, turned so that
    # it ends where the first octet is written.
    begin = len(_DICTIONARY)
    out = bytearray(4096 - begin) + _DICTIONARY
    at, end = 16, len(octets)
    while at < end and len(out) < 4096 + limit:
        control = octets[at]
        at += 1
        if not control:
            out += octets[at : at + 8]
            at += 8
            continue
        for bit in range(8):
            if not control >> bit & 1:
                out += octets[at : at + 1]
                at += 1
                continue
            if at + 1 >= end:
                return bytes(out[4096 : 4096 + limit])
            pair = octets[at] << 8 | octets[at + 1]
            at += 2
            distance = (len(out) + begin - (pair >> 4)) & 0xFFF
            if not distance:  # [MS-OXRTFCP] §2.2.1: the end
                return bytes(out[4096 : 4096 + limit])
            size = (pair & 0xF) + 2
            start = len(out) - distance
            piece = out[start : start + size]
            out += piece if distance >= size else (piece * size)[:size]
    return bytes(out[4096 : 4096 + limit])


@dataclass(slots=True)
class _Group:
    hidden: bool = False
    #: [MS-OXRTFEX] §2.1.3.1.4: RTF that only repeats what the HTML says.
    repeats: bool = False
    in_tag: bool = False
    skips: int = 1


def rtf_words(rtf: bytes) -> tuple[str, bool]:
    """The text of an RTF document, as far as `_MOST_TOKENS` go. Returns beside it whether that text is
    HTML.
    """
    html = b"\\fromhtml" in rtf[:1024]
    reader = _Reader(html=html)
    for token in islice(_TOKEN.finditer(rtf), _MOST_TOKENS):
        reader.take(token)
    return "".join(reader.finish()), html


class _Reader:
    def __init__(self, *, html: bool) -> None:
        self.html = html
        self.groups = [_Group()]
        self.pieces: list[str] = []
        self.octets = bytearray()
        self.codec = "cp1252"
        self.skip = 0
        self.starred = False

    def finish(self) -> list[str]:
        self._flush()
        return self.pieces

    def _flush(self) -> None:
        if self.octets:
            self.pieces.append(bytes(self.octets).decode(self.codec, "replace"))
            self.octets.clear()

    @property
    def _silent(self) -> bool:
        group = self.groups[-1]
        return group.hidden or group.repeats

    def take(self, token: re.Match[bytes]) -> None:
        word, number, hexadecimal, symbol, brace, text = token.groups()
        if brace is not None:
            self._brace(brace)
        elif word is not None:
            self._word(word, int(number) if number else None)
        elif hexadecimal is not None:
            self._octets(bytes((int(hexadecimal, 16),)))
        elif symbol is not None:
            self._symbol(symbol)
        elif text is not None:
            self._octets(text)

    def _brace(self, brace: bytes) -> None:
        self.skip = 0
        group = self.groups[-1]
        if brace == b"{":
            if len(self.groups) < 10_000:
                self.groups.append(_Group(group.hidden, group.repeats, group.in_tag, group.skips))
        elif len(self.groups) > 1:
            self.groups.pop()
        self.starred = False

    def _word(self, word: bytes, number: int | None) -> None:
        group = self.groups[-1]
        starred, self.starred = self.starred, False
        if word == b"ansicpg" and number:
            self.codec = code_page(number)
        elif word == b"uc" and number is not None:
            group.skips = min(max(number, 0), 100)
        elif word == b"u" and number is not None:
            self._unicode(number)
        elif word == b"htmlrtf":
            group.repeats = number != 0
        elif word == b"htmltag" or (starred and word == b"mhtmltag"):
            group.in_tag = word == b"htmltag"
            group.hidden = word != b"htmltag"
        elif word in _HIDDEN or starred:
            group.hidden = True
        elif word in _LETTERS and not self._silent:
            self._flush()
            # In HTML, line ends and tabs of the RTF stand for those of the source.
            self.pieces.append("\n" if self.html and word in {b"par", b"line"} else _LETTERS[word])

    def _unicode(self, number: int) -> None:
        if not self._silent:
            self._flush()
            code = number & 0xFFFF
            if 0xDC00 <= code < 0xE000 and self.pieces and "\ud800" <= self.pieces[-1][-1:] < "\udc00":
                high = ord(self.pieces.pop())
                self.pieces.append(chr(0x10000 + (high - 0xD800 << 10) + code - 0xDC00))
            else:
                self.pieces.append(chr(code))
        self.skip = self.groups[-1].skips

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self.starred = True
        elif symbol in b"\\{}":
            self._octets(symbol)
        elif symbol == b"~" and not self._silent:
            self._flush()
            self.pieces.append("&nbsp;" if self.html else "\u00a0")
        elif symbol in b"\r\n" and not self._silent:
            self._octets(b"\n")
        elif symbol == b"_":
            self._octets(b"-")

    def _octets(self, octets: bytes) -> None:
        if self.skip:  # the substitute for a \u that old readers do not know
            cut = min(self.skip, len(octets))
            self.skip -= cut
            octets = octets[cut:]
        if not self._silent:
            self.octets += octets
