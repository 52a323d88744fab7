"""The labels of charsets, and the codec of Python that each names.

Owns the table of charset labels. Never looks a label up in Python's codec registry: a label comes from
outside, and that registry imports modules by name. Follows the WHATWG Encoding Standard §4.2, the labels that
only mail uses, and the hyphens that people put in or leave out (`cp-850`, `windows1252`).
"""

from __future__ import annotations

import re
from functools import lru_cache

# Codec -> labels of the WHATWG Encoding Standard §4.2; other labels seen in mail stand below.
LABELS: dict[str, str] = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8 utf-8-mac utf8mb4 unicode utf_8 cp65001 utf",
    "utf-7": "utf-7 utf7 unicode-1-1-utf-7 csunicode11utf7 unicode-2-0-utf-7 x-unicode-2-0-utf-7 cp65000",
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
_CODECS = {label: codec for codec, labels in LABELS.items() for label in labels.split()}
#: The labels by their letters and digits, for what was written with other hyphens than the registry has.
_SQUEEZED = {"".join(filter(str.isalnum, label)): codec for label, codec in _CODECS.items()}

ASCII_LABELS = frozenset({
    "us-ascii", "ascii", "ansi_x3.4-1968", "ansi-x3.4-1968", "us", "usascii", "us_ascii", "646", "iso646-us", "7bit",
    "8bit", "default", "x-unknown",
})  # fmt: skip

#: A number of IBM's or Microsoft's registry under a word of somebody else's: "win-1252", "ms1250", "dos 850".
_NUMBERED = re.compile(
    r"(?:x-?)?(?:code ?page|cp|ibm|windows|win|dos|ms|oem|msdos|ansi)[-_ ]{0,2}0{0,2}([0-9]{3,5})"
)


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """The Python codec for a charset label. Returns None when the label names nothing we take."""
    # RFC 2231 §5 lets a language follow an asterisk; quotes, blanks and a second "charset=" are seen, too.
    label = (
        label[:64].strip().strip("\"'<>").lower().removeprefix("charset=").partition("*")[0].strip("\"' ;,")
    )
    if label.startswith("x-user-defined"):
        return None
    found = _CODECS.get(label) or _SQUEEZED.get("".join(filter(str.isalnum, label)))
    if found is None and (numbered := _NUMBERED.fullmatch(label)) is not None:
        number = numbered[1]
        found = _CODECS.get(f"cp{number}") or _CODECS.get(f"windows-{number}") or _CODECS.get(f"ibm{number}")
    return found
