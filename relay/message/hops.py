"""How often a mail was passed on, and how often by us: loops are seen before 250.

Owns *hop*. Follows RFC 5321 §6.3 (count the Received lines) and §4.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.message.headers import header_block

_RECEIVED = re.compile(rb"(?:^|[\r\n])received[ \t]*:([^\r\n]*+(?:\r{0,8}\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)
_BY = re.compile(rb"(?:^|\s)by\s+([^\s;()]++)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """Received lines of a header block: all of them, and those that our own hostname wrote."""

    received: int
    ours: int


def count_hops(header_block_: bytes, *, hostname: str = "") -> Hops:
    """The hops that a header block (or the first octets of a mail) tells of; without a hostname none is ours."""
    ours = hostname.encode("utf-8", "replace").lower().rstrip(b".")
    received = own = 0
    for line in _RECEIVED.finditer(header_block(header_block_)):
        received += 1
        if ours and (by := _BY.search(line[1])) is not None and by[1].lower().rstrip(b".") == ours:
            own += 1
    return Hops(received=received, ours=own)
