"""Card numbers in the words of a mail: where they stand, and the same words with them made unreadable.

Owns the rule of what looks like a payment card's number (`routes[].sensitive`): an issuer's prefix and length
(ISO/IEC 7812-1; the ranges that Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay and
Maestro publish) and Luhn's check digit (ISO/IEC 7812-1 annex B), with or without separators, in any script's
digits. No card is what stands in a URL, in an address, behind "+" or in an IBAN. The first six and the last
four digits stay, which PCI DSS 4.0 §3.4.1 lets be seen. Linear, never raises, never does I/O.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from relay.message.markup import unescape

#: Blanks, dashes and dots of all scripts, and what cannot be seen: they stand between the groups of a number.
_BETWEEN = "[ \\t.\\-\u00ad\u00a0\u2000-\u200d\u2010-\u2015\u202f\u2060\u2212\u3000\ufe58\ufe63\ufeff\uff0d]"
_GAP = f"(?:{_BETWEEN}{{0,2}}+\\r?\\n[ \\t>]{{0,4}}+|{_BETWEEN}{{1,3}}+)"
#: Digits with gaps between them, whatever their number.
_RUN = re.compile(rf"\d++(?:{_GAP}\d++)*+")
_GROUP = re.compile(r"\d+")
#: Fewer digits than this are no card number.
_SHORTEST, _LONGEST = 12, 19
#: Cheap look: twelve digits that no more than seven other characters part.
_PERHAPS = re.compile(r"\d(?:[^\dA-Za-z]{0,7}\d){11}")
#: Characters before a number that are looked at.
_LOOK_BACK = 512
#: The beginning of a word that makes all of it a URL or a path of one.
_URL = re.compile(
    r"://|\bwww\.|[\w-]\.[A-Za-z]{2,24}/|\b(?:cid|mid|urn|data|mailto|tel):|/[^/\s]*/", re.IGNORECASE
)
#: Characters that make digits behind them, or before them, a part of something else.
_JOINING = frozenset(f"{string.ascii_letters}{string.digits}+_@/%&=~$")
_JOINING_AFTER = frozenset(f"{string.ascii_letters}{string.digits}_@")
#: A name and "=" or "/" before a number, as in "card=4111..." or "Visa/4111...", which no URL holds.
_LABEL = re.compile(r"(?:\A|[\s(\[,;])[A-Za-z#]{1,20}\.?[=/]\Z")
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
)
#: Groups as they are printed on cards. Any other grouping counts where nothing else stands beside it.
_PRINTED: Final = frozenset({
    (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 1), (4, 4, 5), (4, 4, 4, 3), (4, 4, 4, 4, 3), (4, 4, 4, 4, 2),
    (4, 4, 4, 4, 1), (6, 13), (8, 8),
})  # fmt: skip
_MOST_GROUPS = max(map(len, _PRINTED))
#: Their beginnings.
_BEGUN: Final = frozenset(sizes[:count] for sizes in _PRINTED for count in range(1, len(sizes) + 1))


#: The ranges of issuers, each with the lengths of its numbers.
_ISSUED = re.compile(
    r"""4(?:\d{12}|\d{15}|\d{18})  # Visa
      | (?:5[1-5]\d\d | 222[1-9] | 22[3-9]\d | 2[3-6]\d\d | 27[01]\d | 2720)\d{12}  # Mastercard
      | 3[47]\d{13}  # American Express
      | (?:6011 | 64[4-9]\d | 65\d\d)\d{12,15}  # Discover
      | 35(?:2[89]|[3-8]\d)\d{12,15}  # JCB
      | (?:30[0-5]\d | 3095 | 36\d\d | 3[89]\d\d)(?:\d{10}|\d{12,15})  # Diners Club
      | (?:62|81)\d{14,17}  # UnionPay
      | (?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}  # Maestro""",
    re.VERBOSE,
)
#: The sum of the digits of twice a digit (Luhn).
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")
#: The digits at both ends that stay readable.
_LEFT_FIRST, _LEFT_LAST = 6, 4
MARK = "•"


class Span(NamedTuple):
    """A card number in a text, from its first digit to behind its last."""

    begin: int
    end: int


class _Group(NamedTuple):
    """Digits without a gap, as they are in ASCII."""

    begin: int
    end: int
    digits: str


def find_cards(text: str) -> tuple[Span, ...]:
    """The card numbers in a text, in order; none of them overlap."""
    if _PERHAPS.search(text) is None:
        return ()
    found: list[Span] = []
    ibans = [Span(*match.span()) for match in _IBAN.finditer(text) if _is_iban(match[0])]
    for run in _RUN.finditer(text):
        if run.end() - run.start() < _SHORTEST or _is_named(text, run.start(), run.end()):
            continue
        if any(each.begin < run.end() and run.start() < each.end for each in _near(ibans, run.start())):
            continue
        groups = [
            _Group(run.start() + at.start(), run.start() + at.end(), _read(at[0]))
            for at in _GROUP.finditer(run[0])
        ]
        found.extend(_find_in(text, groups))
    return tuple(found)


def redact(text: str, *, mark: str = MARK) -> str:
    """The text with the middle digits of each card number replaced; the very same text if it has none."""
    return _cover(text, [(at, at + 1) for span in find_cards(text) for at in _middle(text, span)], mark)


def find_cards_in_html(source: str) -> tuple[Span, ...]:
    """The card numbers that a reader of HTML sees, or that stand in one tag, by their places in it."""
    page = _Page(source)
    shown = [Span(page.place(span.begin)[0], page.place(span.end - 1)[1]) for span in find_cards(page.text)]
    return (
        *shown,
        *(span for begin, end in page.tags for span in _shift(find_cards(source[begin:end]), begin)),
    )


def redact_html(source: str, *, mark: str = MARK) -> str:
    """The HTML with the middle digits of each card number replaced: in its text, tags within a number or
    not, and in its tags.
    """
    page = _Page(source)
    places = [page.place(at) for span in find_cards(page.text) for at in _middle(page.text, span)]
    for begin, end in page.tags:
        tag = source[begin:end]
        places += [(begin + at, begin + at + 1) for span in find_cards(tag) for at in _middle(tag, span)]
    return _cover(source, sorted(places), mark)


def _shift(spans: Sequence[Span], by: int) -> Iterator[Span]:
    return (Span(span.begin + by, span.end + by) for span in spans)


def _middle(text: str, span: Span) -> list[int]:
    """The places of the digits of a number that are replaced."""
    digits = [at for at in range(span.begin, span.end) if text[at].isdecimal()]
    return digits[_LEFT_FIRST:-_LEFT_LAST]


def _cover(text: str, places: Sequence[tuple[int, int]], mark: str) -> str:
    """The text with a mark in place of each piece of it; the pieces stand in order."""
    if not places:
        return text
    pieces: list[str] = []
    at = 0
    for begin, end in places:
        pieces += (text[at:begin], mark)
        at = end
    return "".join((*pieces, text[at:]))


def _read(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(each)) for each in digits)


def _near(spans: Sequence[Span], begin: int) -> Sequence[Span]:
    """The spans that may reach a place: the last that begins before it, and the next."""
    at = bisect_right(spans, (begin, begin))
    return spans[max(0, at - 1) : at + 1]


def _is_named(text: str, begin: int, end: int) -> bool:
    """Returns whether digits are a part of a word, a phone number, an address or a URL."""
    before = text[max(0, begin - _LOOK_BACK) : begin]
    last = before[-1:]
    if last in _JOINING or before[-2:] in ("+(", "+ "):
        return _LABEL.search(before) is None
    after = text[end : end + 1]
    if after in _JOINING_AFTER:
        return True
    word = before[max(before.rfind(each) for each in " \t\r\n<>\"'") + 1 :]
    return len(word) > 1 and _URL.search(word) is not None


def _is_iban(text: str) -> bool:
    """Returns whether a text is an IBAN, by its check digits (ISO 13616)."""
    plain = re.sub("[ -]", "", text)
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def _find_in(text: str, groups: Sequence[_Group]) -> Iterator[Span]:
    """The card numbers among groups of digits with gaps between them: all of them as one number, else those
    that are grouped as on a card.
    """
    if _is_one_number(text, groups):
        yield Span(groups[0].begin, groups[-1].end)
        return
    at = 0
    while at < len(groups):
        count = _count_groups(text, groups, at)
        if count:
            yield Span(groups[at].begin, groups[at + count - 1].end)
        at += count or 1


def _is_one_number(text: str, groups: Sequence[_Group]) -> bool:
    """Returns whether all groups are one card number, in any regular grouping: pairs, single digits."""
    if len(groups) > _LONGEST or not _is_card("".join(group.digits for group in groups)):
        return False
    sizes = tuple(len(group.digits) for group in groups)
    if len(sizes) == 1 or sizes in _PRINTED:
        return True
    is_regular = min(sizes[:-1]) > 2 or (len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0])
    return is_regular and "\n" not in text[groups[0].begin : groups[-1].end]


def _count_groups(text: str, groups: Sequence[_Group], at: int) -> int:
    """The number of groups from there on that are one card number as it is printed; 0 if none is.

    A group before or behind that is joined by a dash or a dot makes them a part of a longer number.
    """
    sizes: tuple[int, ...] = ()
    best = 0
    for count in range(1, min(_MOST_GROUPS, len(groups) - at) + 1):
        sizes += (len(groups[at + count - 1].digits),)
        if count > 1 and sizes not in _BEGUN:
            break
        if (count == 1 or sizes in _PRINTED) and _stands_alone(text, groups, at, count):
            digits = "".join(group.digits for group in groups[at : at + count])
            best = count if _is_card(digits) else best
    return best


def _stands_alone(text: str, groups: Sequence[_Group], at: int, count: int) -> bool:
    """Returns whether only blanks stand between these groups and their neighbours."""
    first, last = groups[at], groups[at + count - 1]
    before = text[groups[at - 1].end : first.begin] if at else " "
    after = text[last.end : groups[at + count].begin] if at + count < len(groups) else " "
    return before.isspace() and after.isspace()


def _is_card(digits: str) -> bool:
    """Returns whether digits have an issuer's prefix, its length and the right check digit."""
    if _ISSUED.fullmatch(digits) is None or digits == digits[0] * len(digits):
        return False
    total = sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))
    return total % 10 == 0


# A tag or comment as far as its end or the next "<", a character reference, or text.
_PIECE = re.compile(
    r"<[A-Za-z/!?][^<>]*+>?|&(?:#[xX]?[0-9A-Fa-f]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});?|[^<&]++|[<&]"
)
#: Elements that end no line: a number goes on behind them.
_INLINE = re.compile(
    r"</?(?:a|abbr|b|bdi|bdo|big|code|em|font|i|ins|kbd|label|mark|nobr|o:p|s|samp|small|span|strong|sub|sup|tt|u|var|wbr)\b",
    re.IGNORECASE,
)
_CELL = re.compile(r"</?t[dh]\b", re.IGNORECASE)


class _Page:
    """The text of HTML as a reader sees it, and the way from each of its characters to the source."""

    def __init__(self, source: str) -> None:
        #: The tags and comments, which are read one by one.
        self.tags: list[tuple[int, int]] = []
        self._starts: list[int] = []
        #: Where each piece stands in the source, and whether it is one character that is written otherwise.
        self._pieces: list[tuple[int, int, bool]] = []
        pieces: list[str] = []
        length = 0
        for found in _PIECE.finditer(source):
            begin, end, piece = found.start(), found.end(), found[0]
            other = piece[0] in "<&" and len(piece) > 1
            if other and piece[0] == "<":
                self.tags.append((begin, end))
                piece = "" if _INLINE.match(piece) else " " if _CELL.match(piece) else "\n\n"
            elif other:
                piece = _resolve(piece)
            if piece:
                self._starts.append(length)
                self._pieces.append((begin, end, other))
                pieces.append(piece)
                length += len(piece)
        self.text = "".join(pieces)

    def place(self, at: int) -> tuple[int, int]:
        """The beginning and the end in the source of a character of the text."""
        number = bisect_right(self._starts, at) - 1
        begin, end, other = self._pieces[number]
        if other:
            return begin, end
        offset = begin + at - self._starts[number]
        return offset, offset + 1


def _resolve(reference: str) -> str:
    """The character that a reference stands for; a break where it stands for none, or for several."""
    text = unescape(reference)
    return text if len(text) == 1 else "\n\n"
