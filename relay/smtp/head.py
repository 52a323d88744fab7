"""The head of a mail: the little that is looked at before 250.

Owns what reception needs of a header besides hops and Message-ID, which `relay.message` reads. Values in, values
out; the whole understanding of a mail is the other half's work.
"""

from __future__ import annotations

import re
from collections import deque

from relay.message.headers import searchable
from relay.message.identifiers import parse_identifiers

_DATE = re.compile(rb"\ndate[ \t]*:", re.IGNORECASE)
_THREAD = re.compile(
    rb"\n(?:in-reply-to|references)[ \t]*:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)", re.IGNORECASE
)
#: The newest references are the last; a thread's beginning is of no use to find its desk.
_MOST_REFERENCES = 20
#: Octets of a field's end that twenty of them fit in.
_ENOUGH = 8_192


def header_block(head: bytes) -> bytes:
    """The header of a mail: everything before its first empty line."""
    if head.startswith(b"\r\n"):
        return b""
    end = head.find(b"\r\n\r\n")
    return head if end < 0 else head[: end + 2]


def has_date(block: bytes) -> bool:
    """Whether a header block has a Date field."""
    return _DATE.search(searchable(block)) is not None


def read_references(block: bytes) -> tuple[str, ...]:
    """The Message-IDs of In-Reply-To and References, with their brackets, each once, the last of them only."""
    found: dict[str, None] = {}
    for match in deque(_THREAD.finditer(searchable(block)), maxlen=_MOST_REFERENCES):
        text = match[1][-_ENOUGH:].decode("ascii", "replace")
        found.update(dict.fromkeys(parse_identifiers(text)))
    return tuple(found)[-_MOST_REFERENCES:]
