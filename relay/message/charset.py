"""The decoding of octets to text, whatever charset they claim: never an error, never a codec that is not
meant for mail.

Owns the judgement whether octets are what their label says. Never uses a codec that `labels` does not name.
Follows the WHATWG Encoding Standard for windows-1252, RFC 1468 and the habits of Japanese Windows (CP50221)
for ISO-2022-JP, RFC 2152 for utf-7: what is passed on is UTF-8, so that utf-7 hides nothing from a filter.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import lru_cache

from charset_normalizer import from_bytes

from relay.message.labels import ASCII_LABELS, codec_of
from relay.message.likeness import find_codec, find_cyrillic, find_wide, is_euc_jp, is_shift_jis
from relay.message.octets import CHUNK

#: Octets that detection looks at: enough to decide, in 0.5 to 3 ms.
DETECTED_OCTETS = 8192

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xfe\xff", "utf-16"),
    (b"\xff\xfe", "utf-16"),
)

#: Second codecs: where the first does not fit, the label often stands for a larger set.
_SECOND_CHOICE = {
    "euc_jp": ("euc_jis_2004",),
    "cp932": ("shift_jis_2004",),
    "big5hkscs": ("cp950",),
    "cp949": ("johab",),
    "iso8859-8": ("cp1255",),
    "iso8859-7": ("cp1253",),
    "iso8859-2": ("cp1250",),
}

#: Codecs that decode piece by piece, without a byte order mark or a shift state.
_PIECEWISE = ("ascii", "utf-8", "cp125", "iso8859-", "koi8-")

#: Codecs in which a character may take more than one octet.
_SEVERAL_OCTETS = (
    "utf-", "gb", "big5", "euc_", "iso2022", "cp932", "cp949", "cp950", "hz", "johab", "shift_jis",
)  # fmt: skip

#: Codecs whose octets from 0x80 on are letters of Latin alphabets between letters of ASCII.
_LATIN = (
    "cp1252", "iso8859-15", "iso8859-1", "iso8859-2", "iso8859-3", "iso8859-4", "cp1250", "cp1254", "cp1257", "cp1258",
    "mac_roman", "mac_turkish", "mac_latin2", "cp437", "cp85", "cp86", "cp775", "hp_roman8",
)  # fmt: skip
#: Codecs that UTF-8 cannot be mistaken for, or that have no octets beyond ASCII.
_NOT_ABOVE_ASCII = ("utf-", "hz", "iso2022", "cp037", "cp500", "cp1140")
#: Codecs in which every line end, digit and blank has a NUL.
_WIDE = ("utf-16", "utf-32")
#: Codecs under whose labels utf-16 is seen, and that in which its order of octets is not told.
_NARROW = frozenset({"utf-8", "cp1252", "iso8859-1", "iso8859-15", "utf-16"})
#: Codecs that programs name without having been told.
_DEFAULTS = frozenset({"cp1252", "iso8859-1", "iso8859-15"})
_NEVER_ESCAPED = frozenset({"utf-8", "cp1252", "cp932", "euc_jp"})
_UNMISTAKABLE = frozenset({"utf-8"})
#: Octets beyond ASCII that prove UTF-8 where two letters of an alphabet may happen to look like it: three
#: letters; of Chinese characters, a seventh look so, and four of them are no accident.
_FEW_BYTES_PROVE = 5
#: Octets that are no UTF-8 in text that is; each costs a look at all that follows.
_MOST_JUNK = 20
#: Characters before the first broken one that prove UTF-8 whatever follows.
_WHOLE_CHARACTERS = 3
#: U+2010 to U+203F in UTF-8: the dashes, quotes and bullets of word processors.
_PUNCTUATION = re.compile(rb"\xe2\x80[\x90-\xbf]")
#: The beginning of a character of UTF-8 whose end was cut off.
_TORN = re.compile(rb"[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}")

_PRINTABLE = re.compile(rb"[ -~\r\n\t]{16}")
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]|\x1b\(I|\x1b\$\(D")
#: Octets that our own decoder reads, at up to 1 µs each; no letter is longer.
_MOST_SHIFTED = 256 << 10
_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$\([DB@]|\$[@B]|\.[AF]|\$A|\$\(C|&@)")


def decode(
    octets: bytes, label: str | None = None, hint: str | None = None, *, detecting: bool = True
) -> tuple[str, bool]:
    """The text of some octets. Returns beside it whether they decoded as declared.

    In order: a byte order mark, UTF-8 where its sequences prove it, the label, UTF-8 when it is valid, `hint`
    (another label, weaker), what the first 8 KiB look like (unless not `detecting`), windows-1252. Without a
    label, or with that of ASCII, plain ASCII counts as declared.
    """
    codec = codec_of(label) if label else None
    plain = not label or label.lower() in ASCII_LABELS
    if plain or codec is None or codec in _NARROW:
        wide = find_wide(octets)
        if wide is not None:
            return octets.decode(wide, "replace"), codec == "utf-16"
    if plain and octets.isascii() and b"\x1b" not in octets:
        return _decode(octets, "ascii"), True
    for mark, marked in _BOMS:
        if octets.startswith(mark):
            text = octets.decode("utf-8-sig" if marked == "utf-8" else marked, "replace")
            return text.lstrip("\ufeff"), True
    if codec == "iso2022_jp" or (
        # No other charset has these escapes; octets beyond ASCII speak against them.
        (plain or codec is None or (codec in _NEVER_ESCAPED and octets.isascii()))
        and _ISO_2022_JP.search(octets, 0, DETECTED_OCTETS)
    ):
        return _decode_iso_2022_jp(octets), True
    if codec is not None and not plain:
        proven = _prove_utf8(octets, codec)
        if proven is not None:
            return proven, False
        codec = _find_meant(octets, codec)
        text, good = _decode_declared(octets, codec)
        if good:
            return text, True
    return _guess(octets, codec if not plain else None, hint, detecting=detecting), plain and not label


def _find_meant(octets: bytes, codec: str) -> str:
    """The codec that a label means: that of Japanese Windows and that of Unix stand for each other, and the
    common Latin ones for whatever a program was not told.
    """
    if codec == "cp932" and is_euc_jp(octets):
        return "euc_jp"
    if codec == "euc_jp" and is_shift_jis(octets):
        return "cp932"
    if codec in _DEFAULTS:
        return find_cyrillic(octets) or codec
    return codec


def _decode(octets: bytes, codec: str) -> str:
    """The text as `bytes.decode` gives it; long texts piece by piece, so that no call holds the interpreter
    for long.
    """
    if len(octets) <= CHUNK or not codec.startswith(_PIECEWISE):
        return octets.decode(codec)
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        return "".join(
            decoder.decode(octets[at : at + CHUNK], at + CHUNK >= len(octets))
            for at in range(0, len(octets), CHUNK)
        )
    except UnicodeDecodeError:
        return octets.decode(codec)  # so that the error names its place in the whole


def _decode_declared(octets: bytes, codec: str) -> tuple[str, bool]:
    if codec == "cp1252":
        return _decode_windows_1252(octets), True
    if codec == "utf-7":
        return _decode_utf7(octets)
    if codec.startswith(("utf-16", "utf-32")) and _PRINTABLE.match(octets) and b" " in octets[:64]:
        return "", False  # declared by a program that then wrote ASCII: seen from SQL Server's mail
    for candidate in (codec, *_SECOND_CHOICE.get(codec, ())):
        try:
            return _decode(octets, candidate), True
        except UnicodeDecodeError:
            continue
    text = _decode_leniently(octets, codec)
    # A few bad octets (a cut in the middle of a character, a byte lost on the way) do not unmake a
    # declaration.
    strange = text.count("\ufffd")
    if codec in _UNMISTAKABLE:
        return text, _keeps_utf8(text, strange)
    return text, strange * 50 <= len(text) or (strange == 1 and len(text) > 3)


def _prove_utf8(octets: bytes, codec: str) -> str | None:
    """The text of octets that are UTF-8 although they are labelled otherwise. Returns None for all others.

    Characters of several octets are no accident in a Latin text ("GrÃ¼ÃŸe" is nobody's word). In alphabets
    that fill the upper half of their table, and in codecs of several octets, some words are: there it takes
    more of them, or the quotes and dashes that word processors write.
    """
    is_wide = codec.startswith(_WIDE)
    if octets.isascii() or (b"\0" in octets if is_wide else codec.startswith(_NOT_ABOVE_ASCII)):
        return None
    try:
        text = _decode(octets, "utf-8")
    except UnicodeDecodeError as error:
        if _TORN.fullmatch(octets, error.start) and _count_beyond_ascii(octets[: error.start]) > 4:
            text = octets.decode("utf-8", "replace")
        else:
            return _prove_but_for_junk(octets, codec, error.start) if codec.startswith(_LATIN) else None
    if codec.startswith(_LATIN) or is_wide:
        return text
    few = _FEW_BYTES_PROVE if not codec.startswith(_SEVERAL_OCTETS) else 2 * _FEW_BYTES_PROVE
    return text if _count_beyond_ascii(octets) >= few or _PUNCTUATION.search(octets) else None


def _prove_but_for_junk(octets: bytes, codec: str, start: int) -> str | None:
    """The text of UTF-8 under the label of a Latin charset, with a few octets that are no UTF-8.

    These are letters of that charset, as in a gateway's footer. Returns None where too little proves it.
    """
    whole = octets.decode("utf-8", "ignore")
    good = len(whole) - len(whole.encode("ascii", "ignore"))
    head = octets[:start].decode("utf-8")
    before = len(head) - len(head.encode("ascii", "ignore"))
    lost = len(octets) - len(whole.encode("utf-8"))
    if before < _WHOLE_CHARACTERS or lost > min(good, _MOST_JUNK):
        return None
    table = _table(codec)
    pieces: list[str] = []
    while True:
        try:
            return "".join((*pieces, octets.decode("utf-8")))
        except UnicodeDecodeError as error:
            pieces += octets[: error.start].decode("utf-8"), table[octets[error.start]]
            octets = octets[error.start + 1 :]


def _count_beyond_ascii(octets: bytes) -> int:
    return len(octets) - len(octets.translate(None, _BEYOND_ASCII))


def _keeps_utf8(text: str, strange: int) -> bool:
    """Returns whether text with `strange` broken characters is UTF-8 as declared: it is when it begins with
    whole characters, or has at least as many of them as broken ones. Junk at the end never unmakes it.
    """
    good = len(text) - len(text.encode("ascii", "ignore")) - strange
    if not good:
        return False
    head = text[: text.find("\ufffd")]
    return good >= strange or len(head) - len(head.encode("ascii", "ignore")) >= _WHOLE_CHARACTERS


def _decode_leniently(octets: bytes, codec: str) -> str:
    """The text with U+FFFD for octets that the codec does not know.

    Python asks its error handler anew for each octet that a table of 256 leaves open, 0.3 µs each: ours
    leaves none.
    """
    if codec.startswith(_SEVERAL_OCTETS):
        return octets.decode(codec, "replace")
    table = _table(codec)
    pieces = (octets[at : at + CHUNK] for at in range(0, len(octets), CHUNK))
    return "".join(codecs.charmap_decode(piece, "strict", table)[0] for piece in pieces)


@lru_cache(maxsize=128)
def _table(codec: str) -> str:
    """The 256 characters of a codec of single octets."""
    return "".join(bytes((octet,)).decode(codec, "replace") for octet in range(256))


def _guess(octets: bytes, declared: str | None, hint: str | None, *, detecting: bool) -> str:
    try:
        return _decode(octets, "utf-8")
    except UnicodeDecodeError as error:
        # UTF-8 that ends in the middle of a character counts as UTF-8.
        if error.start >= len(octets) - 3 and error.start > 3 and not octets[: error.start].isascii():
            return octets.decode("utf-8", "replace")
    for codec in _suggestions(octets, hint, detecting=detecting):
        if codec is None or codec in {declared, "iso2022_jp"}:
            continue
        if codec == "cp1252":
            break
        try:
            return octets.decode(codec)
        except UnicodeDecodeError:
            continue
    return _decode_windows_1252(octets)


def _suggestions(octets: bytes, hint: str | None, *, detecting: bool) -> Iterator[str | None]:
    if hint:
        yield codec_of(hint)
    yield find_codec(octets)
    if detecting:
        yield detect(octets)


def detect(octets: bytes) -> str | None:
    """The codec that the first 8 KiB look like. Returns None when nothing fits, or too little can be seen."""
    sample = octets[:DETECTED_OCTETS]
    # With only a few octets beyond ASCII, statistics say nothing; windows-1252 is the better bet.
    if len(sample) - len(sample.translate(None, _BEYOND_ASCII)) < 6:
        return None
    best = from_bytes(sample, cp_isolation=list(_DETECTABLE), enable_fallback=False).best()
    return None if best is None else codec_of(best.encoding) or codec_of(best.encoding.replace("_", "-"))


def _decode_windows_1252(octets: bytes) -> str:
    pieces = (octets[at : at + CHUNK] for at in range(0, len(octets), CHUNK))
    return "".join(codecs.charmap_decode(piece, "strict", _WINDOWS_1252)[0] for piece in pieces)


def _decode_utf7(octets: bytes) -> tuple[str, bool]:
    """The text of utf-7 (RFC 2152), and whether it is such; Python lets halves of surrogate pairs through."""
    if not octets.isascii():
        return "", False
    text = octets.decode("utf-7", "replace")
    if text.count("\ufffd") * 50 > len(text):
        return "", False  # "1+1=2": ASCII under that label
    return _SURROGATE.sub("\ufffd", text), True


def _decode_iso_2022_jp(octets: bytes) -> str:
    """The text of ISO-2022-JP with the extensions that Japanese Windows and phones write (CP50221: NEC and
    IBM rows, kana).
    """
    try:
        return octets.decode("iso2022_jp")
    except UnicodeDecodeError:
        pass
    text: list[str] = []
    at, shift = 0, b"(B"
    octets, rest = octets[:_MOST_SHIFTED], octets[_MOST_SHIFTED:]
    for escape in _ESCAPE.finditer(octets):
        text.append(_decode_shifted(octets[at : escape.start()], shift))
        at, shift = escape.end(), escape[1]
    text.append(_decode_shifted(octets[at:], shift))
    text.append(rest.decode("iso2022_jp", "replace"))
    return "".join(text)


def _decode_shifted(octets: bytes, shift: bytes) -> str:
    if not octets:
        return ""
    if shift in {b"$@", b"$B"}:
        return "".join(map(_decode_jis_line, _LINE_ENDS.split(octets)))
    if shift == b"$(D":  # JIS X 0212
        pairs = (octets[at : at + 2] for at in range(0, len(octets), 2))
        shifted = b"".join(
            b"\x8f" + pair.translate(_HIGH) if len(pair) == 2 and pair[0] > 0x20 else pair for pair in pairs
        )
        return shifted.decode("euc_jp", "replace")
    if shift == b"(I":
        return octets.translate(_HIGH_KANA).decode("cp932", "replace")
    if shift in {b"$A", b"$(C"}:
        return octets.translate(_HIGH).decode("gb18030" if shift == b"$A" else "cp949", "replace")
    # Shift_JIS or UTF-8 with a stray escape is also seen under this label.
    return (
        _guess(octets, "iso2022_jp", "shift_jis", detecting=False)
        if not octets.isascii()
        else octets.decode("ascii")
    )


def _decode_jis_line(octets: bytes) -> str:
    if _LINE_ENDS.fullmatch(octets):
        return octets.decode("ascii")  # RFC 1468: a line ends in ASCII; some writers forget to shift back
    shifted = bytearray()
    for at in range(0, len(octets) - 1, 2):
        row, cell = octets[at] & 0x7F, octets[at + 1] & 0x7F
        if not (0x21 <= row <= 0x7E and 0x21 <= cell <= 0x7E):
            shifted += bytes((row, cell)) if row < 0x21 and cell < 0x80 else b"?"
            continue
        # JIS X 0208 to Shift_JIS, whose Windows form (cp932) knows rows 13 and 89 to 92 as well.
        lead = (row - 0x21) // 2 + (0x81 if row < 0x5F else 0xC1)
        trail = cell + 0x7E if not row & 1 else cell + (0x1F if cell < 0x60 else 0x20)
        shifted += bytes((lead, trail))
    if len(octets) & 1:
        shifted.append(octets[-1] & 0x7F)
    return shifted.decode("cp932", "replace")


_BEYOND_ASCII = bytes(range(0x80, 0x100))
_HIGH = bytes(octet | 0x80 if 0x21 <= octet <= 0x7E else octet for octet in range(256))
_HIGH_KANA = bytes(octet | 0x80 if 0x21 <= octet <= 0x5F else octet for octet in range(256))
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile(rb"([\r\n]+)")
# The five octets that windows-1252 leaves open stand for C1 controls in the Encoding Standard.
_WINDOWS_1252 = "".join(
    bytes((octet,)).decode("cp1252") if octet not in {0x81, 0x8D, 0x8F, 0x90, 0x9D} else chr(octet)
    for octet in range(256)
)
_DETECTABLE = (
    "utf_8", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
    "koi8_r", "koi8_u", "cp866", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_15", "mac_cyrillic",
    "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip
