"""Captures: what an operator's patterns find in a mail, by the names of their groups.

Owns the search. The pattern is the operator's and the text a stranger's, so each search has a limit of time
and of text; no match, and a search that takes too long, give nothing. Never does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import regex

from relay.config.contact import Capture
from relay.config.model import Config, Route
from relay.contact.characters import clean_line, cut_utf8, is_blank
from relay.contact.html_text import make_text
from relay.message.model import Message

#: Seconds of one search: sixteen of them are far below `understand.cpu_seconds`.
_SECONDS = 0.2
#: UTF-8 bytes of the body that are searched, and characters of a header field.
_BODY_BYTES = 65_536
_HEADER_CHARACTERS = 20_000
#: UTF-8 bytes of a value.
_VALUE_BYTES = 1_024


def capture(message: Message, route: Route, config: Config) -> Mapping[str, str] | None:
    """The values that the route's captures find, then those of `[contact]`; the first of a name counts.

    Returns None where there are no captures.
    """
    captures = (*route.captures, *config.contact.captures)
    if not captures:
        return None
    found: dict[str, str] = {}
    for one in captures:
        for name, value in _search(one, _read(message, one.source)).items():
            line = cut_utf8(clean_line(value or ""), _VALUE_BYTES)
            if line:
                found.setdefault(name, line)
    return found


def _search(one: Capture, text: str) -> Mapping[str, str | None]:
    try:
        match = _compile(one.pattern).search(text, timeout=_SECONDS)
    except TimeoutError:
        return {}
    return match.groupdict() if match else {}


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    return regex.compile(pattern)


def _read(message: Message, source: str) -> str:
    """The text that a capture searches."""
    match source:
        case "subject":
            return message.subject[:_HEADER_CHARACTERS]
        case "author":
            return message.author[0].address[:_HEADER_CHARACTERS] if message.author else ""
        case "body":
            text = message.text[:_BODY_BYTES]
            text = make_text(message.html[:_BODY_BYTES]) if is_blank(text) else text
            return text.encode("utf-8", "replace")[:_BODY_BYTES].decode("utf-8", "ignore")
    return (message.header(source.removeprefix("header:")) or "")[:_HEADER_CHARACTERS]
