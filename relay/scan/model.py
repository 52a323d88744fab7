"""The results of scanners, and what a contact says of them.

Owns *scan*: the word of each scanner, and the keys of StartEmailContact's headers that it fills. Never asks a
scanner. Every token that a scanner chose is shown as `relay.auth.words.show` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from relay.auth.words import show

#: Symbols of rspamd that are told.
_MOST_SYMBOLS = 20


class ScanWord(StrEnum):
    """The word of a scan."""

    CLEAN = "clean"
    VIRUS = "virus"
    SPAM = "spam"
    #: The mail is larger than the scanner takes.
    TOO_BIG = "too_big"
    #: The scanner gave no answer that can be read.
    UNAVAILABLE = "unavailable"


class ScannerKind(StrEnum):
    """The kind of a scanner."""

    VIRUS = "virus"
    SPAM = "spam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A rule of rspamd that matched."""

    name: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """The result of one scanner for one mail."""

    kind: ScannerKind
    word: ScanWord
    #: Words of ours, without anything that came from outside.
    reason: str
    #: False where nothing was heard from the scanner: it may be away.
    answered: bool = True
    #: The name of a virus, as the scanner gave it.
    name: str = ""
    #: Of rspamd: None where it gave none.
    score: float | None = None
    required: float | None = None
    action: str = ""
    #: Those that weigh most first.
    symbols: tuple[Symbol, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictWords:
    """The words of the two verdicts, as a flow expects them; by default those of SES."""

    passed: str = "PASS"
    failed: str = "FAIL"


_HEADERS = {ScannerKind.VIRUS: "X_SES_VIRUS_VERDICT", ScannerKind.SPAM: "X_SES_SPAM_VERDICT"}


def build_verdict_headers(results: Mapping[str, str], words: VerdictWords) -> dict[str, str]:
    """The headers of StartEmailContact, by the attributes that are stored with a mail. A key is missing where
    no scanner gave a verdict.
    """
    verdicts: Mapping[str, str] = {
        ScanWord.CLEAN: words.passed,
        ScanWord.VIRUS: words.failed,
        ScanWord.SPAM: words.failed,
    }
    told = {key: results.get(f"relay_{kind}", "") for kind, key in _HEADERS.items()}
    return {key: verdicts[word] for key, word in told.items() if word in verdicts}


def build_scan_attributes(results: Iterable[ScanResult]) -> Mapping[str, str]:
    """The attributes of a contact: the word of each scanner, and what it found."""
    found: dict[str, str] = {}
    for each in results:
        found[f"relay_{each.kind}"] = each.word
        if each.name:
            found[f"relay_{each.kind}_name"] = show(each.name)
        if each.score is not None:
            found[f"relay_{each.kind}_score"] = f"{each.score:.2f}"
        found[f"relay_{each.kind}_detail"] = _describe(each)
    return found


def _describe(result: ScanResult) -> str:
    pieces = [result.reason]
    if result.name:
        pieces.append(show(result.name))
    if result.score is not None:
        required = "" if result.required is None else f" of {result.required:.2f}"
        pieces.append(f"score {result.score:.2f}{required}")
    if result.action:
        pieces.append(f"action {show(result.action)}")
    pieces += [f"{show(each.name)} ({each.score:.2f})" for each in result.symbols[:_MOST_SYMBOLS]]
    return ", ".join(pieces)
