"""The DNS servers as `relay check` meets them: each is asked one question.

Owns that examination. Mail flows without DNS, so nothing here is a fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from relay.auth.answers import RecordType, Status
from relay.check.finding import Finding, ok, warn
from relay.config import Config
from relay.config.words import split_server
from relay.resolver import DnsResolver

_WITHOUT = "SPF, DKIM and DMARC of every mail would be temperror"


def examine_dns(config: Config) -> Iterator[Finding]:
    """Examine whether each DNS server answers, and whether there is one."""
    servers = DnsResolver(servers=tuple(map(split_server, config.dns.servers))).servers
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


async def _ask_all(config: Config, servers: tuple[tuple[str, int], ...]) -> list[Status]:
    return await asyncio.gather(*(_ask(config, server) for server in servers))


async def _ask(config: Config, server: tuple[str, int]) -> Status:
    resolver = DnsResolver(servers=[server], timeout_seconds=config.dns.timeout_seconds)
    return (await resolver.query(config.hostname, RecordType.A)).status
