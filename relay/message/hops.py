"""The hops of a mail, all and our own, counted before 250 so that loops are seen.

Owns *hop*. Follows RFC 5321 §6.3 (count the Received lines) and §4.4.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from relay.message.headers import LOOKS, FieldFinder

_BY = re.compile(rb"(?:^|\s)by\s+([^\s;()]++)", re.IGNORECASE)


class Hops(NamedTuple):
    """The Received fields of a header block: all of them, and those that our own hostname wrote."""

    received: int
    ours: int


_NONE = Hops(received=0, ours=0)


def find_hops(fields: FieldFinder, *, hostname: str = "", most: int = LOOKS) -> Hops:
    """The hops in a header, counted up to `most`; without a hostname none counts as ours."""
    lines = fields.find(b"received", most=most)
    if not lines:
        return _NONE
    ours = hostname.encode("utf-8", "replace").lower().rstrip(b".")
    own = sum(_is_by(line, ours) for _, line in lines if ours and ours in line.lower())
    return Hops(received=len(lines), ours=own)


def _is_by(line: bytes, host: bytes) -> bool:
    """Returns whether a Received field was written by this host, its name in lower case (RFC 5321 §4.4,
    By-domain).
    """
    by = _BY.search(line)
    return by is not None and by[1].lower().rstrip(b".") == host
