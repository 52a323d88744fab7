"""The transfer encodings: base64, quoted-printable and uuencode, decoded in chunks.

Owns Content-Transfer-Encoding. Never raises: octets that are not in the encoding are passed over or kept as
they are. Follows RFC 2045 §6.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from enum import StrEnum

import pybase64

from relay.message.octets import CHUNK, Region


class TransferEncoding(StrEnum):
    """The transfer encoding of a part."""

    IDENTITY = "binary"
    BASE64 = "base64"
    QUOTED_PRINTABLE = "quoted-printable"
    UUENCODE = "x-uuencode"


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS = b" \t\r\n"
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET + b"="))
_NOT_LETTERS = _NOT_BASE64 + b"="
_PURE = re.compile(rb"[A-Za-z0-9+/=\s]*+")
#: Padded blocks of base64 that are decoded in one part; more are an attack.
_MOST_BLOCKS = 1_000_000
#: Lines of uuencode that are read in one part: 60 MB at the usual 45 octets a line.
_MOST_LINES = 1_400_000
_KNOWN = re.compile(r"base-?64|quoted[- _]?printable|x-uu\w*|uu\w*|7-?bits?|8-?bits?|binary|none")
_BEGIN = re.compile(rb"begin(?:(?<=[\r\n]begin)|(?<=\Abegin)) [0-7]{3,6} ?([^\r\n]{0,255})\r?\n")
_PADDED_BREAK = re.compile(rb"=[ \t]++(?=\r?\n)")
#: Octets at the end of a part in which a footer is looked for.
_FOOTER_OCTETS = 16 << 10
#: Letters of a line without a blank that only base64 has.
_LONG_LINE = 60
#: A word of a language, as base64 hardly ever makes one.
_WORD = re.compile(rb"[A-Z][a-z]{3,}+|[a-z]{4,}+|[A-Z]{5,}+")
_WORD_LINE = re.compile(rb"[\r\n](?:[A-Z][a-z]{3,}+|[a-z]{4,}+|[A-Z]{5,}+)(?=[\r\n]|\Z)")
#: Octets at the end of a part in which such a line is looked for.
_LAST_OCTETS = 1_000
#: Letters of a word where the last line of base64 may stand, too: of last lines of so many, one in 50,000 is
#: a word; of those of eight, one in 1,400, and where base64 fills its quads it is none of another length.
_LONG_WORD = 12
_SHORT_WORD = 8
_SPACED = re.compile(rb"[^\s] [^\s]")


def parse_transfer_encoding(text: str) -> tuple[TransferEncoding, bool]:
    """The encoding a field names, identity when it names none we know; and whether the name was sound.

    Sound are those of RFC 2045, and whatever programs call uuencode, which it has none for.
    """
    word = text.strip().strip("\"'").lower()
    if not word:
        return TransferEncoding.IDENTITY, True
    found = _KNOWN.match(word)
    if found is None:
        return TransferEncoding.IDENTITY, False
    name = found[0]
    sound = name in {"base64", "quoted-printable", "7bit", "8bit", "binary"}
    if name.startswith("base"):
        return TransferEncoding.BASE64, sound
    if name.startswith("quoted"):
        return TransferEncoding.QUOTED_PRINTABLE, sound
    if "uu" in name:
        return TransferEncoding.UUENCODE, True
    return TransferEncoding.IDENTITY, sound


def decoded_chunks(region: Region, encoding: TransferEncoding) -> Iterator[bytes]:
    """The decoded octets of a region, in chunks of at most 1 MiB."""
    match encoding:
        case TransferEncoding.BASE64:
            return _base64(_without_footer(region))
        case TransferEncoding.QUOTED_PRINTABLE:
            return _quoted_printable(region)
        case TransferEncoding.UUENCODE:
            return _uuencode(region)
        case _:
            return region.chunks()


def _base64(region: Region) -> Iterator[bytes]:
    kept = b""
    joined: bool | None = None
    blocks, at = 0, region.start
    for chunk in region.chunks():
        letters = kept + chunk.translate(None, _BLANKS)
        head, padding, tail = letters.partition(b"=")
        if not padding:
            octets, kept = _whole_quads(head)
            yield octets
            at += len(chunk)
            continue
        yield _quads(head)
        # RFC 2045 §6.8: padding is the end. Blocks that were encoded one by one and joined are seen in real
        # mail, and decoded; text that a mailing list put behind the end is no such block.
        if joined is None:
            joined = _more_blocks(region.sub(at + chunk.find(b"="), region.end))
        parts = tail.split(b"=", _MOST_BLOCKS - blocks) if joined else []
        if not parts or blocks >= _MOST_BLOCKS:
            return
        blocks += len(parts)
        kept, _, beyond = parts.pop().partition(b"=")
        # Pieces of one letter or none, as repeated padding leaves them, hold no octet; hostile input is full
        # of them.
        yield b"".join(_quads(part) for part in parts if len(part) > 1)
        if beyond:  # more blocks than are decoded
            break
        at += len(chunk)
    yield _quads(kept)


def _without_footer(region: Region) -> Region:
    """The region without the plain text that a gateway or a list put behind base64.

    Padding would end the base64 by itself; where it needed none, the footer begins at the first line near the
    end that reads as words, or at the empty line before it. Lines of base64 are long but for the last, so a
    long one behind words proves that these were junk.
    """
    tail = region.read(max(region.start, region.end - _FOOTER_OCTETS))
    if not tail.translate(None, _ALPHABET + b"=\r\n") and _WORD_LINE.search(tail[-_LAST_OCTETS:]) is None:
        return region
    at = start = region.end - len(tail)
    gap: int | None = None
    footer: int | None = None
    doubled = False
    #: Letters of the line before, and of the longest; and where empty lines directly before this one begin.
    before = widest = 0
    parted = first_gap = None
    is_proven = False
    for line in tail.splitlines(keepends=True):
        letters = line.strip(_BLANKS)
        if not letters:
            gap = at if gap is None else gap
        elif _reads_as_words(letters):
            footer = (at if gap is None else gap) if footer is None else footer
            is_proven = True
        elif _is_lone_word(letters, before, widest, apart=parted is not None and parted == first_gap):
            footer = (at if parted is None else parted) if footer is None else footer
        elif len(letters) >= _LONG_LINE or (doubled and footer is None and len(letters) % 4 == 0):
            doubled |= gap is not None and footer is None
            gap = footer = None
            is_proven = False
        elif not is_proven:  # letters behind a word that are none: this was base64, too
            footer = None
        if letters and (at > start or at == region.start):  # else it may lack its beginning
            before, widest = len(letters), max(widest, len(letters))
        parted = None if letters else at if parted is None else parted
        first_gap = parted if first_gap is None else first_gap  # after a second one, all lines may have them
        at += len(line)
    return region if footer is None or footer == region.start else region.sub(region.start, footer)


def _is_lone_word(line: bytes, before: int, widest: int, *, apart: bool) -> bool:
    """Returns whether a line of letters alone is a word behind base64. `before` are the letters of the line
    before it, `widest` those of the longest, and `apart` says that an empty line parts the two.
    """
    # Words have many letters; base64 of zeros has few, and of these "A" the most.
    is_dull = 2 * len(set(line)) <= len(line) or 4 * line.count(b"A") > len(line)
    if not before or is_dull or _WORD.fullmatch(line) is None:
        return False
    if before < widest:  # only the last line of base64 is shorter than the others
        return True
    is_whole = len(line) % 4 == 0
    if apart:
        return not is_whole or len(line) >= _SHORT_WORD
    return len(line) >= (_LONG_WORD if is_whole else _SHORT_WORD)


def _reads_as_words(line: bytes) -> bool:
    strange = len(line.translate(None, _ALPHABET + b"="))
    blanks = line.count(b" ")
    return strange * 10 > len(line) or blanks >= 3 or (blanks > 0 and len(line) < _LONG_LINE)


def _whole_quads(letters: bytes) -> tuple[bytes, bytes]:
    """The octets of the whole groups of four letters, and the letters that are left over."""
    whole = len(letters) // 4 * 4
    try:
        return pybase64.b64decode(letters[:whole], validate=True), letters[whole:]
    except binascii.Error:  # other octets among the letters are dropped
        letters = letters.translate(None, _NOT_BASE64)
        whole = len(letters) // 4 * 4
        return pybase64.b64decode(letters[:whole]), letters[whole:]


def _quads(letters: bytes) -> bytes:
    try:
        return pybase64.b64decode(_padded(letters), validate=True)
    except binascii.Error:  # other octets among the letters, or padding behind the last block, are dropped
        return pybase64.b64decode(_padded(letters.translate(None, _NOT_LETTERS)))


def _padded(letters: bytes) -> bytes:
    if len(letters) % 4 == 1:  # six bits are no octet
        letters = letters[:-1]
    return letters + b"=" * (-len(letters) % 4)


def _more_blocks(rest: Region) -> bool:
    """Returns whether everything from the first padding on is base64 too, and more than padding."""
    letters = 0
    for piece in rest.chunks():
        if _PURE.fullmatch(piece) is None:
            return False
        letters += len(piece.translate(None, _BLANKS + b"="))
    return letters > 0 and letters % 4 != 1


def looks_like_base64(octets: bytes) -> bool:
    """Returns whether the first line of a part can be base64; text that was only labelled so cannot."""
    line = octets.lstrip(_BLANKS).partition(b"\n")[0]
    strange = len(line.translate(None, _ALPHABET + b"=" + _BLANKS))
    return strange * 10 <= len(line) and len(_SPACED.findall(line)) < 3


def _quoted_printable(region: Region) -> Iterator[bytes]:
    at = region.start
    while at < region.end:
        stop = min(at + CHUNK, region.end)
        chunk = region.read(at, stop)
        if stop < region.end:
            # Chunks end behind a line end; in a line longer than a chunk, where no "=XY" is cut in two.
            cut = chunk.rfind(b"\n") + 1 or _safe_cut(chunk)
            chunk = chunk[:cut]
        at += len(chunk)
        if b"= " in chunk or b"=\t" in chunk:
            chunk = _PADDED_BREAK.sub(b"=", chunk)  # RFC 2045 §6.7 (3): blanks that a gateway added
        yield binascii.a2b_qp(chunk)


def _safe_cut(chunk: bytes) -> int:
    mark = chunk.rfind(b"=", len(chunk) - 3)
    return mark if mark > 0 else len(chunk)


def _uuencode(region: Region) -> Iterator[bytes]:
    begin = uu_begin(region, region.start)
    if begin is None:
        yield from region.chunks()
        return
    yield from decoded_uu_lines(Region(region.buffer, begin.end(), region.end))


def decoded_uu_lines(region: Region) -> Iterator[bytes]:
    """The decoded octets of the lines up to "end"; other lines between them are passed over."""
    pieces: list[bytes] = []
    size, kept, left = 0, b"", _MOST_LINES
    for chunk in region.chunks():
        lines = (kept + chunk).split(b"\n", left)
        kept, left = lines.pop(), left - len(lines) + 1
        if left <= 0:
            break
        if len(kept) > CHUNK:
            kept = b""
        for line in lines:
            octets = uu_line(line)
            if octets is None:
                yield b"".join(pieces)
                return
            pieces.append(octets)
            size += len(octets)
            if size >= CHUNK - 64:
                yield b"".join(pieces)
                pieces.clear()
                size = 0
    pieces.append(uu_line(kept) or b"")
    yield b"".join(pieces)


def uu_line(line: bytes) -> bytes | None:
    """The octets of one line of uuencode: b"" when the line is none. Returns None for the end line."""
    line = line.rstrip(b"\r")
    if line.strip() == b"end":
        return None
    if not line or not 0x20 <= line[0] <= 0x60 or len(line) > 200:
        return b""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # The length that the line states counts: some writers append a checksum or lose trailing blanks.
        octets = ((line[0] - 32) & 63) * 4 // 3 + 4
        try:
            return binascii.a2b_uu(line[: 1 + (octets + 3) // 4 * 4])
        except binascii.Error:
            return b""


def uu_begin(region: Region, at: int) -> re.Match[bytes] | None:
    """The next "begin" line of uuencode at or after an absolute offset."""
    return region.search(_BEGIN, at, span=300)
