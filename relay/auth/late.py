"""The results of checks that were not ready by their deadline, or that met a fault of ours.

Owns what stands in the place of a result: `temperror`, with the domain or address that was asked about where
it is known. Never waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.auth.arc import ArcResult
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dnsbl import DnsblResult
from relay.auth.iprev import IprevResult
from relay.auth.signature import Signature
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Result
from relay.networks import Address

_LATE = "the check was not ready in time"
LATE_ARC = ArcResult(result=Result.TEMPERROR, reason=_LATE)


def build_late_spf(identity: SpfIdentity) -> SpfResult:
    """The result of SPF for one of its identities."""
    return SpfResult(result=Result.TEMPERROR, identity=identity, domain="", reason=_LATE)


def build_late_iprev(peer: Address) -> IprevResult:
    """The result of iprev."""
    return IprevResult(result=Result.TEMPERROR, address=peer, name="", reason=_LATE)


def build_late_dnsbl(zone: str) -> DnsblResult:
    """The result of one list."""
    return DnsblResult(result=Result.TEMPERROR, zone=zone, reason=_LATE)


def build_late_dmarc(domains: Sequence[str]) -> DmarcResult:
    """The result of DMARC for the authors' domains."""
    return DmarcResult(result=Result.TEMPERROR, reason=_LATE, domain=domains[0] if domains else "")


def build_late_dkim(signatures: Sequence[Signature]) -> tuple[DkimResult, ...]:
    """The results of DKIM, one for each signature."""
    return tuple(
        DkimResult(
            result=Result.TEMPERROR,
            reason=_LATE,
            domain=each.domain,
            selector=each.selector,
            identity=each.identity,
            algorithm=each.algorithm.decode(),
        )
        for each in signatures
    )
