"""The charset that octets show by their form, where no label names it or the label is wrong.

Owns proofs that a few words suffice for: statistics need some dozen octets. Each holds for its charset and
hardly ever for another; in doubt there is none. Never decodes for a reader. The layouts are those of RFC 1489
(KOI8-R), windows-1251, ISO 8859-5, JIS X 0208 in EUC and Shift_JIS, and RFC 2781 (utf-16).
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

#: Octets that are looked at, and words among them.
_LOOKED_AT = 8_192
_MOST_WORDS = 1_000
#: Octets in which a NUL shows that each character has two.
_WIDE_LOOK = 1_024
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HIGH_RUN = re.compile(rb"(?<![A-Za-z])[\x80-\xff]+(?![A-Za-z\x80-\xff])")
_JOINED = re.compile(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]")
#: The ten commonest letters make seven tenths of what Russians write.
_COMMON = "оеаинтсрвл"
_COMMON_SHARE = 0.6
#: A capital and small letters in KOI8-R, which in other alphabets are a small letter and capitals; and those
#: of windows-1251, with letters that Greek, whose layout is the same, hardly has. Hebrew has no capitals.
_KOI8_WORD = re.compile(rb"[\xe0-\xff\xb3][\xc0-\xdf\xa3]{2,}+")
_WINDOWS_WORD = re.compile(rb"[\xc0-\xdf][\xe0-\xff]{2,}+")
_NOT_GREEK = re.compile(rb"[\xe0\xfa\xfb\xff]")
_CAPITALISED_SHARE = 0.3
_FEWEST_LETTERS = 4
_SHORTEST_WORD = 3
#: Each with the form of its words: small letters, perhaps behind a capital, or capitals alone.
_CYRILLIC = tuple(
    (codec, re.compile(form), (_COMMON + _COMMON.upper()).encode(codec))
    for codec, form in (
        ("koi8-r", rb"[\xe0-\xff\xb3]?[\xc0-\xdf\xa3]*+|[\xe0-\xff\xb3]++"),
        ("cp1251", rb"[\xc0-\xdf\xa8]?[\xe0-\xff\xb8]*+|[\xc0-\xdf\xa8]++"),
        ("iso8859-5", rb"[\xb0-\xcf\xa1]?[\xd0-\xef\xf1]*+|[\xb0-\xcf\xa1]++"),
    )
)
#: The characters beyond ASCII of Japanese file names and subjects: kana, kanji, their punctuation and wide
#: letters, but not the narrow kana, which is what other charsets look like.
_JAPANESE = re.compile(
    "[\u2010-\u2312\u2460-\u266f\u3000-\u30ff\u3220-\u33ff\u4e00-\u9fff\uff01-\uff60\uffe0-\uffe6]*+"
)
_HIRAGANA = re.compile("[\u3041-\u3096]")
_NARROW_KANA = re.compile("[\uff61-\uff9f]")
#: Of the characters of Japanese, at least this share are hiragana.
_HIRAGANA_SHARE = 0.2


def find_wide(octets: bytes) -> str | None:
    """The order of octets of utf-16 without a byte order mark: "utf-16-le" or "utf-16-be". Returns None where
    characters are not seen to have two octets each.

    Blanks and line ends have a NUL, always on the same side of the pair, where nearly all octets are alike:
    an alphabet has one or two rows.
    """
    if octets.find(b"\0", 0, _WIDE_LOOK) < 0 or octets.startswith(_MARKS):
        return None
    sample = octets[: _LOOKED_AT & ~1]
    if len(sample) < 4:
        return None
    for codec, rows, cells in (
        ("utf-16-le", sample[1::2], sample[0 : len(sample) & ~1 : 2]),
        ("utf-16-be", sample[0 : len(sample) & ~1 : 2], sample[1::2]),
    ):
        common = sum(count for _, count in Counter(rows).most_common(2))
        if b"\0" in rows and b"\0" not in cells and common * 10 >= len(rows) * 9:
            text = sample.decode(codec, "replace")
            return codec if all(char.isprintable() or char in "\t\r\n\f" for char in text) else None
    return None


def find_codec(octets: bytes) -> str | None:
    """The codec of octets that are no UTF-8, by their form alone. Returns None where it is in doubt."""
    if is_shift_jis(octets):
        return "cp932"
    if is_euc_jp(octets):
        return "euc_jp"
    return find_cyrillic(octets)


def find_cyrillic(octets: bytes) -> str | None:
    """The codec of some words of Russian in a charset of single octets. Returns None for other octets.

    Words in Latin letters have ASCII beside the octets beyond it; these have none.
    """
    sample = octets[:_LOOKED_AT]
    if _JOINED.search(sample) is not None:
        return None
    words = [found[0] for found in islice(_HIGH_RUN.finditer(sample), _MOST_WORDS)]
    letters = b"".join(words)
    if len(letters) < _FEWEST_LETTERS or max(map(len, words)) < _SHORTEST_WORD:
        return None
    shares = {
        codec: (len(letters) - len(letters.translate(None, common))) / len(letters)
        for codec, form, common in _CYRILLIC
        if all(map(form.fullmatch, words))
    }
    if any(map(_KOI8_WORD.fullmatch, words)):
        return "koi8-r" if shares.get("koi8-r", 0) >= _CAPITALISED_SHARE else None
    if any(map(_WINDOWS_WORD.fullmatch, words)) and _NOT_GREEK.search(letters):
        return "cp1251" if shares.get("cp1251", 0) >= _CAPITALISED_SHARE else None
    best = max(shares, key=lambda codec: shares[codec], default=None)
    return best if best is not None and shares[best] >= _COMMON_SHARE else None


def is_shift_jis(octets: bytes) -> bool:
    """Returns whether octets are Japanese in Shift_JIS: two characters of it at least, and nothing else."""
    text = _decode(octets[:_LOOKED_AT], "cp932")
    if text is None:
        return False
    wide = "".join(char for char in text if char > "\x7f")
    if len(wide) < 2 or _JAPANESE.fullmatch(wide) is None:
        return False
    # Letters of Latin alphabets are where rare kanji begin, and common ones begin below.
    leads = [char.encode("cp932")[0] for char in wide]
    return sum(lead < 0xA0 for lead in leads) * 2 >= len(leads)


def is_euc_jp(octets: bytes) -> bool:
    """Returns whether octets are Japanese in EUC: hiragana prove it, which Japanese is never without for
    long, and which would be commas of narrow kana in Shift_JIS.
    """
    text = _decode(octets[:_LOOKED_AT], "euc_jp")
    if text is None or _NARROW_KANA.search(text) is not None:
        return False
    hiragana = len(_HIRAGANA.findall(text))
    return hiragana >= 2 and hiragana >= _HIRAGANA_SHARE * sum(char > "\x7f" for char in text)


def _decode(sample: bytes, codec: str) -> str | None:
    """The text of a sample, of which the last character may be cut. Returns None where it is none."""
    if sample.isascii():
        return None
    try:
        return sample.decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 2 or len(sample) < _LOOKED_AT:
            return None
        return sample[: error.start].decode(codec)
