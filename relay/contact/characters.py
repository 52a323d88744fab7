"""The characters that a field of Connect can hold, and the length of a text as Connect counts it.

Owns cleaning and cutting of text. Never decides what a text is for, never does I/O. Lengths of short fields
are counted in UTF-16 units, as services written in Java do; a service that counts code points finds fewer, so
both are satisfied.
"""

from __future__ import annotations

import re
import unicodedata

from relay.message.octets import slices

# Characters that JSON cannot carry there and back: NUL, which RFC 5322 §2.1 forbids, and lone surrogates.
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")
# Controls, and the line and paragraph separators that end a line for some programs.
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Marks, embeddings, overrides and isolates of UAX #9: what turns the direction of the text behind it.
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


#: White space, and what fills preheaders: zero-width characters, soft hyphens, byte order marks.
_INVISIBLE = re.compile("[\\s\u200b-\u200f\u2060\u034f\u00ad\ufeff]*+")


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD; other control characters stay."""
    return text if is_sendable(text) else _UNSENDABLE.sub("\ufffd", text)


def is_sendable(text: str) -> bool:
    """Returns whether a text has neither NUL nor lone surrogates; ten times faster than a pattern, since
    bodies are long.
    """
    if "\x00" in text:
        return False
    try:
        return text.isascii() or is_narrow(text) or all(piece.encode("utf-8") for piece in slices(text))
    except UnicodeEncodeError:
        return False


def is_narrow(text: str) -> bool:
    """Returns whether all characters are below U+0100: a look at memory's speed."""
    try:
        return all(piece.encode("latin-1") for piece in slices(text))
    except UnicodeEncodeError:
        return False


def is_blank(text: str) -> bool:
    """Returns whether a text shows nothing but white space, without copying or reading past its first
    word.
    """
    return not text or text.isspace() or _INVISIBLE.fullmatch(text) is not None


def clean_line(text: str) -> str:
    """The text as one line, without control characters and lone surrogates, trimmed."""
    # Printable text has neither; most has only the ends of its lines to be mended.
    line = " ".join(filter(None, text.split("\n"))) if "\n" in text else text
    if line.isprintable():
        return line.strip()
    return _SURROGATE.sub("\ufffd", _BREAKING.sub(" ", text)).strip()


def show_turns(line: str) -> str:
    """The line with U+FFFD for each character that would turn the direction of what follows: of an address,
    an id or a name of a host it makes another to the eye, and none of these needs one.
    """
    return line if line.isascii() else _TURNING.sub("\ufffd", line)


def is_category_c(char: str) -> bool:
    """Returns whether a character is a control, invisible, private, unassigned or half of one (Unicode
    category C).
    """
    return unicodedata.category(char)[0] == "C"


def strip_invisible(text: str) -> str:
    """The text without any character of category C except line ends and tabs: the strictest reader
    takes it.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or not is_category_c(char))


def count_utf16(text: str) -> int:
    """The length in UTF-16 units."""
    return len(text) if text.isascii() else len(text) + len(_ASTRAL.findall(text))


def cut_utf16(text: str, limit: int, *, mark: str = "…") -> str:
    """The text within `limit` UTF-16 units, ending in `mark` where it was cut; no character is halved."""
    if count_utf16(text) <= limit:
        return text
    room = limit - count_utf16(mark)
    kept = text[: max(room, 0)]
    while kept and count_utf16(kept) > room:
        # An astral character counts two units: dropping half the excess at a time never drops too much.
        kept = kept[: -max(1, (count_utf16(kept) - room) // 2)]
    for _ in range(8):  # a letter keeps its accents, of which eight are enough
        if kept and unicodedata.combining(text[len(kept)]):
            kept = kept[:-1]
    return kept.rstrip() + mark if room >= 0 else ""


def count_utf8(text: str) -> int:
    """The length in UTF-8 bytes; lone surrogates count three, as what replaces them does."""
    if text.isascii():
        return len(text)
    return sum(len(piece.encode("utf-8", "surrogatepass")) for piece in slices(text))


def exceeds_utf8(text: str, limit: int) -> bool:
    """Returns whether a text has more UTF-8 bytes than `limit`; they are counted only where the length of the
    text does not tell.
    """
    return len(text) > limit or (4 * len(text) > limit and count_utf8(text) > limit)


def cut_utf8(text: str, limit: int, *, mark: str = "…") -> str:
    """The text within `limit` UTF-8 bytes, ending in `mark` where it was cut; no character is halved."""
    if len(text) <= limit and text.isascii():
        return text
    octets = text[: limit + 1].encode("utf-8", "replace")  # each character has at least one byte
    if len(octets) <= limit:
        return octets.decode("utf-8")
    room = limit - len(mark.encode("utf-8"))
    if room < 0:
        return ""
    return octets[:room].decode("utf-8", "ignore") + mark
