"""The checks of a mail's origin as its session asks for them: between its last octet and the commit.

Owns the resolver of a process, and the facts of a session that the checks are given. Never judges, and never
refuses: `relay.auth.check` gives the results within `dns.deadline_seconds`, `relay.policy` says what they
mean. A fault of ours in a check is told in the log; the mail then goes on as one that was not checked.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay import telemetry
from relay.auth.check import MailFacts, check
from relay.auth.hops import find_hop, name_hop
from relay.auth.identity import Results, build_identity_attributes
from relay.auth.signed import SignedMail
from relay.config.model import Config
from relay.config.words import split_server
from relay.envelope import Envelope, Peer
from relay.networks import Address, parse_address, parse_network
from relay.resolver import DnsResolver

#: A mail in memory is hashed on the loop up to this size, and in a thread beyond (250 µs a canonical form).
HASHED_AT_ONCE_BYTES = 65_536


class IdentityChecks:
    """The checks under one configuration."""

    def __init__(self, config: Config, resolver: DnsResolver) -> None:
        self.dns = config.dns
        self.resolver = resolver
        self._sealers = config.identity.trusted_sealers
        self._relays = tuple(map(parse_network, config.identity.trusted_relays))

    @property
    def behind_ours(self) -> bool:
        """Returns whether systems of ours stand in front, so that trusted listeners make checks, too."""
        return bool(self._relays)

    def _is_ours(self, peer: Address) -> bool:
        return any(peer in network for network in self._relays)

    @property
    def seconds(self) -> float:
        """The most that the checks of one mail may take."""
        return self.dns.deadline_seconds

    async def find_results(self, envelope: Envelope, mail: SignedMail) -> Mapping[str, str]:
        """The results of the checks of a mail, as attributes of its contact by name."""
        peer = _read_address(envelope.peer)
        if envelope.peer.role == "trusted" and (peer is None or not self._is_ours(peer)):
            return {}
        hop = find_hop(peer, envelope.peer.helo or "", mail.header, self._relays)
        facts = MailFacts(
            peer=hop.peer,
            helo=hop.helo,
            reverse_path=envelope.reverse_path,
            mail=mail,
            received_at=envelope.received_at,
        )
        try:
            results = await check(
                facts,
                self.resolver.within(self.seconds),
                seconds=self.seconds,
                trusted_sealers=self._sealers,
            )
        except Exception:  # noqa: BLE001 - a fault of ours in a check is told, and is no reason to refuse a mail
            telemetry.fault_caught(where="smtp.identity")
            results = Results()
        attributes = {**build_identity_attributes(results), **name_hop(hop)}
        telemetry.identity_checked(results=attributes)
        return attributes

    async def close(self) -> None:
        """End all questions that are under way."""
        await self.resolver.close()


def build_checks(config: Config, earlier: IdentityChecks | None = None) -> IdentityChecks | None:
    """The checks that a configuration asks for. Returns None where it has them switched off.

    The resolver of `earlier` checks goes on, with all that it knows, if it asks the same servers.
    """
    if not config.identity.enabled:
        return None
    if earlier is not None and earlier.dns == config.dns:
        return IdentityChecks(config, earlier.resolver)
    servers = tuple(map(split_server, config.dns.servers))
    return IdentityChecks(config, DnsResolver(servers=servers, timeout_seconds=config.dns.timeout_seconds))


def _read_address(peer: Peer) -> Address | None:
    """The address of the peer. Returns None for one that XCLIENT left unsaid, or a socket without one."""
    try:
        return parse_address(peer.address)
    except ValueError:
        return None
