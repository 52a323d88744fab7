"""Macro strings of SPF: their syntax, and their expansion from values (RFC 7208 §7).

Owns the grammar of `macro-string` and `domain-spec`, the transformers, and the cut of a name at 253
characters. The value of each letter is an argument: this module asks nobody. Linear in the length of the
string and of the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote as quote_url

from relay.auth.answers import NAME_OCTETS

#: RFC 7208 §7.2; c, r and t are for explanations alone, which we never fetch.
_LETTERS = "slodiphvcrt"
_ONLY_IN_EXPLANATIONS = "crt"
_MACRO = re.compile(r"%(?:\{([A-Za-z])([0-9]*)([rR]?)([.+,/_=-]*)\}|([%_-]))")
_LITERAL = re.compile(r"[\x21-\x24\x26-\x7e]+")  # RFC 7208 §7.1, macro-literal
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_LABEL = re.compile(r"[A-Za-z0-9-]++")
_MOST_PARTS = 128  # a name has no more labels (RFC 7208 §7.3 asks for at least this)


class SpfSyntaxError(ValueError):
    """A record that breaks the grammar: permerror. Its text is a sentence's end, outside text in quotes."""


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro, `%{...}`: its letter, and the changes that are made to its value."""

    letter: str
    keep: int
    reverse: bool
    delimiters: str
    escaped: bool


@dataclass(frozen=True, slots=True)
class MacroString:
    """A macro string: literal text and macros in turn."""

    parts: tuple[str | Macro, ...]

    @property
    def letters(self) -> frozenset[str]:
        """The letters whose values the expansion needs."""
        return frozenset(part.letter for part in self.parts if isinstance(part, Macro))


def parse_macro_string(text: str, *, explains: bool = False) -> MacroString:
    """The macro string that a text is.

    `explains` allows the letters that only an explanation may have.

    Raises:
        SpfSyntaxError: the text is none.
    """
    parts: list[str | Macro] = []
    position = 0
    while position < len(text):
        if found := _LITERAL.match(text, position):
            parts.append(found[0])
        elif found := _MACRO.match(text, position):
            parts.append(_ESCAPES[found[5]] if found[5] else _build_macro(found, explains=explains))
        else:
            raise SpfSyntaxError("a macro or a character that SPF does not know")
        position = found.end()
    return MacroString(tuple(parts))


def _build_macro(found: re.Match[str], *, explains: bool) -> Macro:
    letter, digits, reverse, delimiters, _ = found.groups()
    known = letter.lower()
    if known not in _LETTERS or (known in _ONLY_IN_EXPLANATIONS and not explains):
        raise SpfSyntaxError("a macro letter that may not stand there")
    stripped = digits.lstrip("0")
    if digits and not stripped:
        raise SpfSyntaxError("a macro that keeps no part")  # RFC 7208 §7.1: DIGIT must be nonzero
    keep = min(int(stripped[:4]), _MOST_PARTS) if stripped else _MOST_PARTS
    return Macro(known, keep, bool(reverse), delimiters or ".", letter.isupper())


def parse_domain_spec(text: str) -> MacroString:
    """The macro string that a domain-spec is: it ends in a top label or in a macro.

    Raises:
        SpfSyntaxError: the text is none.
    """
    spec = parse_macro_string(text)
    ends_in_macro = bool(spec.parts) and isinstance(spec.parts[-1], Macro)
    if not ends_in_macro and not _ends_in_top_label(text):
        raise SpfSyntaxError("a domain without a top label")
    return spec


def _ends_in_top_label(text: str) -> bool:
    """Returns whether a dot and a label end the text, the label not all digits and without a hyphen at its
    ends.
    """
    _, dot, label = text.removesuffix(".").rpartition(".")
    well_formed = bool(_LABEL.fullmatch(label)) and not label.startswith("-") and not label.endswith("-")
    return bool(dot) and well_formed and not label.isdigit()


def expand(string: MacroString, values: Mapping[str, str]) -> str:
    """The text that a macro string stands for, given the value of each letter in it."""
    done: dict[Macro, str] = {}
    texts = []
    for part in string.parts:
        if isinstance(part, Macro):
            if part not in done:
                done[part] = _transform(part, values[part.letter])
            texts.append(done[part])
        else:
            texts.append(part)
    return "".join(texts)


def _transform(macro: Macro, value: str) -> str:
    """RFC 7208 §7.3: split, reverse, keep the right-hand parts, join with dots, escape for a URL."""
    table = str.maketrans(dict.fromkeys(macro.delimiters, "\n"))
    parts = value.replace("\n", "?").translate(table).split("\n")
    if macro.reverse:
        parts.reverse()
    text = ".".join(parts[-macro.keep :])
    return quote_url(text, safe="-._~") if macro.escaped else text


def fit_name(name: str) -> str:
    """The name without its final dot; one over 253 characters loses labels on the left (RFC 7208 §7.3)."""
    name = name.removesuffix(".")
    if len(name) <= NAME_OCTETS:
        return name
    cut = name[-NAME_OCTETS - 1 :]
    return cut.partition(".")[2]
