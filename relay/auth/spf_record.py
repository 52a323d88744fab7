"""Records of SPF: which TXT record is one, and its terms (RFC 7208 §4.5, §4.6, §5, §6, §12).

Owns the grammar. A mistake anywhere makes the whole record an error, before any term counts (§4.6). Values
in, values out; a record that was parsed is remembered, because mail comes from the same domains again and
again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from relay.auth.spf_macro import MacroString, SpfSyntaxError, parse_domain_spec, parse_macro_string
from relay.auth.spf_result import quote
from relay.auth.words import Result
from relay.networks import Address

#: RFC 7208 §3.4 wants a record in one packet of 512 octets. Eight times that is read in milliseconds, which
#: the event loop can spare.
RECORD_OCTETS = 4_096

_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z0-9]+)(.*)", re.DOTALL)
# RFC 7208 §5.6 and §5.3: no leading zeros
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_WIDTH = re.compile(r"0|[1-9][0-9]{0,2}")
_QUALIFIERS = {
    "": Result.PASS,
    "+": Result.PASS,
    "-": Result.FAIL,
    "~": Result.SOFTFAIL,
    "?": Result.NEUTRAL,
}


class MechanismName(StrEnum):
    """The mechanisms of SPF (RFC 7208 §5)."""

    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


_NAMES = frozenset(MechanismName)
_WITH_CIDR = (MechanismName.A, MechanismName.MX)
_NEEDS_DOMAIN = (MechanismName.INCLUDE, MechanismName.EXISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A directive: a mechanism, and the result if it matches."""

    result: Result
    name: MechanismName
    #: As it stands in the record.
    text: str
    #: The domain-spec; None for the domain that is being checked.
    domain: MacroString | None = None
    #: The address of ip4 and ip6.
    address: Address | None = None
    #: The widths of a, mx, ip4 and ip6.
    ipv4_bits: int = 32
    ipv6_bits: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfRecord:
    """A record whose syntax is right."""

    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None


def select_records(texts: Sequence[bytes]) -> tuple[bytes, ...]:
    """The TXT records of a domain that are of SPF (RFC 7208 §4.5)."""
    return tuple(text for text in texts if _VERSION.match(text))


@lru_cache(maxsize=1_024)
def parse_record(octets: bytes) -> SpfRecord:
    """The terms of an SPF record.

    Raises:
        SpfSyntaxError: a term breaks the grammar.
    """
    if len(octets) > RECORD_OCTETS:
        raise SpfSyntaxError(f"more than {RECORD_OCTETS} octets")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in octets[len(b"v=spf1") :].decode("latin-1").split(" "):
        if not term:
            continue
        try:
            if found := _MODIFIER.fullmatch(term):
                _add_modifier(modifiers, found[1].lower(), found[2])
            else:
                mechanisms.append(_parse_directive(term))
        except SpfSyntaxError as exc:
            raise SpfSyntaxError(f"{exc} in {quote(term)}") from None
    return SpfRecord(mechanisms=tuple(mechanisms), redirect=modifiers.get("redirect"))


def _add_modifier(modifiers: dict[str, MacroString], name: str, value: str) -> None:
    """Read a modifier: redirect and exp stand at most once, others are passed over (RFC 7208 §6)."""
    if name not in ("redirect", "exp"):
        parse_macro_string(value, explains=True)
        return
    if name in modifiers:
        raise SpfSyntaxError("a modifier that stands twice")
    modifiers[name] = parse_domain_spec(value)


@lru_cache(maxsize=4_096)
def _parse_directive(term: str) -> Mechanism:
    found = _DIRECTIVE.fullmatch(term)
    if found is None or found[2].lower() not in _NAMES:
        raise SpfSyntaxError("a mechanism that SPF does not know")
    name = MechanismName(found[2].lower())
    result, rest = _QUALIFIERS[found[1]], found[3]
    if name in (MechanismName.IP4, MechanismName.IP6):
        address, bits = _parse_network(name, rest)
        return Mechanism(result=result, name=name, text=term, address=address, ipv4_bits=bits, ipv6_bits=bits)
    ipv4_bits, ipv6_bits = 32, 128
    if name in _WITH_CIDR:
        rest, ipv4_bits, ipv6_bits = _split_cidr(rest)
    domain = None
    if rest.startswith(":") and name is not MechanismName.ALL:
        domain = parse_domain_spec(rest[1:])
    elif rest or name in _NEEDS_DOMAIN:
        raise SpfSyntaxError("a mechanism without the form that it must have")
    return Mechanism(
        result=result, name=name, text=term, domain=domain, ipv4_bits=ipv4_bits, ipv6_bits=ipv6_bits
    )


def _split_cidr(rest: str) -> tuple[str, int, int]:
    """The domain-spec, and the widths at its end (RFC 7208 §5.3, dual-cidr-length)."""
    found = _CIDR.search(rest)
    assert found is not None  # both halves are optional
    ipv4, ipv6 = int(found[1] or 32), int(found[2] or 128)
    if ipv4 > 32 or ipv6 > 128:
        raise SpfSyntaxError("a network that is too long")
    return rest[: found.start()], ipv4, ipv6


def _parse_network(name: MechanismName, rest: str) -> tuple[Address, int]:
    """The address behind ip4 or ip6, and the width of its network (RFC 7208 §5.6)."""
    host, slash, width = rest[1:].partition("/")
    try:
        if not rest.startswith(":") or (slash and not _WIDTH.fullmatch(width)) or "%" in host:
            raise ValueError  # noqa: TRY301 - one sentence for all that is no network
        address: Address = (
            ipaddress.IPv4Address(host) if name is MechanismName.IP4 else ipaddress.IPv6Address(host)
        )
    except ValueError:
        raise SpfSyntaxError("an address that is none") from None
    bits = int(width) if slash else address.max_prefixlen
    if bits > address.max_prefixlen:
        raise SpfSyntaxError("a network that is too long")
    return address, bits
