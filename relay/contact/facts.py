"""Facts of a mail that a flow, a routing rule or an AI asks for: importance, language, and its new words.

Owns the reading of these three. Never does I/O, never changes the body. Each is linear in the first 64 KiB of
the text; in doubt a fact is left out, and the new words are the whole text. RFC 2156 §5.3.6 (Importance,
Priority), RFC 3282 (Content-Language), RFC 5646 (language tags).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass

from relay.contact.characters import clean_line, cut_utf8, is_blank
from relay.contact.html_text import make_text
from relay.message.model import Message

#: Characters of a text that are read; UTF-8 bytes of it that are told.
_TEXT_CHARACTERS = 65_536
_NEW_BYTES = 2_048
#: Characters of HTML that are turned into text: a millisecond each thousand, and 2,048 bytes of it are told.
_HTML_CHARACTERS = 16_384
#: Characters in which a quotation may begin: what stands above a later one is cut before it.
_ABOVE_CHARACTERS = 4_096
#: Characters among which the script is looked for.
_SCRIPT_CHARACTERS = 2_048
#: RFC 5646 §4.4.1: a language tag has at most 35 characters.
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,6}")
_TAG_CHARACTERS = 35
_LEVELS = {
    "high": "high", "urgent": "high", "1": "high", "2": "high",
    "normal": "normal", "medium": "normal", "3": "normal",
    "low": "low", "non-urgent": "low", "4": "low", "5": "low",
}  # fmt: skip
#: The first that can be read counts; X-Priority is "1 (Highest)" to "5 (Lowest)".
_IMPORTANCE = ("Importance", "X-Priority", "Priority", "X-MSMail-Priority")
#: Blocks of Unicode, each from its first character to the next row's; a script of many languages is `und-…`.
_SCRIPTS = (
    (0x0370, "el"), (0x0400, "und-Cyrl"), (0x0530, "hy"), (0x0590, "he"), (0x0600, "und-Arab"), (0x0700, ""),
    (0x0900, "und-Deva"), (0x0980, "und-Beng"), (0x0A00, "pa"), (0x0A80, "gu"), (0x0B00, "or"), (0x0B80, "ta"),
    (0x0C00, "te"), (0x0C80, "kn"), (0x0D00, "ml"), (0x0D80, "si"), (0x0E00, "th"), (0x0E80, "lo"),
    (0x0F00, "bo"), (0x1000, "my"), (0x10A0, "ka"), (0x1100, "ko"), (0x1200, "und-Ethi"), (0x1380, ""),
    (0x1780, "km"), (0x1800, ""), (0x1F00, "el"), (0x2000, ""), (0x3040, "ja"), (0x3100, "zh"), (0x3130, "ko"),
    (0x3190, ""), (0x3400, "zh"), (0x4DC0, ""), (0x4E00, "zh"), (0xA000, ""), (0xAC00, "ko"), (0xD7B0, ""),
    (0xF900, "zh"), (0xFB00, ""), (0x20000, "zh"), (0x32000, ""),
)  # fmt: skip
_STARTS = tuple(start for start, _ in _SCRIPTS)
_NOT_LATIN = re.compile("[\u0370-\U0010ffff]")

#: Lines behind one that may begin a quotation.
_HEADER_LINES = 5
#: Characters of a line that are looked at.
_LINE_CHARACTERS = 400
#: A line of dashes around words, as Outlook puts it above the mail that it quotes.
_DASHED = re.compile(r"-{3,} ?[^-]{3,60} ?-{3,}")
_RULE = re.compile(r"_{10,}")
#: Words of senders' programs for a mail that is passed on, which is no quotation.
_FORWARDED = re.compile(
    r"(?i)forward|weitergeleitet|transf[ée]r|reenviad|inoltrat|doorgestuurd|vidarebefordra|videresend|przekazan"
    r"|пересыла|перенаправл|転送|转发|轉寄"
)
#: "From:" as programs write it in the header above a quoted mail.
_FROM_WORDS = (
    "from", "von", "de", "da", "van", "från", "fra", "od", "от", "kimden", "lähettäjä", "发件人", "寄件者",
    "差出人", "보낸 사람",
)  # fmt: skip
_FROM = re.compile(rf"\*?(?:{'|'.join(_FROM_WORDS)})\*? ?[:\uff1a]\*? ?\S", re.IGNORECASE)
#: The first character of a line that may begin a quotation, in lower case; most lines begin with others.
_BEGINNINGS = frozenset({">", "-", "_", "*", *(word[0] for word in _FROM_WORDS)})
_FIELD = re.compile(r"\*?[^\s:\uff1a>][^:\uff1a>]{0,30}[:\uff1a]\*?(?: |$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The three facts, each "" where it is not known."""

    #: "high", "normal" or "low".
    importance: str = ""
    #: A language tag of RFC 5646.
    language: str = ""
    #: One line, at most 2,048 UTF-8 bytes.
    new_text: str = ""


def read_facts(message: Message) -> Facts:
    """The facts of a mail as it was understood."""
    text = message.text[:_TEXT_CHARACTERS]
    if is_blank(text):
        start = max(0, message.html[:_TEXT_CHARACTERS].find("<body"))  # a style sheet may stand before it
        text = make_text(message.html[start : start + _HTML_CHARACTERS])
    return Facts(
        importance=read_importance(message),
        language=read_language(message, text),
        new_text=cut_utf8(_first_line(find_new_text(text)), _NEW_BYTES),
    )


def _first_line(text: str) -> str:
    """The text as one line; where a part of it is longer than what is told, only that."""
    start = clean_line(text[: _NEW_BYTES + 512])
    return start if len(start) > _NEW_BYTES + 1 else clean_line(text)


def read_importance(message: Message) -> str:
    """The importance that the author gave: "high", "normal" or "low"; "" where the header says none."""
    for name in _IMPORTANCE:
        words = (message.header(name) or "").lower().split(maxsplit=1)
        if words and words[0] in _LEVELS:
            return _LEVELS[words[0]]
    return ""


def read_language(message: Message, text: str) -> str:
    """The language tag of Content-Language, else that of the text's script; "" where neither tells."""
    first = (message.header("Content-Language") or "").split(",", 1)[0].split("(", 1)[0].strip()
    if len(first) <= _TAG_CHARACTERS and _TAG.fullmatch(first):
        return first
    return _read_script(text[:_SCRIPT_CHARACTERS] or message.subject[:_SCRIPT_CHARACTERS])


def _read_script(text: str) -> str:
    """The language, or the script as `und-…`, of more than half of the letters; "" for Latin."""
    far = [] if text.isascii() else _NOT_LATIN.findall(text)
    if not far:
        return ""
    found = Counter(_SCRIPTS[bisect_right(_STARTS, ord(one)) - 1][1] for one in far if one.isalpha())
    del found[""]
    if found["ja"] and found["zh"]:  # Japanese is written in both
        found["ja"] += found.pop("zh")
    if not found:
        return ""
    language, count = found.most_common(1)[0]
    return language if 2 * count > sum(map(str.isalpha, text)) else ""


def find_new_text(text: str) -> str:
    """The words above a quoted mail; the whole text where there is none, or where that is in doubt.

    In doubt are answers between the lines of a quotation or below it, and mail that is passed on.
    """
    count = text.count("\n", 0, _ABOVE_CHARACTERS) + 1
    above = text[:_TEXT_CHARACTERS].split("\n", count + _HEADER_LINES)[: count + _HEADER_LINES]
    short = [line[:_LINE_CHARACTERS].strip() for line in above]
    cut = next((at for at in range(min(count, len(short))) if _begins_quote(short[at], short, at)), None)
    if cut is None:
        return text
    lines = text[:_TEXT_CHARACTERS].split("\n")
    short = [line[:_LINE_CHARACTERS].strip() for line in lines]
    quoted = next((at for at in range(cut, len(short)) if short[at].startswith(">")), None)
    is_marked = quoted is not None and not any(short[cut + 1 : quoted])
    if (is_marked or short[cut].startswith(">")) and any(
        line and not line.startswith(">") for line in short[(quoted or cut) :]
    ):
        return text
    new = "\n".join(lines[:cut]).rstrip()
    return text if is_blank(new) else new


def _begins_quote(line: str, lines: list[str], at: int) -> bool:
    """Returns whether a line begins a quotation: its mark, its attribution, or the header of that mail."""
    if line.startswith(">"):
        return True
    if line[:1].lower() not in _BEGINNINGS and not line.endswith((":", "\uff1a")):
        return False
    following = [one for one in lines[at + 1 : at + 1 + _HEADER_LINES] if one][:4]
    if line.endswith((":", "\uff1a")) and following and following[0].startswith(">"):
        return True
    dashed, rule = _DASHED.fullmatch(line), _RULE.fullmatch(line)
    if dashed is None and rule is None and _FROM.match(line) is None:
        return False
    if sum(_FIELD.match(one) is not None for one in following) < 2:
        return False
    if dashed is not None:
        return _FORWARDED.search(line) is None
    return rule is None or _FROM.match(following[0]) is not None
