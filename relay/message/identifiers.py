"""Message identifiers: Message-ID, In-Reply-To, References.

Owns *message id*. Follows RFC 5322 §3.6.4 and §4.5.4 (phrases between the identifiers are passed over).
"""

from __future__ import annotations

import re

from relay.message.headers import FieldFinder
from relay.message.words import header_text

_IDENTIFIER = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"\s+")
#: What nearly every Message-ID looks like: nothing to unfold, decode or take out.
_PLAIN = re.compile(rb"[ \t]*(<[!-;=?-~]+>)[ \t]*")
#: RFC 5322 §2.1.1 allows 998 octets in a line; what is longer is no identifier that anyone would ask for.
_LONGEST = 2_048
#: The newest references are the last; a thread's beginning is of no use to find its desk.
_MOST_REFERENCES = 20
#: Octets of a field's end that twenty of them fit in.
_ENOUGH = 8_192


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


def find_message_id(fields: FieldFinder) -> str | None:
    """The Message-ID of a mail as it comes in; quick enough for SMTP."""
    found = fields.find(b"message-id", most=1)
    if not found:
        return None
    body = found[0][1][:_LONGEST]
    plain = _PLAIN.fullmatch(body)
    if plain is not None and b"=?" not in body:
        return plain[1].decode("ascii")
    return parse_message_id(header_text(body.strip())[0])


def find_references(fields: FieldFinder) -> tuple[str, ...]:
    """The Message-IDs of In-Reply-To and References as a mail comes in, each once, the last of them only."""
    bodies = fields.find(b"in-reply-to") + fields.find(b"references")
    if not bodies:
        return ()
    found: dict[str, None] = {}
    for _, body in sorted(bodies)[-_MOST_REFERENCES:]:
        found.update(dict.fromkeys(parse_identifiers(body[-_ENOUGH:].decode("ascii", "replace"))))
    return tuple(found)[-_MOST_REFERENCES:]
