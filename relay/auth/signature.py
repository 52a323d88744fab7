"""A signature in the header: a DKIM-Signature, or one of the two signatures of an ARC set, as a value.

Owns the syntax of both and what makes one unfit to be verified. Never verifies. RFC 6376 §3.5 and §6.1.1,
RFC 8463 (Ed25519), RFC 8616 (domains in UTF-8), RFC 8617 §4.1.2 and §4.1.3.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.auth.body_hash import Canonicalisation
from relay.auth.fields import Field
from relay.auth.tags import empty_value, parse_tags, remove_blanks, split_colons
from relay.auth.words import Result
from relay.domains import encode_domain

#: RFC 6376 §3.3 and RFC 8463 §3; rsa-sha1 is known, to say that RFC 8301 forbids it.
ALGORITHMS = {b"rsa-sha256": "rsa", b"ed25519-sha256": "ed25519", b"rsa-sha1": "rsa"}
_FORMS = {form.value.encode(): form for form in Canonicalisation}
#: RFC 6376 §3.5: at most 76 digits for l=; instants have far fewer.
_LENGTH = re.compile(rb"[0-9]{1,76}")
_INSTANT = re.compile(rb"[0-9]{1,12}")
_INSTANCE = re.compile(rb"[0-9]{1,4}")
_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*+)(?:\.[a-z0-9_](?:[a-z0-9_-]*+))*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature that can be verified once its key is known."""

    field: Field
    algorithm: bytes
    #: d= and s= in A-labels and lower case: together the place of the key.
    domain: str
    selector: str
    #: i= as written, or "@" and the domain.
    identity: str
    #: h= in lower case.
    names: tuple[bytes, ...] = ()
    signature: bytes
    body_hash: bytes = b""
    #: The canonical form of the header is "relaxed".
    relaxed: bool = True
    form: Canonicalisation = Canonicalisation.RELAXED
    #: l=, the octets of the canonical body that are signed; None for all.
    length: int | None = None
    #: t= and x=, in seconds since 1970.
    signed_at: int | None = None
    expires_at: int | None = None
    #: i= of an ARC set, from 1; 0 where it is no such number, or this is no part of a set.
    instance: int = 0
    #: cv= of a seal.
    chain: bytes = b""

    @property
    def key_name(self) -> str:
        """The name whose TXT records hold the key (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def strict_identity(self) -> bool:
        """Returns whether the domain of i= is that of d= itself, as a key with t=s demands."""
        return _domain_of(self.identity) == self.domain

    def own_octets(self) -> bytes:
        """The octets of the signature's own field as they are hashed: without the value of b=."""
        name, colon, value = self.field.raw.partition(b":")
        emptied = Field(name=self.field.name, raw=name + colon + empty_value(value, b"b"))
        return emptied.canonical(relaxed=self.relaxed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """The reason why a signature cannot be verified, with the names in it as far as they were read."""

    result: Result
    reason: str
    domain: str = ""
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyTerms:
    """The part of a signature that the hash of the body needs: its canonical form, and l=."""

    form: Canonicalisation
    length: int | None


class _UnfitError(Exception):
    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


def parse_signature(field: Field) -> Signature | Unfit:
    """The signature in a DKIM-Signature field (RFC 6376 §6.1.1)."""
    return _parse(field, required=(b"v", b"a", b"b", b"bh", b"d", b"h", b"s"))


def parse_message_signature(field: Field) -> Signature | Unfit:
    """The signature in an ARC-Message-Signature field (RFC 8617 §4.1.2): there i= is no identity."""
    return _parse(field, required=(b"a", b"b", b"bh", b"d", b"h", b"s", b"i"))


def parse_seal(field: Field) -> Signature | Unfit:
    """The signature in an ARC-Seal field (RFC 8617 §4.1.3): it covers the ARC sets, and no body."""
    seal = _parse(field, required=(b"a", b"b", b"d", b"s", b"i", b"cv"))
    if b"h" in (parse_tags(field.value) or ()):
        return Unfit(result=Result.PERMERROR, reason="a seal has no h=")
    return seal


def read_body_terms(field: Field) -> BodyTerms | None:
    """The terms on which a signature covers the body, without a look at the rest of it: the loop waits.

    Returns None where they cannot be read; such a signature is unfit.
    """
    tags = parse_tags(field.value)
    if tags is None:
        return None
    try:
        _, form = _read_forms(tags.get(b"c", _default_form(dkim=field.name == b"dkim-signature")))
        return BodyTerms(form=form, length=_read_number(tags, b"l", _LENGTH))
    except _UnfitError:
        return None


def _default_form(*, dkim: bool) -> bytes:
    """The value of c= where there is none."""
    # RFC 6376 §3.5: "simple" in DKIM. Sealers, and the suite of those who wrote RFC 8617, take "relaxed".
    return b"simple" if dkim else b"relaxed/relaxed"


def _parse(field: Field, *, required: tuple[bytes, ...]) -> Signature | Unfit:
    tags = parse_tags(field.value)
    if tags is None:
        return Unfit(result=Result.NEUTRAL, reason="the signature is no list of tags")
    domain, selector = _name(tags.get(b"d", b"")), _name(tags.get(b"s", b""))
    try:
        return _build(field, tags, required, domain, selector)
    except _UnfitError as exc:
        return Unfit(result=exc.result, reason=exc.reason, domain=domain, selector=selector)


def _build(
    field: Field, tags: Mapping[bytes, bytes], required: tuple[bytes, ...], domain: str, selector: str
) -> Signature:
    for name in required:
        if not tags.get(name) and (name != b"h" or name not in tags):
            raise _UnfitError(Result.PERMERROR, f"the signature has no {name.decode()}=")
    if b"v" in required and tags[b"v"] != b"1":
        raise _UnfitError(Result.NEUTRAL, "the signature is of another version")
    if tags[b"a"] not in ALGORITHMS:
        raise _UnfitError(Result.NEUTRAL, "the algorithm of the signature is unknown")
    if encode_domain(domain) != domain or _SELECTOR.fullmatch(selector) is None:
        raise _UnfitError(Result.PERMERROR, "the names in d= and s= are no domain of DNS")
    if b"dns/txt" not in split_colons(tags.get(b"q", b"dns/txt").lower()):
        raise _UnfitError(Result.NEUTRAL, "the key is to be had in an unknown way (q=)")
    names = split_colons(tags[b"h"].lower()) if b"h" in required else ()
    forms = tags.get(b"c", _default_form(dkim=b"v" in required))
    relaxed, form = _read_forms(forms if b"h" in required else b"relaxed/relaxed")
    return Signature(
        field=field,
        algorithm=tags[b"a"],
        domain=domain,
        selector=selector,
        identity=_read_identity(tags, domain) if b"v" in required else f"@{domain}",
        names=names,
        signature=_read_base64(tags, b"b"),
        body_hash=_read_base64(tags, b"bh") if b"bh" in required else b"",
        relaxed=relaxed,
        form=form,
        length=_read_number(tags, b"l", _LENGTH) if b"h" in required else None,
        signed_at=_read_number(tags, b"t", _INSTANT),
        expires_at=_read_number(tags, b"x", _INSTANT),
        instance=0 if b"v" in required else read_instance(tags[b"i"]),
        chain=tags[b"cv"] if b"cv" in required else b"",
    )


def _name(octets: bytes) -> str:
    """A name of DNS in A-labels and lower case, or its text where it is none."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")
    return encode_domain(text) or text.lower()


def _domain_of(identity: str) -> str:
    domain = identity.rpartition("@")[2]
    return encode_domain(domain) or domain.lower()


def _read_identity(tags: Mapping[bytes, bytes], domain: str) -> str:
    """The identity in i=, which is within the domain of d= (RFC 6376 §3.5)."""
    octets = tags.get(b"i")
    if octets is None:
        return f"@{domain}"
    identity = binascii.a2b_qp(remove_blanks(octets)).decode("utf-8", "replace")  # RFC 6376 §2.11
    if "@" not in identity or not f".{_domain_of(identity)}".endswith(f".{domain}"):
        raise _UnfitError(Result.PERMERROR, "the identity in i= is not within the domain in d=")
    return identity


def _read_forms(octets: bytes) -> tuple[bool, Canonicalisation]:
    """The canonical forms of c=; that of the body is "simple" where it is left out (RFC 6376 §3.5)."""
    header, _, body = octets.lower().partition(b"/")
    if header not in _FORMS or (body or b"simple") not in _FORMS:
        raise _UnfitError(Result.NEUTRAL, "the canonical form in c= is unknown")
    return _FORMS[header] is Canonicalisation.RELAXED, _FORMS[body or b"simple"]


def _read_base64(tags: Mapping[bytes, bytes], name: bytes) -> bytes:
    try:
        return binascii.a2b_base64(remove_blanks(tags[name]), strict_mode=True)
    except binascii.Error:
        raise _UnfitError(Result.NEUTRAL, f"the value of {name.decode()}= is no base64") from None


def _read_number(tags: Mapping[bytes, bytes], name: bytes, form: re.Pattern[bytes]) -> int | None:
    octets = tags.get(name)
    if octets is None:
        return None
    if form.fullmatch(octets) is None:
        raise _UnfitError(Result.NEUTRAL, f"the value of {name.decode()}= is no number")
    return int(octets)


def read_instance(octets: bytes) -> int:
    """The number of an ARC set, from 1 (RFC 8617 §4.2.1). Returns 0 where there is none."""
    return int(octets) if _INSTANCE.fullmatch(octets) is not None else 0
