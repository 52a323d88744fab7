"""The author of a mail as it comes in: the first address of its From header, found fast enough for SMTP.

Owns the bounds of that look. Never proves who wrote the mail: the header is a claim. Follows RFC 5322 §3.6.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from relay.message.addresses import parse_addresses
from relay.message.headers import FieldFinder
from relay.message.words import raw_text

#: Octets of the header that are read (RFC 5322 §2.1.1 allows 998 in a line): the event loop waits meanwhile.
_ENOUGH = 1_024
#: RFC 5321 §4.5.3.1: 64 octets, an "@", 255 octets.
_LONGEST = 320
_ADDRESS = rb"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255})"
#: The form of nearly every From field, behind its name: no fold, no encoded word, no comment.
_PLAIN = re.compile(
    rb'[ \t]{0,8}+:[ \t]{0,8}+(?:(?:"[^"\\\r\n]{0,600}+"[ \t]{0,8}+|[^"<>(),:;\\@\r\n]{0,600}+)<'
    + _ADDRESS
    + rb">|"
    + _ADDRESS
    + rb")\r\n(?![ \t])"
)


def find_author(fields: FieldFinder) -> str | None:
    """The address of the first author. Returns None where there is none, or none with a domain."""
    plain = fields.match(b"from", _PLAIN)
    if plain is not None and b"=?" not in (address := plain[1] or plain[2]):
        return address.decode("ascii").rstrip(".")
    found = fields.find(b"from", most=1)
    if not found:
        return None
    body = found[0][1][:_ENOUGH].strip(b" \t\r\n")
    for mailbox in parse_addresses(raw_text(body)):
        if "@" in mailbox.address:
            return mailbox.address if len(mailbox.address) <= _LONGEST else None
    return None


#: Authors that are looked at, and octets of From fields: a mail has one, rarely two.
_MOST_AUTHORS = 20
_MOST_OCTETS = 65_536


def find_author_fields(fields: FieldFinder) -> tuple[bytes, ...]:
    """The bodies of all From fields, as far as `find_authors` reads them."""
    return tuple(body[:_MOST_OCTETS] for _, body in fields.find(b"from", most=_MOST_AUTHORS))


def find_authors(bodies: Sequence[bytes]) -> tuple[str, ...]:
    """The addresses of all authors, each once, in their order: an agent may be shown any of them."""
    found: dict[str, None] = {}
    room = _MOST_OCTETS
    for body in bodies:
        if room <= 0:
            break
        text = raw_text(body[:room].strip(b" \t\r\n"))
        room -= len(body)
        for mailbox in islice(parse_addresses(text), _MOST_AUTHORS):
            if "@" in mailbox.address and len(mailbox.address) <= _LONGEST:
                found[mailbox.address] = None
    return tuple(islice(found, _MOST_AUTHORS))
