"""The hop to judge: the first server in a mail's way that is none of ours, behind our own systems.

Owns the reading of Received fields that our own systems wrote (RFC 5321 §4.4), in the forms of the common
mail servers. A field counts only while the server that wrote it, the hop above, is ours; all below is a
stranger's word, and never read. In doubt nobody is judged. Linear in the octets, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.auth.fields import HEADER_BYTES, FieldFinder
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
#: An address, perhaps with a scope, as Exchange writes that of a link.
_ADDRESS = r"([0-9A-Fa-f.:]{2,45})(?:%[0-9A-Za-z]{1,16})?"
_BRACKETED = re.compile(rf"\[(?:IPv6:)?{_ADDRESS}\]", re.IGNORECASE)
_BARE = re.compile(rf"\({_ADDRESS}\)")
_BY = re.compile(rf"\sby\s++([^\s;()]{{1,255}})(?:\s++[(\[]{{1,2}}{_ADDRESS}[)\]])?", re.IGNORECASE)
#: A step within one system, as Google and qmail write it where they had the mail over the network. "with
#: HTTP", "from userid" and "invoked by uid" are none: there a mail begins, and its header is its writer's.
_WITHIN = re.compile(
    r"by\s++[^\s;()]++\s++(?:\([^()]{0,200}\)\s++)?with\s++(?:E?SMTP|LMTP)S?A?\b"
    r"|\(qmail\s++[0-9]{1,10}\s++invoked from network\)",
    re.IGNORECASE,
)
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
    #: The rest of the header, from that field on, which a stranger may have written, empty where the header
    #: is too long; and the name that the server gives itself there, in lower case.
    below: bytes = b""
    by: str = ""


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
    # Our own fields stand at the top; the look at a megabyte would hold up the event loop.
    is_whole = len(header) <= HEADER_BYTES
    finder = FieldFinder(header[:HEADER_BYTES])
    place = 2  # that of the first line
    reason, text, found = "", "", None
    for number, (at, field) in enumerate(finder.locate(b"received", looks=_MOST_HOPS), start=1):
        place = at
        text = _FOLDS.sub(" ", field.value[:_MOST_BYTES].decode("latin-1")).strip()
        if _WITHIN.match(text) is not None:
            continue
        found = read_client(text)
        if found is None:
            reason = f"not judged: Received field {number}, by our {last}, names no address"
            break
        address, name = found
        if _stays_within(address, text):
            found = None
        elif not _is_ours(address, ours):
            who = f"{address} ({show(name)})" if name else f"{address}"
            reason = f"judged as of {who}, which gave the mail to our {last}"
            break
        else:
            last, found = address, None
    judged, name = found or (None, "")
    by = _BY.search(f" {text}")
    return Hop(
        peer=judged,
        helo=name,
        reason=reason or f"not judged: the mail comes from our own {last}",
        above=finder.above(place),
        below=finder.below(place) if is_whole else b"",
        by="" if by is None else by[1].lower().rstrip("."),
    )


def _stays_within(address: Address, text: str) -> bool:
    """Returns whether a server had the mail from its own machine: over loopback, as a content filter gives it
    back, or from the address that the server gives as its own.
    """
    if address.is_loopback:
        return True
    by = _BY.search(f" {text}")
    if by is None or by[2] is None:
        return False
    try:
        return parse_address(by[2]) == address
    except ValueError:
        return False


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
