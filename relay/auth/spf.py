"""SPF: may this host send mail in the name of this domain? (RFC 7208)

    result = await check_mail_from(address, helo="mx.example.org", reverse_path="a@b.example", resolver=dns)

Owns `check_host` (§4) and its limits: 10 terms that ask the DNS, 2 of them in vain, 10 hosts of an MX and
10 names of a PTR. A record is read whole before any term counts. Explanations (`exp`) are parsed and never
fetched or passed on. Never raises for anything that a peer or a DNS server says: each ends in one of the
seven words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from relay.auth.answers import Answer, RecordType, Resolver, Status, is_name, normalise_name
from relay.auth.iprev import Names, find_names
from relay.auth.spf_macro import MacroString, SpfSyntaxError, expand, fit_name
from relay.auth.spf_record import Mechanism, MechanismName, SpfRecord, parse_record, select_records
from relay.auth.spf_result import SpfIdentity, SpfResult, clean_host, quote
from relay.auth.words import Result
from relay.domains import encode_domain
from relay.networks import Address, parse_address

LOOKUPS = 10  # RFC 7208 §4.6.4
VOID_LOOKUPS = 2  # RFC 7208 §4.6.4
HOSTS = 10  # RFC 7208 §4.6.4: hosts of one MX
SENDER_CHARACTERS = 1_000  # no path in a command of SMTP is longer

_ASKS = {
    MechanismName.INCLUDE,
    MechanismName.A,
    MechanismName.MX,
    MechanismName.PTR,
    MechanismName.EXISTS,
}


async def check_helo(address: Address, *, helo: str, resolver: Resolver) -> SpfResult:
    """The result for the name that a peer gave in HELO or EHLO (RFC 7208 §2.3)."""
    return await _check(address, SpfIdentity.HELO, f"postmaster@{helo}", helo, resolver)


async def check_mail_from(
    address: Address, *, helo: str, reverse_path: str | None, resolver: Resolver
) -> SpfResult:
    """The result for the reverse-path; a null one stands for postmaster at the HELO name (§2.4)."""
    return await _check(address, SpfIdentity.MAIL_FROM, reverse_path or f"postmaster@{helo}", helo, resolver)


async def _check(
    address: Address, identity: SpfIdentity, sender: str, helo: str, resolver: Resolver
) -> SpfResult:
    local, _, named = sender.rpartition("@")
    domain = _encode_host(named) if len(sender) <= SENDER_CHARACTERS else ""
    if not _is_qualified(domain):
        return SpfResult(
            result=Result.NONE,
            identity=identity,
            domain=clean_host(domain),
            reason="the peer gave no domain",
        )
    # An IPv4 address mapped into IPv6 is that IPv4 address (RFC 7208 §5).
    evaluation = _Evaluation(
        parse_address(address.packed), local or "postmaster", domain, _encode_host(helo), resolver
    )
    try:
        end = await evaluation.check_host(domain)
    except _HaltError as halt:
        end = halt.end
    return SpfResult(
        result=end.result,
        identity=identity,
        domain=clean_host(domain),
        mechanism=end.mechanism,
        decided_by=clean_host(end.decided_by),
        reason=end.reason,
        lookups=evaluation.lookups,
    )


def _is_qualified(domain: str) -> bool:
    """Returns whether this can be a name of several labels (RFC 7208 §4.3), and no address or address
    literal.
    """
    _, dot, top = domain.rpartition(".")
    return bool(dot) and not top.isdigit() and not domain.startswith("[")


def _encode_host(name: str) -> str:
    """The name in A-labels and lower case. Returns "" where DNS cannot carry it."""
    encoded = encode_domain(name.removesuffix("."))
    return encoded if encoded is not None and is_name(encoded) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """The end of one `check_host`."""

    result: Result
    reason: str
    mechanism: str = ""
    decided_by: str = ""


class _HaltError(Exception):
    """The whole evaluation ends here, includes and all: temperror or permerror."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.end = _End(result=result, reason=reason)


class _Evaluation:
    """An evaluation: the values of the macros, and the questions that were asked so far."""

    def __init__(self, address: Address, local: str, domain: str, helo: str, resolver: Resolver) -> None:
        self._address = address
        self._number, self._bits = int(address), address.max_prefixlen
        self._local = local
        self._sender_domain = domain
        self._helo = helo or "unknown"
        self._resolver = resolver
        self._names: Names | None = None
        self.lookups = 0
        self._voids = 0

    async def check_host(self, domain: str) -> _End:
        """The function of RFC 7208 §4."""
        answer = await self._resolver.query(domain, RecordType.TXT)
        if answer.status is Status.TEMPERROR:
            raise _HaltError(Result.TEMPERROR, f"the record of {quote(domain)}: {answer.reason}")
        texts = select_records(answer.texts)
        if not texts:
            return _End(result=Result.NONE, reason=f"{quote(domain)} has no SPF record")
        if len(texts) > 1:
            raise _HaltError(Result.PERMERROR, f"{quote(domain)} has more than one SPF record")
        try:
            record = parse_record(texts[0])
        except SpfSyntaxError as exc:
            raise _HaltError(Result.PERMERROR, f"the record of {quote(domain)} has {exc}") from None
        return await self._evaluate(record, domain)

    async def _evaluate(self, record: SpfRecord, domain: str) -> _End:
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                return _End(
                    result=mechanism.result,
                    mechanism=mechanism.text,
                    decided_by=domain,
                    reason=f"{quote(mechanism.text)} in the record of {quote(domain)} matched",
                )
        if record.redirect is None:
            reason = f"no mechanism in the record of {quote(domain)} matched"
            return _End(result=Result.NEUTRAL, decided_by=domain, reason=reason)
        self._count()
        target = await self._expand(record.redirect, domain)
        end = await self.check_host(target) if target else None
        if end is None or end.result is Result.NONE:  # RFC 7208 §6.1
            raise _HaltError(
                Result.PERMERROR, f"redirect in the record of {quote(domain)} leads to no record"
            )
        return end

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        if mechanism.name is MechanismName.ALL:
            return True
        if mechanism.address is not None:
            same_family = mechanism.address.max_prefixlen == self._bits
            return same_family and self._is_near(mechanism.address, mechanism)
        assert mechanism.name in _ASKS
        self._count()
        target = domain if mechanism.domain is None else await self._expand(mechanism.domain, domain)
        if target is None:
            return False
        match mechanism.name:
            case MechanismName.INCLUDE:
                return await self._includes(target, domain)
            case MechanismName.A:
                return self._is_among(await self._find_addresses(target), mechanism)
            case MechanismName.MX:
                return await self._is_exchange(target, mechanism)
            case MechanismName.PTR:
                names = await self._find_names()
                self._count_void(names.status)
                return any(_is_within(name, target) for name in names.validated)
            case _:  # exists, which asks for A whatever the peer's family (RFC 7208 §5.7)
                return (await self._ask(target, RecordType.A)).status is Status.FOUND

    async def _includes(self, target: str, domain: str) -> bool:
        """Returns whether the record of the target lets the peer pass (RFC 7208 §5.2)."""
        end = await self.check_host(target)
        if end.result is Result.NONE:
            raise _HaltError(
                Result.PERMERROR, f"an include in the record of {quote(domain)} leads to no record"
            )
        return end.result is Result.PASS

    async def _is_exchange(self, target: str, mechanism: Mechanism) -> bool:
        """Returns whether the peer is a mail exchanger of the target (RFC 7208 §5.4)."""
        exchanges = (await self._ask(target, RecordType.MX)).names
        if len(exchanges) > HOSTS:
            raise _HaltError(Result.PERMERROR, f"{quote(target)} has more than {HOSTS} mail exchangers")
        for name in exchanges:
            # A term is void or not (§4.6.4); this one has found its MX.
            answer = await self._query(name, self._family)
            if self._is_among(answer.addresses, mechanism):
                return True
        return False

    async def _find_addresses(self, name: str) -> tuple[Address, ...]:
        return (await self._ask(name, self._family)).addresses

    @property
    def _family(self) -> RecordType:
        return RecordType.A if self._bits == 32 else RecordType.AAAA

    def _is_among(self, addresses: tuple[Address, ...], mechanism: Mechanism) -> bool:
        return any(self._is_near(address, mechanism) for address in addresses)

    def _is_near(self, address: Address, mechanism: Mechanism) -> bool:
        """Returns whether an address of the peer's family is within the mechanism's width of the peer."""
        width = mechanism.ipv4_bits if self._bits == 32 else mechanism.ipv6_bits
        return (int(address) ^ self._number) >> (self._bits - width) == 0

    async def _find_names(self) -> Names:
        """The names of the peer that lead back to it (RFC 7208 §5.5); none if DNS fails."""
        if self._names is None:
            self._names = await find_names(self._address, self._resolver)
        return self._names

    async def _expand(self, spec: MacroString, domain: str) -> str | None:
        """The name that a domain-spec stands for. Returns None where it can match nothing (RFC 8616 §4)."""
        letters = spec.letters
        if letters & {"s", "l"} and not self._local.isascii():
            return None
        if not letters:
            return normalise_name(fit_name(expand(spec, {})))
        pointer = ""
        if "p" in letters:
            if self._names is None:
                self._count()  # RFC 7208 §4.6.4: its PTR is within the limit of look-ups
            pointer = _choose_name((await self._find_names()).validated, domain)
        return normalise_name(fit_name(expand(spec, self._values(domain, pointer))))

    def _values(self, domain: str, pointer: str) -> Mapping[str, str]:
        """The values of the macros (RFC 7208 §7.2)."""
        return {
            "s": f"{self._local}@{self._sender_domain}",
            "l": self._local,
            "o": self._sender_domain,
            "d": domain,
            "i": _dot(self._address),
            "p": pointer,
            "v": "in-addr" if self._address.version == 4 else "ip6",
            "h": self._helo,
        }

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > LOOKUPS:
            raise _HaltError(Result.PERMERROR, f"it takes more than {LOOKUPS} look-ups")

    async def _ask(self, name: str, kind: RecordType) -> Answer:
        """The answer of a term's own question, whose emptiness is counted."""
        answer = await self._query(name, kind)
        if is_name(name):
            self._count_void(answer.status)
        return answer

    def _count_void(self, status: Status) -> None:
        self._voids += status in (Status.NODATA, Status.NXDOMAIN)
        if self._voids > VOID_LOOKUPS:
            raise _HaltError(Result.PERMERROR, f"more than {VOID_LOOKUPS} look-ups find nothing")

    async def _query(self, name: str, kind: RecordType) -> Answer:
        answer = await self._resolver.query(name, kind)
        if answer.status is Status.TEMPERROR:
            raise _HaltError(Result.TEMPERROR, f"the {kind} of {quote(name)}: {answer.reason}")
        return answer


def _dot(address: Address) -> str:
    """The address as the macro i has it: dotted, an IPv6 address by its nibbles (RFC 7208 §7.3)."""
    if isinstance(address, ipaddress.IPv6Address):
        return ".".join(address.exploded.replace(":", ""))
    return str(address)


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _choose_name(names: tuple[str, ...], domain: str) -> str:
    """The value of the macro p: the domain itself, else a name below it, else any, else "unknown" (§7.3)."""
    if domain in names:
        return domain
    below = (name for name in names if _is_within(name, domain))
    return next(below, names[0] if names else "unknown")
