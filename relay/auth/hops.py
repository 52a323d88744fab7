"""The hop to judge: the first server in a mail's way that is none of ours, behind our own systems.

Owns the reading of Received fields that our own systems wrote (RFC 5321 §4.4), in the forms of the common
mail servers. A field counts only while the server that wrote it, the hop above, is ours; all below is a
stranger's word, and never read. In doubt nobody is judged. Linear in the octets, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.auth.fields import FieldFinder
from relay.auth.words import show
from relay.networks import Address, Network, parse_address

#: Hops of our own that are passed over; a mail of ours has few.
_MOST_HOPS = 30
#: Octets of a field that are read.
_MOST_BYTES = 2_048
_FROM = re.compile(r"from\s++(\S++)(.*?)(?:\s+by\s|$)", re.IGNORECASE | re.DOTALL)
#: The name that a peer gave of itself, as Exim and qmail write it: an address there is the peer's claim.
_CLAIM = re.compile(r"\b(?:helo|ehlo|ident)(?:=|\s++)[^\s()]++", re.IGNORECASE)
_HELO = re.compile(r"\b(?:helo|ehlo)(?:=|\s++)([^\s()]++)", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]{2,45})\]", re.IGNORECASE)
_BARE = re.compile(r"\(([0-9A-Fa-f.:]{2,45})\)")
_FOLDS = re.compile(r"\s++")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """The server that is judged for a mail."""

    #: None where the mail came from within our own systems, or a field of theirs could not be read.
    peer: Address | None
    helo: str
    #: The reason in words, for an agent and an operator; "" where the peer itself is judged.
    reason: str = ""
    #: The part of the header above the lowest Received field that our own systems wrote; None where the peer
    #: is none of ours. Nobody but our own systems can have written it.
    above: bytes | None = None


def find_hop(
    peer: Address | None, helo: str, header: bytes, ours: Sequence[Network], *, front_end: str = ""
) -> Hop:
    """The hop to judge: the peer where it is none of ours, else the first that gave the mail to one of ours.

    `header` is that of the mail without our own Received field; `front_end` is the system of ours that named
    the peer (PROXY, XCLIENT, XFORWARD), "" where the peer connected itself.
    """
    if peer is None or not _is_ours(peer, ours):
        named = (
            f"judged as of {peer}, as our front-end {show(front_end)} named it" if front_end and peer else ""
        )
        return Hop(peer=peer, helo=helo, reason=named)
    last = peer
    finder = FieldFinder(header)
    place = 2  # that of the first line
    for number, (at, field) in enumerate(finder.locate(b"received", looks=_MOST_HOPS), start=1):
        place = at
        text = _FOLDS.sub(" ", field.value[:_MOST_BYTES].decode("latin-1")).strip()
        found = read_client(text)
        if found is None:
            reason = f"not judged: Received field {number}, by our {last}, names no address"
            return Hop(peer=None, helo="", reason=reason, above=finder.above(place))
        address, name = found
        # A content filter on the same machine gives mail back over loopback.
        if not address.is_loopback and not _is_ours(address, ours):
            who = f"{address} ({show(name)})" if name else f"{address}"
            reason = f"judged as of {who}, which gave the mail to our {last}"
            return Hop(peer=address, helo=name, reason=reason, above=finder.above(place))
        last = last if address.is_loopback else address
    reason = f"not judged: the mail comes from our own {last}"
    return Hop(peer=None, helo="", reason=reason, above=finder.above(place))


def read_client(text: str) -> tuple[Address, str] | None:
    """The address that handed a mail over, and its name in HELO, from the value of a Received field.

    Returns None where there is no address that the writing server saw for itself.
    """
    match = _FROM.match(text)
    if match is None:
        return None
    word, rest = match[1], match[2]
    seen = _CLAIM.sub("", rest)
    claimed = _HELO.search(rest)
    found = [*_BRACKETED.findall(seen), *_BARE.findall(seen)]
    # Exim writes an address without a name in the place of the name, and the claim behind it; elsewhere that
    # place has the claim.
    if not found and rest.startswith((" (helo=", " (ident=")) and (literal := _BRACKETED.fullmatch(word)):
        found = [literal[1]]
    if not found:
        return None
    try:
        address = parse_address(found[-1])
    except ValueError:
        return None
    return address, claimed[1] if claimed is not None else word


def name_hop(hop: Hop) -> Mapping[str, str]:
    """The attribute of a contact that says which hop was judged; none where it is the peer itself."""
    return {"relay_hop_detail": hop.reason} if hop.reason else {}


def _is_ours(address: Address, ours: Sequence[Network]) -> bool:
    return any(address in network for network in ours)
