"""The checks of a mail's origin, all at once and within one deadline, before the 250.

Owns the order of the questions to DNS and the deadline. Never decides what a result means for a mail. A
check that is not ready in time is `temperror`, and so is one that met a fault of ours: neither loses a mail.
Headers are read, and keys tried, in a thread, so that the event loop goes on meanwhile; where both are small,
the way to a thread would cost more than the work, and it is done at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from relay import telemetry
from relay.auth.answers import Resolver
from relay.auth.arc import ArcResult, ArcSet, find_chain, find_key_names, verify_chain
from relay.auth.authors import find_author_domains
from relay.auth.dkim import DkimResult, find_signatures, verify_signatures
from relay.auth.dmarc import DmarcResult, Forwarders, Identifiers, evaluate, may_align
from relay.auth.dnsbl import DnsblResult, check_dnsbl
from relay.auth.fields import FieldFinder, Fields
from relay.auth.identity import Results
from relay.auth.iprev import check_iprev
from relay.auth.late import (
    LATE_ARC,
    build_late_dkim,
    build_late_dmarc,
    build_late_dnsbl,
    build_late_iprev,
    build_late_spf,
)
from relay.auth.lookup import fetch_texts, is_missing, walk_domains
from relay.auth.organisation import Walk
from relay.auth.signature import Signature
from relay.auth.signed import SignedMail
from relay.auth.spf import check_helo, check_mail_from
from relay.auth.spf_result import SpfIdentity
from relay.auth.words import Finding, Result
from relay.networks import Address

#: Small headers, authors and keys, whatever they are made of, take the loop under 5 ms (a usual mail, 1 ms).
_SMALL_HEADER_BYTES = 8_192
_SMALL_HEADER_LINES = 300
_SMALL_AUTHORS_BYTES = 512
_SMALL_SIGNATURES = 2
_SMALL_KEY_BYTES = 512  # an RSA key of 2,048 bits, in base64, has 392
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFacts:
    """All that the checks look at."""

    #: The peer that is judged; None for mail without one, where SPF is not asked.
    peer: Address | None
    helo: str
    #: None for the null reverse-path.
    reverse_path: str | None
    mail: SignedMail
    #: Aware; the instant by which signatures are dated.
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The header of a mail, read once for all checks."""

    fields: Fields
    signatures: Sequence[Signature]
    chain: Sequence[ArcSet]
    authors: Sequence[str] | Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Author:
    walk: Walk
    missing: bool | None


async def check(
    facts: MailFacts,
    resolver: Resolver,
    *,
    seconds: float,
    trusted_sealers: Sequence[str] = (),
    dnsbl: Sequence[str] = (),
) -> Results:
    """The results of all checks, at most so many seconds from now; `dnsbl` are lists in the DNS."""
    ends_at = asyncio.get_running_loop().time() + seconds
    small = _is_small(facts.mail.header)
    header = _read_header(facts.mail) if small else await asyncio.to_thread(_read_header, facts.mail)
    domains = () if isinstance(header.authors, Finding) else header.authors
    # Authors first: were the questions of one mail used up, the policy must not be what is missing.
    authors = {domain: _start("dmarc", _look_up_author(domain, resolver)) for domain in domains}
    dkim = _start("dkim", _check_dkim(facts, header, resolver))
    arc = _start("arc", _check_arc(facts, header, resolver))
    spf = helo = iprev = None
    lists: dict[str, asyncio.Task[DnsblResult | None]] = {}
    if facts.peer is not None:
        named = facts.helo
        mail_from = check_mail_from(
            facts.peer, helo=named, reverse_path=facts.reverse_path, resolver=resolver
        )
        spf = _start("spf", mail_from)
        helo = _start("spf", check_helo(facts.peer, helo=named, resolver=resolver))
        iprev = _start("iprev", check_iprev(facts.peer, resolver))
        lists = {zone: _start("dnsbl", check_dnsbl(facts.peer, zone, resolver)) for zone in dnsbl}
    tasks: list[asyncio.Task[Any]] = [
        *authors.values(),
        dkim,
        arc,
        *(task for task in (spf, helo, iprev) if task is not None),
        *lists.values(),
    ]
    try:
        await _wait(tasks, ends_at)
        results = Results(
            spf=None if spf is None else _take(spf) or build_late_spf(SpfIdentity.MAIL_FROM),
            helo=None if helo is None else _take(helo) or build_late_spf(SpfIdentity.HELO),
            dkim=build_late_dkim(header.signatures) if (found := _take(dkim)) is None else found,
            arc=_take(arc) or LATE_ARC,
            iprev=None
            if facts.peer is None or iprev is None
            else _take(iprev) or build_late_iprev(facts.peer),
            dnsbl=tuple(_take(task) or build_late_dnsbl(zone) for zone, task in lists.items()) or None,
        )
        known = {domain: author for domain, task in authors.items() if (author := _take(task)) is not None}
        judging = _start("dmarc", _check_dmarc(header, results, known, resolver, trusted_sealers))
        tasks.append(judging)
        await _wait([judging], max(ends_at, asyncio.get_running_loop().time() + 0.05))
        return replace(results, dmarc=_take(judging) or build_late_dmarc(domains))
    finally:
        late_ones = [task for task in tasks if not task.done()]
        for task in late_ones:
            task.cancel()
        await asyncio.gather(*late_ones, return_exceptions=True)


def _is_small(header: bytes) -> bool:
    """Returns whether a header is read in less time than a thread takes to begin."""
    if len(header) > _SMALL_HEADER_BYTES or header.count(b"\n") > _SMALL_HEADER_LINES:
        return False
    return sum(len(field.raw) for field in FieldFinder(header).find(b"from")) <= _SMALL_AUTHORS_BYTES


def _read_header(mail: SignedMail) -> _Header:
    """The header as all checks need it; a large one takes its time."""
    fields = Fields(b"" if mail.too_long else mail.header)
    chain = find_chain(fields)
    return _Header(
        fields=fields,
        signatures=[each for each in find_signatures(fields) if isinstance(each, Signature)],
        chain=() if isinstance(chain, Finding) else chain,
        authors=find_author_domains(mail.header),
    )


def _start(where: str, check: Coroutine[Any, Any, _Any]) -> asyncio.Task[_Any | None]:
    return asyncio.create_task(_guard(where, check), name=f"auth.{where}")


async def _guard(where: str, check: Coroutine[Any, Any, _Any]) -> _Any | None:
    try:
        return await check
    except Exception:  # noqa: BLE001 - a fault of ours in a check is told, and is no reason to refuse a mail
        telemetry.fault_caught(where=f"auth.{where}")
        return None


async def _wait(tasks: Sequence[asyncio.Task[Any]], ends_at: float) -> None:
    """Wait for all tasks until an instant of the loop's clock."""
    seconds = ends_at - asyncio.get_running_loop().time()
    await asyncio.wait(tasks, timeout=max(seconds, 0))


def _take(task: asyncio.Task[_Any | None]) -> _Any | None:
    return task.result() if task.done() else None


def _stopwatch() -> Callable[[], float]:
    """The processor time of this thread from now on."""
    begun = time.thread_time()
    return lambda: time.thread_time() - begun


async def _check_dkim(facts: MailFacts, header: _Header, resolver: Resolver) -> tuple[DkimResult, ...]:
    keys = await fetch_texts((each.key_name for each in header.signatures), resolver)
    at = facts.received_at.timestamp()

    def verify() -> tuple[DkimResult, ...]:
        return verify_signatures(facts.mail, header.fields, keys, at=at, spent=_stopwatch())

    small = len(header.signatures) <= _SMALL_SIGNATURES and _is_small(facts.mail.header)
    octets = max((sum(map(len, answer.texts)) for answer in keys.values()), default=0)
    return verify() if small and octets <= _SMALL_KEY_BYTES else await asyncio.to_thread(verify)


async def _check_arc(facts: MailFacts, header: _Header, resolver: Resolver) -> ArcResult:
    keys = await fetch_texts(find_key_names(header.chain), resolver)
    at = facts.received_at.timestamp()

    def verify() -> ArcResult:
        return verify_chain(facts.mail, header.fields, keys, at=at, spent=_stopwatch())

    return await asyncio.to_thread(verify) if header.chain else verify()


async def _look_up_author(domain: str, resolver: Resolver) -> _Author:
    """The policy of an author's domain, and its absence in DNS where the policy depends on that."""
    walk = (await walk_domains([domain], resolver))[domain]
    place = walk.policy_domain
    record = walk.records.get(place) if place not in {None, domain} else None
    if record is None or record.missing_policy is record.subdomain_policy:
        return _Author(walk=walk, missing=None)
    return _Author(walk=walk, missing=await is_missing(domain, resolver))


async def _check_dmarc(
    header: _Header,
    results: Results,
    authors: Mapping[str, _Author],
    resolver: Resolver,
    trusted_sealers: Sequence[str],
) -> DmarcResult:
    identifiers = Identifiers(spf=results.spf, dkim=results.dkim or ())
    walks = {domain: author.walk for domain, author in authors.items()}
    proved = {domain for word in (Result.PASS, Result.TEMPERROR) for _, domain in identifiers.all_with(word)}
    wanted = [
        domain
        for domain in proved - walks.keys()
        if any(domain != author and may_align(author, domain, walks) for author in authors)
    ]
    if wanted:
        walks |= await walk_domains(wanted, resolver)
    return evaluate(
        header.authors,
        identifiers,
        walks,
        {domain: author.missing for domain, author in authors.items()},
        Forwarders(chain=results.arc, trusted=trusted_sealers) if results.arc is not None else None,
    )
