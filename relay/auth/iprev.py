"""The name of a peer: does the name of its address lead back to the address? (iprev, RFC 8601 §3)

Owns the walk from an address to its names and back, for SPF's `ptr` as well. Never raises for an answer of
DNS.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.auth.answers import RecordType, Resolver, Status, reverse_name
from relay.auth.spf_result import clean_host
from relay.auth.words import Result
from relay.networks import Address, parse_address

NAMES = 10  # RFC 7208 §4.6.4 for the same walk


@dataclass(frozen=True, slots=True, kw_only=True)
class IprevResult:
    """The result of iprev."""

    result: Result
    address: Address
    #: The name that leads back to the address; "" where none does.
    name: str
    #: In words of ours, without anything that came from outside.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of an address."""

    #: The answer for the PTR records: they were found, are not there, or could not be asked for.
    status: Status
    #: The names that lead back to the address, in the order of the PTR records; the first ten count.
    validated: tuple[str, ...] = ()
    #: True when a name was left out because DNS failed for it.
    failed: bool = False


async def find_names(address: Address, resolver: Resolver) -> Names:
    """Find the names of an address that lead back to it."""
    pointers = await resolver.query(reverse_name(address), RecordType.PTR)
    family = RecordType.A if address.version == 4 else RecordType.AAAA
    validated, failed = [], False
    for name in pointers.names[:NAMES]:
        answer = await resolver.query(name, family)
        failed |= answer.status is Status.TEMPERROR
        if address in answer.addresses:
            validated.append(name)
    return Names(status=pointers.status, validated=tuple(validated), failed=failed)


async def check_iprev(address: Address, resolver: Resolver) -> IprevResult:
    """The result for the address of a peer. Words by RFC 8601 §2.7.3: no name at all is `permerror`."""
    address = parse_address(address.packed)
    names = await find_names(address, resolver)
    hosts = [host for name in names.validated if (host := clean_host(name))]
    if hosts:
        result, reason = Result.PASS, "the name of the address leads back to it"
    elif names.status is Status.TEMPERROR or names.failed:
        result, reason = Result.TEMPERROR, "the DNS did not answer"
    elif names.status is Status.FOUND:
        result, reason = Result.FAIL, "no name of the address leads back to it"
    else:
        result, reason = Result.PERMERROR, "the address has no name"
    return IprevResult(result=result, address=address, name=hosts[0] if hosts else "", reason=reason)
