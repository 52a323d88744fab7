"""Our own domains in the DNS, as `relay check` meets them, with the records to publish where one is missing.

Owns those examinations: MX, SPF and DMARC of each domain that a route takes mail for, MTA-STS and TLSA beside
them, and the names and addresses of the host itself. Mail may come by another way (a gateway in front, a
legacy system), so nothing here is a fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from relay.auth.answers import Answer, RecordType, Resolver, Status
from relay.auth.dmarc_record import Policy, find_record
from relay.auth.iprev import check_iprev
from relay.auth.spf_record import select_records
from relay.auth.words import Result
from relay.check.finding import Finding, ok, warn
from relay.config import Config
from relay.domains import encode_domain
from relay.resolver import build_resolver

#: Domains that are looked at, each with five questions: an operator of more looks at a sample.
MOST_DOMAINS = 50
_UNANSWERED = "no answer from the DNS for its {kind} record; ask again later"


def examine_domains(config: Config) -> Iterator[Finding]:
    """Examine the DNS of the host and of the domains of all routes, where a listener faces the internet."""
    if any(listener.role == "mx" for listener in config.listeners):
        yield from asyncio.run(_examine(config))


async def _examine(config: Config) -> list[Finding]:
    resolver = build_resolver(config.dns)
    try:
        found = [each async for each in _examine_host(config.hostname, resolver)]
        domains = list_domains(config)
        for domain in domains[:MOST_DOMAINS]:
            found += [each async for each in _examine_domain(domain, config.hostname, resolver)]
        if len(domains) > MOST_DOMAINS:
            found.append(
                warn("domains", f"{len(domains)} domains have routes; the first {MOST_DOMAINS} were examined")
            )
        return found
    finally:
        await resolver.close()


def list_domains(config: Config) -> list[str]:
    """The domains of all routes as A-labels, each once, in the order of the routes."""
    named = (pattern.rpartition("@")[2] for route in config.routes for pattern in route.match)
    return list(dict.fromkeys(encode_domain(domain) or domain for domain in named))


async def _examine_host(hostname: str, resolver: Resolver) -> AsyncIterator[Finding]:
    """The addresses of the host, and their names, by which other servers know it."""
    subject = f"host {hostname}"
    answers = [await resolver.query(hostname, kind) for kind in (RecordType.A, RecordType.AAAA)]
    addresses = [address for answer in answers for address in answer.addresses]
    if not addresses:
        if any(answer.status is Status.TEMPERROR for answer in answers):
            yield warn(subject, _UNANSWERED.format(kind="address"))
        else:
            yield warn(subject, f'has no address in the DNS; publish "{hostname}. A <its public address>"')
    for address in addresses:
        result = await check_iprev(address, resolver)
        if result.result is Result.PASS:
            yield ok(subject, f"is {address}, whose name leads back to it")
        else:
            yield warn(
                subject,
                f"is {address}, but {result.reason}; have its owner publish "
                f'"{address.reverse_pointer}. PTR {hostname}."',
            )
    policy = await resolver.query(f"_25._tcp.{hostname}", RecordType.TLSA)
    if policy.status is Status.FOUND:
        yield ok(subject, "has a TLSA record: renew it with each new key of the certificate (RFC 7672)")


async def _examine_domain(domain: str, hostname: str, resolver: Resolver) -> AsyncIterator[Finding]:
    """The records that lead mail here, and those by which others tell the domain's own mail."""
    subject = f"domain {domain}"
    yield _judge_mx(subject, domain, hostname, await resolver.query(domain, RecordType.MX))
    yield _judge_spf(subject, domain, await resolver.query(domain, RecordType.TXT))
    yield _judge_dmarc(subject, domain, await resolver.query(f"_dmarc.{domain}", RecordType.TXT))
    sts = await resolver.query(f"_mta-sts.{domain}", RecordType.TXT)
    if any(text.startswith(b"v=STSv1") for text in sts.texts):
        yield ok(
            subject, f"has MTA-STS: its policy must name {hostname}, with a certificate that senders trust"
        )


def _judge_mx(subject: str, domain: str, hostname: str, answer: Answer) -> Finding:
    record = f'"{domain}. MX 10 {hostname}."'
    if answer.status is Status.TEMPERROR:
        return warn(subject, _UNANSWERED.format(kind="MX"))
    if hostname.lower() in answer.names:
        return ok(subject, f"MX leads to {hostname}")
    if answer.names:
        return warn(
            subject,
            f"MX leads elsewhere, not to {hostname}; well if that host sends the mail on, else publish {record}",
        )
    return warn(subject, f"has no MX record; publish {record}")


def _judge_spf(subject: str, domain: str, answer: Answer) -> Finding:
    if answer.status is Status.TEMPERROR:
        return warn(subject, _UNANSWERED.format(kind="TXT"))
    match len(select_records(answer.texts)):
        case 0:
            return warn(
                subject,
                "has no SPF record, so anybody's server may use its name; publish "
                f'"{domain}. TXT v=spf1 include:amazonses.com -all", with all others that send for it',
            )
        case 1:
            return ok(subject, "has an SPF record")
        case _:
            return warn(subject, "has several SPF records, which counts as none (RFC 7208 §4.5); join them")


def _judge_dmarc(subject: str, domain: str, answer: Answer) -> Finding:
    if answer.status is Status.TEMPERROR:
        return warn(subject, _UNANSWERED.format(kind="DMARC"))
    record = find_record(answer.texts)
    if record is None or record.unusable:
        return warn(
            subject,
            "has no DMARC record of its own, so mail that forges it is delivered unless a domain above it has "
            f'one; publish "_dmarc.{domain}. TXT v=DMARC1; p=quarantine"',
        )
    if record.policy is Policy.NONE:
        return warn(
            subject, "has a DMARC record that asks for nothing (p=none); raise it when its reports are clean"
        )
    return ok(subject, f"has a DMARC record that asks to {record.policy} forged mail")
