"""The DNS as `relay check` meets it: each server is asked one question, and each list two.

Owns those examinations. Mail flows without DNS, so nothing here is a fail.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

from relay.auth.answers import RecordType, Status
from relay.auth.dnsbl import DnsblResult, ask_dnsbl
from relay.auth.words import Result
from relay.check.finding import Finding, ok, warn
from relay.config import Config
from relay.resolver import DnsResolver, build_resolver

_LISTED, _UNLISTED = ipaddress.IPv4Address("127.0.0.2"), ipaddress.IPv4Address("127.0.0.1")
_WITHOUT = "SPF, DKIM and DMARC of every mail would be temperror"


def examine_dns(config: Config) -> Iterator[Finding]:
    """Examine whether each DNS server answers, and whether there is one."""
    servers = build_resolver(config.dns).servers
    if not servers:
        yield warn("dns", f"/etc/resolv.conf names no server, and {_WITHOUT}; set dns.servers")
    for (host, port), status in zip(servers, asyncio.run(_ask_all(config, servers)), strict=True):
        subject = f"dns {host}" if port == 53 else f"dns {host} port {port}"
        if status is Status.TEMPERROR:
            yield warn(
                subject,
                f"gives no answer for {config.hostname} within dns.timeout_seconds; "
                f"if no other does, {_WITHOUT}; start it, or mend dns.servers",
            )
        else:
            yield ok(subject, "answers")


def examine_lists(config: Config) -> Iterator[Finding]:
    """Examine whether each list in the DNS has the entry that every list has, and no other (RFC 5782 §5)."""
    results = asyncio.run(_try_lists(config)) if config.identity.dnsbl else []
    for zone, (entry, absent) in zip(config.identity.dnsbl, results, strict=True):
        subject = f"list {zone}"
        if entry.result is Result.FAIL and absent.result is Result.NONE:
            yield ok(subject, "answers as a list does")
        elif entry.result is Result.FAIL:
            yield warn(subject, f"lists 127.0.0.1, as no list does ({absent.reason}); remove it")
        else:
            yield warn(
                subject, f"does not list 127.0.0.2, as every list does ({entry.reason}); mend or remove it"
            )


async def _try_lists(config: Config) -> list[tuple[DnsblResult, DnsblResult]]:
    resolver = build_resolver(config.dns)
    return [
        (await ask_dnsbl(_LISTED, zone, resolver), await ask_dnsbl(_UNLISTED, zone, resolver))
        for zone in config.identity.dnsbl
    ]


async def _ask_all(config: Config, servers: tuple[tuple[str, int], ...]) -> list[Status]:
    return await asyncio.gather(*(_ask(config, server) for server in servers))


async def _ask(config: Config, server: tuple[str, int]) -> Status:
    resolver = DnsResolver(servers=[server], timeout_seconds=config.dns.timeout_seconds)
    return (await resolver.query(config.hostname, RecordType.A)).status
