"""Message identifiers: Message-ID, In-Reply-To, References.

Owns *message id*. Follows RFC 5322 §3.6.4 and §4.5.4 (phrases between the identifiers are passed over).
"""

from __future__ import annotations

import re

from relay.message.headers import header_block, searchable
from relay.message.words import header_text

_IDENTIFIER = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"\s+")
#: RFC 5322 §2.1.1 allows 998 octets in a line; what is longer is no identifier that anyone would ask for.
_LONGEST = 2_048
_FIELD = re.compile(rb"\nmessage-id[ \t]*:([^\r\n]*+(?:\r{0,8}\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)


def parse_identifiers(text: str) -> tuple[str, ...]:
    """The identifiers of an unfolded field body in order, each in angle brackets, blanks from bad folding taken out."""
    found = (_BLANK.sub("", inside) for inside in _IDENTIFIER.findall(text))
    return tuple(f"<{inside}>" for inside in found if inside)


def parse_message_id(text: str) -> str | None:
    """The first identifier of a Message-ID; one without brackets is given them; None when there is none."""
    found = parse_identifiers(text)
    if found:
        return found[0]
    bare = _BLANK.sub("", text).strip("<>")
    return f"<{bare}>" if bare else None


def read_message_id(header_block_: bytes) -> str | None:
    """The Message-ID of a mail as it comes in, from its header block or its first octets; quick enough for SMTP."""
    found = _FIELD.search(searchable(header_block(header_block_)))
    if found is None:
        return None
    return parse_message_id(header_text(found[1].strip()[:_LONGEST])[0])
