"""The decoding of octets to text, whatever charset they claim: never an error, never a codec that is not
meant for mail.

Owns the table of charset labels. Never looks a label up in Python's codec registry: a label comes from
outside, and that registry imports modules by name. Follows the WHATWG Encoding Standard for its labels, RFC
1468 and the habits of Japanese Windows (CP50221) for ISO-2022-JP. utf-7 is refused: it hides markup from
whoever checks it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import lru_cache

from charset_normalizer import from_bytes

from relay.message.octets import CHUNK

#: Octets that detection looks at: enough to decide, in 0.5 to 3 ms.
DETECTED_OCTETS = 8192

# Codec -> labels of the WHATWG Encoding Standard §4.2; other labels seen in mail stand below.
_LABELS: dict[str, str] = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8 utf-8-mac utf8mb4 unicode utf_8 cp65001 utf",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859-6": (
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i"
        " iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987"
    ),
    "iso8859-7": (
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7"
        " iso_8859-7:1987 sun_eu_greek"
    ),
    "iso8859-8": (
        "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8"
        " iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical"
    ),
    "iso8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859-14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9 latin9 latin-9",
    "iso8859-16": "iso-8859-16 iso8859-16",
    "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8-u": "koi8-ru koi8-u koi8_u",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman macroman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874 cp874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251 win-1251 win1251",
    "cp1252": (
        "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1"
        " iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252 latin-1 ansi 646 iso646-us us us_ascii usascii"
        " iso-8859 8859-1 8859_1 iso-latin-1 x-ansi 7bit 8bit default x-unknown ansi-x3.4-1968"
    ),
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": (
        "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5"
        " windows-1254 x-cp1254"
    ),
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian maccyrillic",
    "gb18030": (
        "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030 cp936 ms936 euc-cn"
        " gb2312-80 windows-936 gb_18030 gb18030-2000"
    ),
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5 big-5 cp950 big5hkscs big5-eten ms950",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp eucjp ujis euc_jp",
    "iso2022_jp": (
        "csiso2022jp iso-2022-jp iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-3 iso-2022-jp-ms cp50220 cp50221 cp50222"
        " iso2022jp iso-2022-jp-2004 iso_2022_jp jis"
    ),
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis cp932 mskanji shiftjis windows-932",
    "cp949": (
        "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949"
        " cp949 ms949 uhc ks_c_5601 ksc_5601-1987 euckr"
    ),
    "utf-16": "utf-16 utf16 csunicode iso-10646-ucs-2 ucs-2 unicodefeff utf_16",
    "utf-16-be": "unicodefffe utf-16be utf-16-be",
    "utf-16-le": "utf-16le utf-16-le",
    # Labels that are not WHATWG's, but declared in mail and known to Python.
    "utf-32": "utf-32 utf32 ucs-4 iso-10646-ucs-4",
    "utf-32-be": "utf-32be utf-32-be",
    "utf-32-le": "utf-32le utf-32-le",
    "hz": "hz hz-gb-2312",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "johab": "johab ms1361 cp1361",
    "euc_jis_2004": "euc-jis-2004 eucjis2004",
    "shift_jis_2004": "shift_jis-2004 shift_jisx0213",
    "koi8-t": "koi8-t",
    "cp437": "cp437 ibm437 437 cspc8codepage437",
    "cp850": "cp850 ibm850 850 cspc850multilingual",
    "cp852": "cp852 ibm852 852 cspcp852",
    "cp855": "cp855 ibm855",
    "cp857": "cp857 ibm857",
    "cp858": "cp858 ibm858 ibm00858",
    "cp860": "cp860 ibm860",
    "cp861": "cp861 ibm861",
    "cp862": "cp862 ibm862 dos-862",
    "cp863": "cp863 ibm863",
    "cp864": "cp864 ibm864",
    "cp865": "cp865 ibm865",
    "cp869": "cp869 ibm869",
    "cp720": "cp720 dos-720",
    "cp737": "cp737 ibm737",
    "cp775": "cp775 ibm775",
    "cp037": "cp037 ibm037 ebcdic-cp-us",
    "cp500": "cp500 ibm500",
    "cp1140": "cp1140 ibm1140",
    "ptcp154": "ptcp154 cp154 pt154",
    "kz1048": "kz-1048 rk1048 strk1048-2002",
    "mac_greek": "x-mac-greek",
    "mac_turkish": "x-mac-turkish",
    "mac_latin2": "x-mac-ce x-mac-centraleurroman",
    "hp_roman8": "hp-roman8 roman8",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

_ASCII_LABELS = frozenset({
    "us-ascii", "ascii", "ansi_x3.4-1968", "ansi-x3.4-1968", "us", "usascii", "us_ascii", "646", "iso646-us", "7bit",
    "8bit", "default", "x-unknown",
})  # fmt: skip

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

_PRINTABLE = re.compile(rb"[ -~\r\n\t]{16}")
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]|\x1b\(I|\x1b\$\(D")
#: Octets that our own decoder reads, at up to 1 µs each; no letter is longer.
_MOST_SHIFTED = 256 << 10
_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$\([DB@]|\$[@B]|\.[AF]|\$A|\$\(C|&@)")


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """The Python codec for a charset label. Returns None when the label names nothing we take (utf-7 among
    them).
    """
    # RFC 2231 §5 lets a language follow an asterisk; quotes and blanks are seen around labels.
    label = label[:64].strip().strip("\"'<>").lower().partition("*")[0].strip()
    if label.startswith("x-user-defined"):
        return None
    return _CODECS.get(label) or _CODECS.get(label.replace("_", "-")) or _CODECS.get(label.replace(" ", "-"))


def decode(
    octets: bytes, label: str | None = None, hint: str | None = None, *, detecting: bool = True
) -> tuple[str, bool]:
    """The text of some octets. Returns beside it whether they decoded as declared.

    In order: a byte order mark, the label, UTF-8 when it is valid, `hint` (another label, weaker), what the
    first 8 KiB look like (unless not `detecting`), windows-1252. Without a label, or with that of ASCII,
    plain ASCII counts as declared.
    """
    codec = codec_of(label) if label else None
    plain = not label or label.lower() in _ASCII_LABELS
    if plain and octets.isascii() and b"\x1b" not in octets:
        return _decode(octets, "ascii"), True
    for mark, marked in _BOMS:
        if octets.startswith(mark):
            text = octets.decode("utf-8-sig" if marked == "utf-8" else marked, "replace")
            return text.lstrip("\ufeff"), True
    if codec == "iso2022_jp" or (
        (plain or codec is None) and _ISO_2022_JP.search(octets, 0, DETECTED_OCTETS)
    ):
        return _decode_iso_2022_jp(octets), True
    if codec is not None and not plain:
        text, good = _decode_declared(octets, codec)
        if good:
            return text, True
    return _guess(octets, codec if not plain else None, hint, detecting=detecting), plain and not label


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
    return text, strange * 50 <= len(text) or (strange == 1 and len(text) > 3)


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
    if declared is not None and declared.startswith("utf-8"):
        text = octets.decode("utf-8", "replace")
        if text.count("\ufffd") * 8 <= len(text):
            return text
    return _decode_windows_1252(octets)


def _suggestions(octets: bytes, hint: str | None, *, detecting: bool) -> Iterator[str | None]:
    if hint:
        yield codec_of(hint)
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
