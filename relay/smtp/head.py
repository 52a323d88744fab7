"""The head of a mail: the little that is looked at before 250.

Owns what reception needs of a header besides hops and Message-ID, which `relay.message` reads. Values in, values
out; the whole understanding of a mail is the other half's work.
"""

from __future__ import annotations

from relay.message.headers import FieldFinder
from relay.message.identifiers import parse_identifiers

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


def find_references(fields: FieldFinder) -> tuple[str, ...]:
    """The Message-IDs of In-Reply-To and References, with their brackets, each once, the last of them only."""
    bodies = fields.find(b"in-reply-to") + fields.find(b"references")
    if not bodies:
        return ()
    found: dict[str, None] = {}
    for _, body in sorted(bodies)[-_MOST_REFERENCES:]:
        found.update(dict.fromkeys(parse_identifiers(body[-_ENOUGH:].decode("ascii", "replace"))))
    return tuple(found)[-_MOST_REFERENCES:]
