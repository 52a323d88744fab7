"""The message identifiers of Message-ID, In-Reply-To and References.

Owns *message id*. Follows RFC 5322 §3.6.4 and §4.5.4 (phrases between the identifiers are passed over).
"""

from __future__ import annotations

import re

from relay.message.headers import FieldFinder
from relay.message.words import header_text

_IDENTIFIER = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"\s+")
_SEPARATOR = re.compile(r"[\s,;<>]+")
#: An identifier without brackets: printable, with an @ in it (RFC 5322 §3.6.4).
_BARE = re.compile(r"[^\s<>,;:\"()@]+@[^\s<>,;\"()@]+")
#: Marks that programs put around an identifier in place of angle brackets.
_AROUND = "\"'[]\u201c\u201d\u2018\u2019"
_IN_ORDER = re.compile(r"<([^<>]*+)>|([^\s<>,;]++)")
#: The form of nearly every Message-ID field, behind its name: no fold, no encoded word, no comment.
_PLAIN = re.compile(rb"[ \t]{0,8}+:[ \t]{0,8}+(<[!-;=?-~]{1,998}+>)[ \t]{0,8}+\r\n(?![ \t])")
#: Octets of an identifier: RFC 5322 §2.1.1 allows a line 998, and nobody refers to a longer one.
_LONGEST = 2_048
#: References that are kept, from the end: the last are the newest, and they find the contact.
_MOST_REFERENCES = 20
#: Octets of a field's end that hold those references.
_ENOUGH = 8_192
#: Brackets and words that are looked at: more than any mail needs for the few that are kept, while thousands
#: of short ones fit into those octets, and the event loop waits meanwhile.
_MOST_LOOKED_AT = 64


def parse_identifiers(text: str) -> tuple[str, ...]:
    """The identifiers of an unfolded field body in order, each in angle brackets, blanks from bad folding
    taken out.

    Identifiers without brackets, or in quotes, count where everything outside brackets looks like one; words
    of a sentence ("Your message of Tuesday", RFC 5322 §4.5.4) do not.
    """
    inside = [_BLANK.sub("", found) for found in _IDENTIFIER.findall(text)]
    bare = _SEPARATOR.split(_IDENTIFIER.sub(" ", text).strip(" ,;<>"))
    if all(_BARE.fullmatch(one.strip(_AROUND)) for one in bare):
        found = (_BLANK.sub("", within or word.strip(_AROUND)) for within, word in _IN_ORDER.findall(text))
        return tuple(f"<{one}>" for one in found if one)
    return tuple(f"<{one}>" for one in inside if one)


def parse_message_id(text: str) -> str | None:
    """The first identifier of a Message-ID, with brackets added where they are missing. Returns None when
    there is none.
    """
    found = parse_identifiers(text)
    if found:
        return found[0]
    bare = _BLANK.sub("", text).strip("<>")
    return f"<{bare}>" if bare else None


def find_message_id(fields: FieldFinder) -> str | None:
    """The Message-ID of a mail as it comes in, found fast enough for SMTP."""
    plain = fields.match(b"message-id", _PLAIN)
    if plain is not None and b"=?" not in plain[1]:
        return plain[1].decode("ascii")
    found = fields.find(b"message-id", most=1)
    if not found:
        return None
    body = b"<".join(found[0][1][:_LONGEST].split(b"<", _MOST_LOOKED_AT)[:_MOST_LOOKED_AT])
    return parse_message_id(header_text(body.strip())[0])


def find_references(fields: FieldFinder) -> tuple[str, ...]:
    """The Message-IDs of In-Reply-To and References as a mail comes in, each once, the last of them only."""
    if not (fields.may_have(b"in-reply-to") or fields.may_have(b"references")):  # most mail is no answer
        return ()
    most = _MOST_REFERENCES
    bodies = fields.find(b"in-reply-to", most=most) + fields.find(b"references", most=most)
    if not bodies:
        return ()
    # All fields share one allowance of octets, of brackets and of words.
    octets = b"\n".join(body[-_ENOUGH:] for _, body in sorted(bodies))[-_ENOUGH:]
    octets = b"<".join(octets.rsplit(b"<", _MOST_LOOKED_AT)[-_MOST_LOOKED_AT:])
    text = b" ".join(octets.rsplit(None, _MOST_LOOKED_AT)[-_MOST_LOOKED_AT:]).decode("ascii", "replace")
    if "@" in _IDENTIFIER.sub(" ", text):  # one without brackets, perhaps
        return tuple(dict.fromkeys(parse_identifiers(text)[-most:]))
    inside = [_BLANK.sub("", part) for part in _IDENTIFIER.findall(text)[-most:]]
    return tuple(dict.fromkeys(f"<{one}>" for one in inside if one))
