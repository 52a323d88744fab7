"""Lists of addresses in the DNS: is a peer's address on one? (RFC 5782)

Owns the question to a list and the reading of its codes. The text that a list gives beside its code is not
asked for: it would be a stranger's words in ours. An address of a private network is on no list, and not
asked about.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from relay.auth.answers import RecordType, Resolver, Status, reverse_name
from relay.auth.words import Result
from relay.networks import Address, is_private, parse_address

_CODES = ipaddress.IPv4Network("127.0.0.0/8")  # RFC 5782 §2.1
#: The range in which lists refuse: an open resolver, too many questions, a wrong name.
_REFUSALS = ipaddress.IPv4Network("127.255.255.0/24")
_MOST_CODES = 8  # of one list, in a result


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsblResult:
    """The result of one list: `fail` on it, `none` not on it, `temperror` and `permerror` nobody knows."""

    result: Result
    #: The list, as it is configured.
    zone: str
    #: The codes that the list gives for the address.
    codes: tuple[str, ...] = ()
    #: In words of ours, without anything that came from outside.
    reason: str


async def check_dnsbl(address: Address, zone: str, resolver: Resolver) -> DnsblResult:
    """The result of one list for the address of a peer."""
    address = parse_address(address.packed)
    if is_private(address):
        return DnsblResult(result=Result.NONE, zone=zone, reason="the address is of a private network")
    return await ask_dnsbl(address, zone, resolver)


async def ask_dnsbl(address: Address, zone: str, resolver: Resolver) -> DnsblResult:
    """The result of one list for any address."""
    name = reverse_name(address).rsplit(".", 2)[0]  # without in-addr.arpa or ip6.arpa (RFC 5782 §2.1, §2.4)
    answer = await resolver.query(f"{name}.{zone}", RecordType.A)
    if answer.status is Status.TEMPERROR:
        return DnsblResult(result=Result.TEMPERROR, zone=zone, reason=answer.reason)
    if not answer.addresses:
        return DnsblResult(result=Result.NONE, zone=zone, reason="the address is not on the list")
    if any(code in _REFUSALS for code in answer.addresses):
        reason = "the list refuses to answer: it may not be asked through this DNS server, or not so often"
        return DnsblResult(result=Result.PERMERROR, zone=zone, reason=reason)
    codes = sorted({str(code) for code in answer.addresses if code in _CODES})[:_MOST_CODES]
    if not codes:
        # A name server that answers every question has taken over the domain of a list that ended.
        return DnsblResult(result=Result.PERMERROR, zone=zone, reason="the answer is none of a list")
    return DnsblResult(result=Result.FAIL, zone=zone, codes=tuple(codes), reason="the address is on the list")
