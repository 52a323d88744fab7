"""How often a mail was passed on, and how often by us: loops are seen before 250.

Owns *hop*. Follows RFC 5321 §6.3 (count the Received lines) and §4.4.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from itertools import islice

from relay.message.headers import header_block, searchable

_RECEIVED = re.compile(rb"\nreceived[ \t]*:([^\r\n]*+(?:\r{0,8}\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)
_BY = re.compile(rb"[ \t\r\n]by\s+([^\s;()]++)", re.IGNORECASE)
#: Where in a Received line its "by" stands, if anywhere.
_NEAR = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """Received lines of a header block: all of them, and those that our own hostname wrote."""

    received: int
    ours: int


def count_hops(header_block_: bytes, *, hostname: str = "", most: int = sys.maxsize) -> Hops:
    """The hops that a header block (or the first octets of a mail) tells of; without a hostname none is ours.

    Counts no further than `most`.
    """
    ours = hostname.encode("utf-8", "replace").lower().rstrip(b".")
    received = own = 0
    for line in islice(_RECEIVED.finditer(searchable(header_block(header_block_))), most):
        received += 1
        by = _BY.search(b" " + line[1][:_NEAR]) if ours else None
        if by is not None and by[1].lower().rstrip(b".") == ours:
            own += 1
    return Hops(received=received, ours=own)
