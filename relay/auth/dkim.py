"""DKIM: a verdict on each signature of a mail, from values alone.

Owns *DKIM result*: which signatures are looked at, what makes one pass, and the reason in words. Never asks
DNS: the keys come in as answers. Keys, RSA and Ed25519 are dkimpy's; every failure of its is a verdict. Time
is the instant of reception, never a clock. RFC 6376 §6, RFC 8301, RFC 8463; words of RFC 8601 §2.7.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dkim import crypto

from relay.auth.answers import Answer, Status
from relay.auth.fields import HEADER_BYTES, Fields
from relay.auth.keys import Key, parse_key
from relay.auth.signature import ALGORITHMS, Signature, Unfit, parse_signature
from relay.auth.signed import MOST_SIGNATURES, SignedMail
from relay.auth.words import Finding, Result

#: Processor time that the signatures of one mail may take; what is left then is `neutral`.
CPU_SECONDS = 2.0
#: A signer's clock may be ahead by so much: a wrong time zone is no forgery (dkimpy allows the same).
_AHEAD_SECONDS = 36_000
#: TXT records at a key's name that are tried (RFC 6376 §3.6.2.2 leaves several undefined).
_MOST_RECORDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimResult:
    """The verdict on one signature."""

    result: Result
    #: In words of ours, without anything that came from outside.
    reason: str
    #: d= in A-labels, s= and i= as far as they could be read; never to be shown unquoted.
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    #: Octets of the canonical body behind what l= covers: anybody may have added them.
    unsigned_bytes: int = 0
    #: The signer says that it is only trying signatures out (t=y).
    testing: bool = False


def find_signatures(fields: Fields) -> tuple[Signature | Unfit, ...]:
    """The signatures of a mail from the top, at most eight."""
    return tuple(parse_signature(field) for field in fields.named(b"dkim-signature")[:MOST_SIGNATURES])


def verify_signatures(
    mail: SignedMail, fields: Fields, keys: Mapping[str, Answer], *, at: float, spent: Callable[[], float]
) -> tuple[DkimResult, ...]:
    """The verdicts on the signatures of a mail, in order; none where it is not signed.

    `fields` are those of `mail.header`, `keys` the answers by `Signature.key_name`, `at` the instant of
    reception in seconds since 1970, `spent` the processor time that the mail has taken so far. A signature
    whose key has no answer yet is `temperror`.
    """
    if mail.too_long:
        reason = f"a header over {HEADER_BYTES:,} octets is not looked at"
        return (DkimResult(result=Result.NEUTRAL, reason=reason),)
    results = []
    for signature in find_signatures(fields):
        if isinstance(signature, Unfit):
            results.append(_describe_unfit(signature))
        elif spent() > CPU_SECONDS:
            reason = f"not verified: {CPU_SECONDS:g} seconds of processor time were used up"
            results.append(_describe(signature, Result.NEUTRAL, reason))
        else:
            results.append(verify_signature(signature, fields, mail, keys.get(signature.key_name), at=at))
    if left := len(fields.named(b"dkim-signature")) - len(results):
        reason = f"{left:,} more signatures were not looked at: {MOST_SIGNATURES} are the most"
        results.append(DkimResult(result=Result.NEUTRAL, reason=reason))
    return tuple(results)


def verify_signature(
    signature: Signature, fields: Fields, mail: SignedMail, answer: Answer | None, *, at: float
) -> DkimResult:
    """The verdict on one signature."""
    fault = find_fault(signature, at=at)
    if fault is not None:
        return _describe(signature, fault.result, fault.reason)
    keys = read_keys(answer)
    if isinstance(keys, Finding):
        return _describe(signature, keys.result, keys.reason)
    for key in keys:
        fault = _try_key(signature, key, fields, mail)
        if fault is None:
            return _describe_pass(signature, key, mail)
    assert fault is not None, "an answer that was found has a record, and the last one was no good"
    return _describe(signature, fault.result, fault.reason)


def find_fault(signature: Signature, *, at: float) -> Finding | None:
    """The reason why a signature is not accepted, whatever its key. Returns None where there is none."""
    if signature.names and b"from" not in signature.names:
        return Finding(result=Result.PERMERROR, reason="the From field is not signed")
    if signature.algorithm == b"rsa-sha1":
        return Finding(result=Result.POLICY, reason="rsa-sha1 proves nothing any more")  # RFC 8301 §3.1
    signed_at, expires_at = signature.signed_at, signature.expires_at
    if signed_at is not None and signed_at > at + _AHEAD_SECONDS:
        return Finding(result=Result.POLICY, reason="the signature is dated in the future")
    if expires_at is not None:
        if signed_at is not None and expires_at <= signed_at:
            return Finding(result=Result.PERMERROR, reason="the signature had expired before it was made")
        if expires_at < at:
            return Finding(result=Result.POLICY, reason="the signature had expired when the mail came in")
    return None


def read_keys(answer: Answer | None) -> Sequence[Key | Finding] | Finding:
    """The keys in an answer of DNS, at most four, or the reason why there is none."""
    if answer is None:
        return Finding(result=Result.TEMPERROR, reason="DNS did not answer for the key in time")
    if answer.status is Status.TEMPERROR:
        return Finding(result=Result.TEMPERROR, reason="DNS failed to answer for the key")
    if answer.status is not Status.FOUND or not answer.texts:
        return Finding(result=Result.PERMERROR, reason="DNS has no key for the signature")
    return [parse_key(record) for record in answer.texts[:_MOST_RECORDS]]


def _try_key(signature: Signature, key: Key | Finding, fields: Fields, mail: SignedMail) -> Finding | None:
    """The fault of a signature with one key. Returns None where it is good."""
    if isinstance(key, Finding):
        return key
    if key.strict and not signature.strict_identity:
        return Finding(result=Result.PERMERROR, reason="the key is for no subdomain (t=s), and i= names one")
    fault = check_body(signature, mail) or check_header(signature, key, fields)
    if fault is None or not key.testing:
        return fault
    # RFC 6376 §3.6.1: while its signer tests, mail must not fare worse than unsigned mail.
    return Finding(result=Result.NEUTRAL, reason=f"{fault.reason} (the signer is only testing, t=y)")


def check_body(signature: Signature, mail: SignedMail) -> Finding | None:
    """The fault of a mail whose body is not the one that was signed. Returns None where it is."""
    digests = mail.digests.get(signature.form)
    if digests is None:
        return Finding(result=Result.NEUTRAL, reason="the body was not hashed")
    digest = digests.of(signature.length)
    if digest is None:  # RFC 6376 §3.5, l=
        return Finding(result=Result.PERMERROR, reason="the body is shorter than what was signed (l=)")
    if digest != signature.body_hash:
        return Finding(result=Result.FAIL, reason="the body was changed after it was signed")
    return None


def check_header(signature: Signature, key: Key, fields: Fields) -> Finding | None:
    """The fault of a mail whose header fields are not the ones that were signed.

    Returns None where they are.
    """
    chosen = fields.select(signature.names)
    if b"from" in signature.names:
        # RFC 6376 §8.15: a second author that somebody added on the way is signed by nobody.
        authors = fields.named(b"from")[::-1]
        chosen += authors[signature.names.count(b"from") :]
    return check_octets(signature, key, [field.canonical(relaxed=signature.relaxed) for field in chosen])


def check_octets(signature: Signature, key: Key, octets: Sequence[bytes]) -> Finding | None:
    """The fault of a signature that is not one of these canonical fields by this key.

    Returns None where it is.
    """
    if ALGORITHMS[signature.algorithm] != key.kind:
        return Finding(result=Result.PERMERROR, reason="the key is of another type than the signature")
    signed = hashlib.sha256()
    for field in octets:
        signed.update(field + b"\r\n")
    signed.update(signature.own_octets())
    if _is_signed(signed, signature.signature, key):
        return None
    reason = "a signed header field was changed, or the signature was made with another key"
    return Finding(result=Result.FAIL, reason=reason)


def _is_signed(signed: hashlib._Hash, signature: bytes, key: Key) -> bool:
    # RFC 8017 §8.2.2: a signature is no longer than its key; dkimpy would take its time to find out.
    if len(signature) > (key.bits + 7) // 8 and key.kind == "rsa":
        return False
    try:
        if key.kind == "rsa":
            return bool(crypto.RSASSA_PKCS1_v1_5_verify(signed, signature, key.public))
        key.public.verify(signed.digest(), signature)
    except Exception:  # noqa: BLE001 - a refusal by libsodium is one, and whatever odd numbers do to dkimpy
        return False
    return True


def _describe_pass(signature: Signature, key: Key | Finding, mail: SignedMail) -> DkimResult:
    testing = isinstance(key, Key) and key.testing
    unsigned = 0
    reason = "the signature is good"
    if signature.length is not None:
        size = mail.digests[signature.form].size
        unsigned = size - signature.length
        if unsigned:
            reason += f", for the first {signature.length:,} of {size:,} octets of the body (l=)"
    if testing:
        reason += "; the signer is only testing (t=y)"
    return _describe(signature, Result.PASS, reason, unsigned_bytes=unsigned, testing=testing)


def _describe(
    signature: Signature, result: Result, reason: str, *, unsigned_bytes: int = 0, testing: bool = False
) -> DkimResult:
    return DkimResult(
        result=result,
        reason=reason,
        domain=signature.domain,
        selector=signature.selector,
        identity=signature.identity,
        algorithm=signature.algorithm.decode(),
        unsigned_bytes=unsigned_bytes,
        testing=testing,
    )


def _describe_unfit(unfit: Unfit) -> DkimResult:
    return DkimResult(result=unfit.result, reason=unfit.reason, domain=unfit.domain, selector=unfit.selector)
