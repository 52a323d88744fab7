"""Results of SPF as values (RFC 7208 §2.6, RFC 8601 §2.7.2).

Owns the two identities, and the form in which outside text may stand in a result: visible
ASCII, bounded. Text of a record or an envelope stands in double quotes wherever it stands in a sentence.
The explanation of a domain (`exp`) is nowhere: it would be a stranger's words in ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from relay.auth.words import Result

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_UNFIT = re.compile(r"[^ !#-\[\]-~]")
_LONGEST_QUOTE = 100  # characters of outside text in one sentence


class SpfIdentity(StrEnum):
    """The identities that SPF can check, by their properties in RFC 8601 §2.7.2."""

    HELO = "helo"
    MAIL_FROM = "mailfrom"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfResult:
    """The result of SPF for one identity."""

    result: Result
    identity: SpfIdentity
    #: The domain that was checked, in A-labels and lower case; "" where the peer gave no host name.
    domain: str
    #: The mechanism that decided, as it stands in the record (visible ASCII); "" where none did.
    mechanism: str = ""
    #: The domain whose record holds that mechanism: `domain`, or where `redirect` led.
    decided_by: str = ""
    #: A sentence's end in words of ours; what came from outside stands there in double quotes.
    reason: str
    #: The terms that asked the DNS (RFC 7208 §4.6.4).
    lookups: int = 0


def clean_host(text: str) -> str:
    """The text, as fit for a result. Returns "" where it is no host name of letters, digits, -, _."""
    return text if len(text) <= 253 and _HOST.fullmatch(text) else ""


def quote(text: str) -> str:
    """Outside text in double quotes: visible ASCII but quotes and backslashes, ? for all else, cut."""
    cut = text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 3]}..."
    return f'"{_UNFIT.sub("?", cut)}"'
