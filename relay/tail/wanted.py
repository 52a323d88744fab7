"""The sessions that a reader of transcripts wants, and the line by which it says so.

Owns the comparison of peers and recipients. Values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from relay.domains import normalise_address, normalise_domain, strip_brackets
from relay.networks import Network, parse_address, parse_network

#: Octets of the line in which a reader says what it wants.
WANTED_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The sessions of some peers, or for some recipients; all of them where nothing is named.

    A session for a recipient is wanted from its RCPT on, and is then shown from its beginning.
    """

    peers: tuple[Network, ...] = ()
    #: Whole addresses and "@domain", as `normalise_recipient` has them.
    recipients: frozenset[str] = frozenset()

    def has_peer(self, address: str) -> bool:
        """Returns whether the sessions of a peer are wanted, whomever they are for."""
        if not self.peers:
            return True
        try:
            peer = parse_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.peers)

    def has_recipient(self, address: str) -> bool:
        """Returns whether a session with this RCPT is wanted."""
        whole = normalise_address(address)
        return whole in self.recipients or f"@{whole.rpartition('@')[2]}" in self.recipients


#: Every session.
EVERYTHING = Wanted()


def normalise_recipient(text: str) -> str:
    """A whole address, or "@" and a domain, in the form in which recipients are compared.

    Raises:
        ValueError: the text is neither.
    """
    local, at, domain = strip_brackets(text).rpartition("@")
    if not at or not domain:
        raise ValueError(f'"{text}" is neither an address nor "@" and a domain')
    return normalise_address(f"{local}@{domain}") if local else f"@{normalise_domain(domain)}"


def build_wanted(*, peers: Iterable[str] = (), recipients: Iterable[str] = ()) -> Wanted:
    """The sessions that these networks and recipients name.

    Raises:
        ValueError: a text names no network, no address and no domain.
    """
    return Wanted(
        peers=tuple(parse_network(text) for text in peers),
        recipients=frozenset(normalise_recipient(text) for text in recipients),
    )


def encode(wanted: Wanted) -> bytes:
    """The line that asks for these sessions, its line end included."""
    return orjson.dumps({"peers": [*map(str, wanted.peers)], "recipients": sorted(wanted.recipients)}) + b"\n"


def decode(line: bytes) -> Wanted:
    """The sessions that a line asks for.

    Raises:
        ValueError: the line asks for nothing that can be.
    """
    asked: Any = orjson.loads(line)
    try:
        return build_wanted(
            peers=[str(each) for each in asked.get("peers", ())],
            recipients=[str(each) for each in asked.get("recipients", ())],
        )
    except (AttributeError, TypeError) as exc:
        raise ValueError(f"no question for sessions: {exc}") from exc
