"""Words that a reader does not see, and whom they are for.

Owns invisible characters that carry words, and the places where words are hidden. Never repeats
such words: the details are read by programs, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import regex

from relay.contact.characters import is_narrow
from relay.contact.risk.addressed import is_for_machine
from relay.contact.risk.codes import Risk, RiskCode
from relay.contact.risk.page import Page
from relay.message.octets import slices

#: Unicode's tag characters, which mirror ASCII; the flags of parts of countries are made of them (UTS #51).
_TAGS = regex.compile("[\U000e0020-\U000e007e]{2,}+")
_FLAG = regex.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f")
_TAG_OFFSET = 0xE0000
#: Inside a word of a script that needs none; a soft hyphen is good typography and none of them.
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u180e"
_IN_WORD = regex.compile(
    rf"[\p{{Script=Latin}}\p{{Script=Cyrillic}}\p{{Script=Greek}}0-9][{_ZERO_WIDTH}]++"
    r"(?=[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}0-9])"
)
#: Without blanks between them: fillers of a preheader have some. Bits are written with two kinds.
_RUN = regex.compile(rf"[{_ZERO_WIDTH}]{{12,}}+")
_SELECTORS = regex.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}+")
_WORD = regex.compile(r"[\p{L}\p{N}]+")


def find_unseen_risks(subject: str, text: str, page: Page | None) -> Iterator[Risk]:
    """The risks of hidden words: in the page, in characters without width, and in a text beside the page."""
    texts = [subject, text, *(page.look() if page is not None else ())]
    carried: list[str] = []
    if found := _find_invisible(texts, carried):
        yield Risk(code=RiskCode.INVISIBLE, detail=found)
    hidden = page.hidden if page is not None else []
    yield from _tell_hidden(hidden)
    places = [("invisible characters", carried), ("hidden words", [words for _, words in hidden])]
    if page is not None:
        places.append(("comments or descriptions", page.aside))
    for place, pieces in places:
        if is_for_machine(pieces):
            yield Risk(code=RiskCode.FOR_MACHINE, detail=f"in {place}")
    if page is not None and is_for_machine([text]) and not is_for_machine(page.list_shown()):
        yield Risk(code=RiskCode.FOR_MACHINE, detail="in the text beside the HTML that is shown")


def _find_invisible(texts: Sequence[str], carried: list[str]) -> str:
    """The kinds of characters that show nothing and may carry words; their words go to `carried`."""
    kinds: dict[str, None] = {}
    wide = [text for text in texts if not text.isascii()]
    if not _is_suspect("".join(wide)):
        return ""
    for text in wide:
        for piece in slices(text):
            for tags in _TAGS.finditer(_FLAG.sub("", piece)):
                kinds["tag characters"] = None
                carried.append("".join(chr(ord(char) - _TAG_OFFSET) for char in tags[0]))
            if _IN_WORD.search(piece) is not None:
                kinds["zero-width characters inside words"] = None
            if any(len(set(run[0])) > 1 for run in _RUN.finditer(piece)):
                kinds["a long run of zero-width characters"] = None
            for run in _SELECTORS.finditer(piece):
                kinds["a run of variation selectors"] = None
                carried.append(_read_selectors(run[0]))
    return ", ".join(kinds)


def _is_suspect(text: str) -> bool:
    """Returns whether a text holds any of the characters above. Most hold none, and a look for single ones,
    and for the octets in UTF-8 with which the others begin, takes a tenth of the time of a pattern.
    """
    for piece in slices(text):
        if is_narrow(piece):  # among which are none of those above
            continue
        if any(char in piece for char in _ZERO_WIDTH):
            return True
        octets = piece.encode("utf-8", "surrogatepass")
        if (b"\xef" in octets and b"\xef\xb8" in octets) or (b"\xf3" in octets and b"\xf3\xa0" in octets):
            return True
    return False


def _read_selectors(run: str) -> str:
    """The octets that variation selectors can stand for: the first sixteen, then 240 more."""
    octets = bytes(ord(char) - (0xFE00 if ord(char) < 0xFE10 else 0xE0100 - 16) for char in run)
    return octets.decode("utf-8", "replace")


def _tell_hidden(hidden: Sequence[tuple[str, str]]) -> Iterator[Risk]:
    counts: dict[str, int] = {}
    for way, words in hidden:
        count = sum(1 for _ in _WORD.finditer(words))
        if count:
            counts[way] = counts.get(way, 0) + count
    for way, count in counts.items():
        yield Risk(code=RiskCode.HIDDEN, detail=f"{count:,} {'word' if count == 1 else 'words'} {way}")
