"""The questions to DNS that the rules of `relay.auth` have: keys, policies, and whether a domain exists.

Owns which questions are asked, and that they are asked at once, never one behind the other. The answers go to
rules; nothing is judged here. RFC 6376 §3.6.2, RFC 9989 §4.10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from relay.auth.answers import Answer, RecordType, Resolver, Status
from relay.auth.organisation import Walk, build_walk_names, policy_name, read_walk

#: RFC 9989 §3.2.13: a domain exists when it has any of these.
_SIGNS_OF_LIFE = (RecordType.A, RecordType.AAAA, RecordType.MX)


async def fetch_texts(names: Iterable[str], resolver: Resolver) -> Mapping[str, Answer]:
    """The answers for the TXT records of some names, by name."""
    asked = sorted(set(names))
    answers = await asyncio.gather(*(resolver.query(name, RecordType.TXT) for name in asked))
    return dict(zip(asked, answers, strict=True))


async def walk_domains(domains: Iterable[str], resolver: Resolver) -> Mapping[str, Walk]:
    """The walks from some domains, by domain: up to eight questions each, shared ones asked once."""
    starts = sorted(set(domains))
    names = (policy_name(place) for domain in starts for place in build_walk_names(domain))
    answers = await fetch_texts(names, resolver)
    return {domain: read_walk(domain, answers) for domain in starts}


async def is_missing(domain: str, resolver: Resolver) -> bool | None:
    """The absence of a domain that has neither an address nor an MX. Returns None where DNS did not say."""
    answers = await asyncio.gather(*(resolver.query(domain, kind) for kind in _SIGNS_OF_LIFE))
    if any(answer.status is Status.FOUND for answer in answers):
        return False
    return None if any(answer.status is Status.TEMPERROR for answer in answers) else True
