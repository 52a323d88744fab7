"""The key record of a signer: a TXT record of DNS as a public key, and what its owner allows with it.

Owns the syntax of key records and the sizes of keys. Numbers and points are read by dkimpy. Never asks DNS.
RFC 6376 §3.6.1, RFC 8301 (sizes), RFC 8463 §4 (Ed25519). Linear in the record, which has 8 KiB at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dkim

from relay.auth.tags import parse_tags, remove_blanks, split_colons
from relay.auth.words import Finding, Result

#: RFC 8301 §3.2: a shorter RSA key proves nothing.
LEAST_BITS = 1_024
#: RFC 8301 §3.2 asks for 4,096; twice that costs a verification some 3 ms.
MOST_BITS = 8_192
#: RSA's public exponent is nearly always 65,537, and some libraries take none over 32 bits; one as long as
#: the modulus would cost seconds.
_MOST_EXPONENT = 1 << 32
_RECORD_BYTES = 8_192
#: Base64 of the largest key: 8,192 bits, and what surrounds them.
_KEY_BYTES = 2_048
_TYPES = (b"rsa", b"ed25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key."""

    #: "rsa" or "ed25519".
    kind: str
    bits: int
    #: In dkimpy's form.
    public: Any
    #: t=y: the signer is only trying signatures out (RFC 6376 §3.6.1).
    testing: bool
    #: t=s: i= must not name a subdomain.
    strict: bool


def parse_key(record: bytes) -> Key | Finding:
    """The key in one TXT record, or the reason why it is none for mail that is hashed with SHA-256."""
    # A part of a record would be another record: without a t=s at its end, say.
    return _no_key("the key record is too long") if len(record) > _RECORD_BYTES else _parse(record)


@lru_cache(maxsize=256)
def _parse(record: bytes) -> Key | Finding:
    tags = parse_tags(record)
    if tags is None or b"p" not in tags:
        return _no_key("the key record is no list of tags with a key")
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in tags and next(iter(tags)) != b"v"):
        return _no_key("the key record is of another version")
    kind = tags.get(b"k", b"rsa")
    if kind not in _TYPES:
        return _no_key("the key is of an unknown type (k=)")
    if b"h" in tags and b"sha256" not in split_colons(tags[b"h"]):
        return _no_key("the key must not be used with SHA-256 (h=)")
    if not {b"*", b"email"} & set(split_colons(tags.get(b"s", b"*"))):
        return _no_key("the key is not for e-mail (s=)")
    octets = remove_blanks(tags[b"p"])
    if not octets:
        return _no_key("the key has been revoked")
    if len(octets) > _KEY_BYTES:
        return _no_key("the key is too long")
    flags = split_colons(tags.get(b"t", b""))
    return _read_key(kind, octets, testing=b"y" in flags, strict=b"s" in flags)


def _read_key(kind: bytes, octets: bytes, *, testing: bool, strict: bool) -> Key | Finding:
    try:
        public, bits, _, _ = dkim.evaluate_pk(b"", b"k=" + kind + b";p=" + octets)
    except Exception:  # noqa: BLE001 - dkimpy fails on odd keys in ways of its own: IndexError, AssertionError, …
        return _no_key("the key cannot be read")
    if kind == b"rsa":
        if bits < LEAST_BITS:
            return Finding(result=Result.POLICY, reason=f"the key has {bits} bits, fewer than {LEAST_BITS:,}")
        if bits > MOST_BITS:
            return Finding(result=Result.POLICY, reason=f"the key has more than {MOST_BITS:,} bits")
        if not 1 < public["publicExponent"] < _MOST_EXPONENT or not public["modulus"] % 2:
            return _no_key("the key cannot be read")
    return Key(kind=kind.decode(), bits=bits, public=public, testing=testing, strict=strict)


def _no_key(reason: str) -> Finding:
    return Finding(result=Result.PERMERROR, reason=reason)
