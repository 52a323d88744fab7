"""The origin of one mail, as the wire and the dry run both ask for it: who is judged, and what is found.

Owns the order: the hop that is judged, then all checks, then the attributes of a contact that their results
make. Never decides what a result means: `relay.policy` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from relay.auth.answers import Resolver
from relay.auth.check import MailFacts, check
from relay.auth.hops import find_hop, name_hop
from relay.auth.identity import Results, build_identity_attributes
from relay.auth.signed import SignedMail
from relay.auth.upstream import Upstream, lift_by_upstream, read_upstream
from relay.config.model import Config
from relay.networks import Address, Network, parse_network


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginTerms:
    """The keys of a configuration that say how the origin of mail is checked."""

    #: The most that the checks of one mail may take.
    seconds: float
    #: The networks of our own servers in front.
    relays: tuple[Network, ...]
    sealers: tuple[str, ...]
    #: Lists of addresses in the DNS.
    dnsbl: tuple[str, ...]
    #: The preset of the gateway in front; None where nothing of that kind is believed.
    upstream: str | None
    #: The gateway takes fields of that kind out of strangers' mail, so that they count wherever they stand.
    upstream_anywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A mail, and what its session says of where it comes from."""

    peer: Address | None
    helo: str
    #: The address of the front-end of ours that named the peer; "" where the peer connected itself.
    front_end: str = ""
    #: None for the null reverse-path.
    reverse_path: str | None
    mail: SignedMail
    #: Aware.
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was found out about the origin of a mail."""

    results: Results
    #: The attributes of a contact, by name.
    attributes: Mapping[str, str]


def build_terms(config: Config) -> OriginTerms:
    """The terms of a configuration."""
    identity = config.identity
    return OriginTerms(
        seconds=config.dns.deadline_seconds,
        relays=tuple(map(parse_network, identity.trusted_relays)),
        sealers=identity.trusted_sealers,
        dnsbl=identity.dnsbl,
        upstream=identity.upstream,
        upstream_anywhere=identity.upstream_fields == "anywhere",
    )


async def find_origin(sent: Sent, resolver: Resolver, terms: OriginTerms) -> Found:
    """Find the origin of a mail, within the seconds of the terms."""
    hop = find_hop(sent.peer, sent.helo, sent.mail.header, terms.relays, front_end=sent.front_end)
    facts = MailFacts(
        peer=hop.peer,
        helo=hop.helo,
        reverse_path=sent.reverse_path,
        mail=sent.mail,
        received_at=sent.received_at,
    )
    results = await check(
        facts, resolver, seconds=terms.seconds, trusted_sealers=terms.sealers, dnsbl=terms.dnsbl
    )
    if terms.upstream is not None and hop.above is not None:
        below = hop.below if terms.upstream_anywhere else b""
        results = _hear(results, read_upstream(terms.upstream, hop.above, below=below, by=hop.by))
    return Found(results=results, attributes={**build_identity_attributes(results), **name_hop(hop)})


def _hear(results: Results, said: Upstream) -> Results:
    """The results after the gateway in front was heard."""
    dmarc = None if results.dmarc is None else lift_by_upstream(results.dmarc, said)
    return replace(results, upstream=said, dmarc=dmarc)
