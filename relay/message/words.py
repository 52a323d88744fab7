"""The values of header fields as text: one line each, with encoded words decoded.

Owns *encoded word* (RFC 2047) and what a header value may hold. Never yields CR, LF, another control
character or a lone surrogate, whatever was sent.
"""

from __future__ import annotations

import binascii
import re
from itertools import groupby

from relay.message.charset import decode
from relay.message.labels import codec_of

#: "=?charset?encoding?", the charset perhaps with a language (RFC 2231 §5); RFC 2047 §2 allows no blanks.
_OPENING = re.compile(r"=\?([^\s?=]{1,64})\?([bBqQ])\?")
_BLANK = re.compile(r"\s+")
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_FOLD = re.compile(rb"\r{0,8}\n(?=[ \t])")
_LINE_END = re.compile(rb"[\r\n]+")
#: The front of an encoded word behind its "=?", in Q, and the octets in it that are escaped at a later look.
_RAW_WORD = re.compile(rb"[^\s?=]{1,64}\?[qQ]\?")
_ESCAPES = {octet: b"=%02X" % octet for octet in range(0x80, 0x100)}
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_HEX = re.compile(r"[0-9A-F]{2}")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def one_line(text: str) -> str:
    """The text without line ends, control characters and lone surrogates; words that a line end parted stay
    parted.
    """
    if (text.isascii() and text.isprintable()) or _UNFIT.search(text) is None:
        return text.strip()
    return _UNFIT.sub("", _LINE.sub(" ", text)).strip()


def raw_text(value: bytes, hint: str | None = None) -> str:
    """The body of a field, unfolded (RFC 5322 §2.2.3) and decoded, its encoded words still as they are.

    Raw 8-bit is UTF-8 (RFC 6532) when that is valid, else in `hint`, the charset that the mail declares
    elsewhere. Within an encoded word it is in the word's own charset, and stays to be decoded with it.
    """
    if b"\n" in value or b"\r" in value:
        value = _LINE_END.sub(b" ", _FOLD.sub(b"", value))
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if b"=?" in value:
        value = _escape_words(value)
    return decode(value, None, hint, detecting=False)[0]


def _escape_words(value: bytes) -> bytes:
    """The value with the raw octets of its encoded words escaped, as Q wants them."""
    first, *pieces = value.split(b"=?")
    return b"=?".join((first, *map(_escape_word, pieces)))


def _escape_word(piece: bytes) -> bytes:
    front = _RAW_WORD.match(piece)
    if front is None or piece.isascii():
        return piece
    end = piece.find(b"?=", front.end())
    # Without an end, the word reaches to the next one, as `decode_words` reads it.
    content, rest = (piece, b"") if end < 0 else (piece[:end], piece[end:])
    return _BEYOND_ASCII.sub(lambda octet: _ESCAPES[octet[0][0]], content) + rest


def decode_words(text: str, hint: str | None = None) -> tuple[str, bool]:
    """The text with its encoded words decoded. Returns beside it whether each of them was sound.

    Lenient where the field is careless (RFC 2047 §5 and §6.2 aside): inside quotes, without blanks around,
    with blanks inside, without an end, split within a character. Blanks between encoded words are dropped.
    Linear in the length of the text.
    """
    opening = _OPENING.search(text) if "=?" in text else None
    if opening is None:
        return text, True
    pieces: list[str] = []
    pending: list[tuple[str, str, str]] = []
    sound, at = True, 0
    while opening is not None:
        gap = text[at : opening.start()]
        if gap and not (pending and gap.isspace()):
            sound &= _flush(pending, pieces, hint)
            pieces.append(gap)
        start, following = opening.end(), _OPENING.search(text, opening.end())
        limit = len(text) if following is None else following.start() + 1
        end = _closing(text, start, limit, opening[2])
        if end < 0:  # without an end, a word reaches to the next one, or to the end of the value
            sound, end = False, limit if following is None else limit - 1
            at = end
        else:
            at = end + 2 if following is None else min(end + 2, following.start())
        pending.append((opening[1].partition("*")[0].lower(), opening[2].lower(), text[start:end]))
        opening = following
    sound &= _flush(pending, pieces, hint)
    pieces.append(text[at:])
    return "".join(pieces), sound


def _closing(text: str, start: int, limit: int, encoding: str) -> int:
    end = text.find("?=", start, limit)
    # "what?=3F?=": in Q, an unencoded question mark before an encoded octet is no end.
    while encoding in "qQ" and end >= 0 and _HEX.match(text, end + 2) is not None:
        later = text.find("?=", end + 2, limit)
        if later < 0 or _BLANK.search(text, end, later) is not None:
            break
        end = later
    return end


def _flush(pending: list[tuple[str, str, str]], pieces: list[str], hint: str | None) -> bool:
    """The text of neighbouring words of one charset, decoded together: writers split within a character, or
    within base64.
    """
    sound = True
    for label, words in groupby(pending, key=lambda word: word[0]):
        run = [(encoding, content) for _, encoding, content in words]
        text, good = decode(b"".join(_octets(*word) for word in run), label, hint, detecting=False)
        if (not good or "\ufffd" in text) and any(_is_cut(*word) for word in run):
            joined = decode(b"".join(_octets(*word) for word in _rejoined(run)), label, hint, detecting=False)
            text, good = joined if joined[1] and "\ufffd" not in joined[0] else (text, good)
        sound &= good and codec_of(label) is not None
        pieces.append(text)
    pending.clear()
    return sound


def _is_cut(encoding: str, content: str) -> bool:
    """Returns whether the word is base64 that ends within an octet, which the next word may go on with."""
    return encoding == "b" and len("".join(content.split())) % 4 != 0


def _rejoined(run: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (encoding, "".join(content for _, content in words))
        for encoding, words in groupby(run, key=lambda word: word[0])
    ]


def _octets(encoding: str, content: str) -> bytes:
    if encoding == "b":
        return _from_base64(_NOT_BASE64.sub("", content))
    return binascii.a2b_qp(content.encode("utf-8", "replace"), header=True)


def _from_base64(quads: str) -> bytes:
    if len(quads) % 4 == 1:  # six bits are no octet
        quads = quads[:-1]
    return binascii.a2b_base64(quads + "=" * (-len(quads) % 4))


def header_text(value: bytes, hint: str | None = None) -> tuple[str, bool]:
    """The body of a field as a person would read it, on one line. Returns beside it whether its encoded words
    were sound.
    """
    text, sound = decode_words(raw_text(value, hint), hint)
    return one_line(text), sound
