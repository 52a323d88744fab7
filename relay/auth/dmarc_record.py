"""The DMARC policy record: a TXT record of DNS as a value.

Owns the tags of the record and their defaults. Never asks DNS, never applies a policy. RFC 9989 §4.7 and
§4.8: the version comes first, unknown tags and those with errors are passed over. A hundred tags are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Tags of a record, and URIs in rua=, that are read: the event loop waits meanwhile.
_MOST_ITEMS = 100
_VERSION = re.compile(rb"v[ \t]*+=[ \t]*+DMARC1[ \t]*+(?:;|\Z)")
_BLANK = b" \t\r\n"
#: A reporting URI as far as it matters here (RFC 3986 §3.1): a scheme and something behind it.
_URI = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+:[^\s,]++")


class Policy(StrEnum):
    """The handling that a domain asks for when mail fails (RFC 9989 §4.7)."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """The record of one domain."""

    #: For the domain itself.
    policy: Policy
    #: For its subdomains, and for those that do not exist.
    subdomain_policy: Policy
    missing_policy: Policy
    #: Alignment is strict: only the author's own domain speaks for it.
    strict_dkim: bool = False
    strict_spf: bool = False
    #: t=y: the domain asks not to apply the policy yet.
    testing: bool = False
    #: psd=y (a public suffix), psd=n (an organisation), or None where the record leaves it open.
    public_suffix: bool | None = None
    #: The policy is no word of the RFC, and nobody wants reports: the record applies to nothing (§4.10.1).
    unusable: bool = False


def find_record(texts: Iterable[bytes]) -> PolicyRecord | None:
    """The record among the TXT records of a name.

    Returns None where there is none, or more than one (§4.10).
    """
    records = [text for text in texts if _VERSION.match(text) is not None]
    return parse_record(records[0]) if len(records) == 1 else None


def parse_record(octets: bytes) -> PolicyRecord:
    """The values of a record that begins with its version."""
    tags = _read_tags(octets)
    written = {name: tags.get(name) for name in ("p", "sp", "np")}
    policies = {name: _read_policy(value) for name, value in written.items()}
    broken = any(value is not None and policies[name] is None for name, value in written.items())
    if broken:  # RFC 9989 §4.10.1: reports are wanted, so the domain takes part, without a policy
        policies = dict.fromkeys(policies)
    policy = policies["p"] or Policy.NONE
    subdomain = policies["sp"] or policy
    psd = tags.get("psd", b"").lower()
    return PolicyRecord(
        policy=policy,
        subdomain_policy=subdomain,
        missing_policy=policies["np"] or subdomain,
        strict_dkim=tags.get("adkim", b"").lower() == b"s",
        strict_spf=tags.get("aspf", b"").lower() == b"s",
        testing=tags.get("t", b"").lower() == b"y",
        public_suffix={b"y": True, b"n": False}.get(psd),
        unusable=broken and not _wants_reports(tags.get("rua", b"")),
    )


def _read_tags(octets: bytes) -> Mapping[str, bytes]:
    """The values by lower-case names; a part without "=" is passed over, and the first of a name counts."""
    tags: dict[str, bytes] = {}
    for part in octets.split(b";", _MOST_ITEMS)[:_MOST_ITEMS]:
        name, equals, value = part.partition(b"=")
        if equals:
            tags.setdefault(name.strip(_BLANK).lower().decode("latin-1"), value.strip(_BLANK))
    return tags


def _read_policy(value: bytes | None) -> Policy | None:
    try:
        return None if value is None else Policy(value.lower().decode("latin-1"))
    except ValueError:
        return None


def _wants_reports(value: bytes) -> bool:
    """Returns whether rua= has at least one URI."""
    uris = value.split(b",", _MOST_ITEMS)[:_MOST_ITEMS]
    return any(_URI.fullmatch(uri.strip(_BLANK)) is not None for uri in uris)
