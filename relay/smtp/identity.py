"""The checks of a mail's origin as its session asks for them: between its last octet and the commit.

Owns the resolver of a process, and the facts of a session that the checks are given. Never judges, and never
refuses: `relay.auth.origin` gives the results within `dns.deadline_seconds`, `relay.policy` says what they
mean. A fault of ours in a check is told in the log; the mail then goes on as one that was not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relay import telemetry
from relay.auth.hops import find_hop
from relay.auth.identity import Results, build_identity_attributes
from relay.auth.origin import Sent, build_terms, find_origin
from relay.auth.signed import SignedMail
from relay.config.model import Config
from relay.envelope import Envelope, Peer
from relay.networks import Address, is_private, parse_address
from relay.resolver import DnsResolver, build_resolver

#: The DNS among the services that may be away.
DNS = "dns"
#: A mail in memory is hashed on the loop up to this size, and in a thread beyond (250 µs a canonical form).
HASHED_AT_ONCE_BYTES = 65_536


class IdentityChecks:
    """The checks under one configuration."""

    def __init__(self, config: Config, resolver: DnsResolver) -> None:
        self.dns = config.dns
        self.resolver = resolver
        self._terms = build_terms(config)

    @property
    def behind_ours(self) -> bool:
        """Returns whether systems of ours stand in front, so that trusted listeners make checks, too."""
        return bool(self._terms.relays)

    def _is_judged(self, peer: Address | None, front_end: str) -> bool:
        """Returns whether mail of a trusted listener is checked: that of a server of ours in front, and that
        of a client which a front-end has named, but not that of our own systems.
        """
        if peer is None:
            return False
        if any(peer in network for network in self._terms.relays):
            return True
        return bool(front_end) and not is_private(peer)

    @property
    def seconds(self) -> float:
        """The most that the checks of one mail may take."""
        return self._terms.seconds

    async def find_results(self, envelope: Envelope, mail: SignedMail) -> Mapping[str, str]:
        """The results of the checks of a mail, as attributes of its contact by name."""
        peer = _read_address(envelope.peer)
        if envelope.peer.role == "trusted" and not self._is_judged(peer, envelope.peer.front_end):
            return {}
        sent = Sent(
            peer=peer,
            front_end=envelope.peer.front_end,
            helo=envelope.peer.helo or "",
            reverse_path=envelope.reverse_path,
            mail=mail,
            received_at=envelope.received_at,
        )
        try:
            found = await find_origin(sent, self.resolver.within(self.seconds), self._terms)
            attributes = found.attributes
        except Exception:  # noqa: BLE001 - a fault of ours in a check is told, and is no reason to refuse a mail
            telemetry.fault_caught(where="smtp.identity")
            attributes = build_identity_attributes(Results())
        telemetry.identity_checked(results=attributes)
        return attributes

    def judge_as(self, envelope: Envelope, mail: SignedMail) -> Envelope:
        """The envelope with the hop that is judged as its peer, for somebody else who judges."""
        if not self.behind_ours:
            return envelope
        hop = find_hop(
            _read_address(envelope.peer), envelope.peer.helo or "", mail.header, self._terms.relays
        )
        address = "" if hop.peer is None else str(hop.peer)
        return replace(envelope, peer=replace(envelope.peer, address=address, helo=hop.helo))

    @property
    def away(self) -> Mapping[str, str]:
        """The DNS, while none of its servers answers, and why."""
        return {DNS: why} if (why := self.resolver.away) else {}

    async def close(self) -> None:
        """End all questions that are under way."""
        await self.resolver.close()


def build_checks(config: Config, earlier: IdentityChecks | None = None) -> IdentityChecks | None:
    """The checks that a configuration asks for. Returns None where it has them switched off.

    The resolver of `earlier` checks goes on, with all that it knows, if it asks the same servers.
    """
    if config.identity.enabled and earlier is not None and earlier.dns == config.dns:
        return IdentityChecks(config, earlier.resolver)
    if earlier is not None:
        earlier.resolver.retire()
    telemetry.dns_named()
    if not config.identity.enabled:
        return None
    return IdentityChecks(config, build_resolver(config.dns, telemetry.dns_moved))


def _read_address(peer: Peer) -> Address | None:
    """The address of the peer. Returns None for one that XCLIENT left unsaid, or a socket without one."""
    try:
        return parse_address(peer.address)
    except ValueError:
        return None
