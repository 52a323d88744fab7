"""The reader of Authentication-Results: what another server says it found.

Owns the syntax of RFC 8601 §2.2, as it stands in Authentication-Results and in ARC-Authentication-Results
(RFC 8617 §4.1.1), read leniently: comments and quotes are undone, and what is no result is passed over. Never
believes anything: who may be believed is decided elsewhere. Linear in the octets, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MOST_BYTES = 32_768
_MOST_RESULTS = 64
#: A quoted string, a bracket of a comment, what parts results and tokens, a token, or any other character.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[()]|\\.|[;=]|[^\s"()\\;=]++|\s++|.', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """A result of a check, as another server wrote it; every word is that server's."""

    method: str
    result: str
    #: "header.d" and the like in lower case, and "reason"; the first of a name counts.
    properties: Mapping[str, str]


def parse_results(octets: bytes) -> tuple[MethodResult, ...]:
    """The results in the value of a field, at most 64, from its first 32 KiB."""
    text = octets[:_MOST_BYTES].decode("utf-8", "replace")
    found = []
    for words in _split_results(text):
        result = _read_result(words)
        if result is not None:
            found.append(result)
        if len(found) == _MOST_RESULTS:
            break
    return tuple(found)


def read_authserv_id(octets: bytes) -> str:
    """The name of the server that a field claims to be by, as it is written; "" where there is none."""
    text = octets[:_MOST_BYTES].decode("utf-8", "replace")
    words = next(_split_results(text))
    return _unquote(words[0]) if words else ""


def _split_results(text: str) -> Iterator[list[str]]:
    """The tokens of each part between semicolons, comments left out."""
    words: list[str] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        word = match[0]
        if word == "(":
            depth += 1
        elif word == ")":
            depth = max(depth - 1, 0)
        elif depth or word.isspace():
            continue
        elif word == ";":
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _read_result(words: list[str]) -> MethodResult | None:
    """The result in "method = word, name = value, …". Returns None where a part has no such form."""
    pairs: dict[str, str] = {}
    at = 0
    while at + 2 < len(words):
        if words[at + 1] == "=":
            pairs.setdefault(words[at].lower(), _unquote(words[at + 2]))
            at += 3
        else:
            at += 1
    if not pairs or len(words) < 3 or words[1] != "=":
        return None
    method, result = next(iter(pairs.items()))
    del pairs[method]
    return MethodResult(method=method.partition("/")[0], result=result.lower(), properties=pairs)


def _unquote(word: str) -> str:
    if len(word) > 1 and word.startswith('"') and word.endswith('"'):
        return _PAIR.sub(r"\1", word[1:-1])
    return word
