"""The words of authentication results, and the way in which a peer's words are shown among ours.

Owns *result* (RFC 8601 §2.7) and the quoting of tokens that came from outside. Never judges a mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

#: Longer than any domain (255) and any selector; a local part may lose its end.
_LONGEST = 255
#: Tokens that cannot be taken for words of ours: a name of DNS, an address, base64.
_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._@+/-]*+)", re.ASCII)
_SHOWN = re.compile(r"[^\x20-\x7e]")


class Result(StrEnum):
    """The result of a check (RFC 8601 §2.7); each method uses some of them."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result
    FAIL = "fail"
    SOFTFAIL = "softfail"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A result with its reason, in words of ours without anything that came from outside."""

    result: Result
    reason: str


def show(token: str | bytes) -> str:
    """A peer's token as it may stand in a header, an attribute or a log line of ours.

    A plain name stands as it is; all else is a quoted string (RFC 5322 §3.2.4) of printable ASCII, in which a
    character of another kind is a question mark. At most 255 characters of the token are shown.
    """
    text = token.decode("latin-1") if isinstance(token, bytes) else token
    text = _SHOWN.sub("?", text[:_LONGEST])
    if _PLAIN.fullmatch(text) is not None:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
