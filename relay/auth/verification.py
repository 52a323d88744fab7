"""The verification of one signature: its faults, its key, its body and its header, for DKIM and ARC alike.

Owns the order in which a signature is judged. Never asks DNS: keys come in as answers. Keys, RSA and Ed25519
are dkimpy's; every failure of its is a finding. RFC 6376 §6.1, RFC 8301, RFC 8463, RFC 8617 §5.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from dkim import crypto

from relay.auth.answers import Answer, Status
from relay.auth.fields import Fields
from relay.auth.keys import Key, parse_key
from relay.auth.signature import ALGORITHMS, Signature
from relay.auth.signed import SignedMail
from relay.auth.words import Finding, Result

#: A signer's clock may be ahead by so much: a wrong time zone is no forgery (dkimpy allows the same).
_AHEAD_SECONDS = 36_000
#: TXT records at a key's name that are tried (RFC 6376 §3.6.2.2 leaves several undefined).
_MOST_RECORDS = 4


def find_fault(signature: Signature, *, at: float) -> Finding | None:
    """The reason why a signature is not accepted, whatever its key. Returns None where there is none."""
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


def try_keys(
    signature: Signature, answer: Answer | None, check: Callable[[Key], Finding | None]
) -> Key | Finding:
    """The key by which a signature passes a check, or the fault that it has with the last one."""
    keys = read_keys(answer)
    if isinstance(keys, Finding):
        return keys
    fault: Finding | None = None
    for key in keys:
        fault = key if isinstance(key, Finding) else _check_key(signature, key) or check(key)
        if fault is None:
            assert isinstance(key, Key)
            return key
    assert fault is not None, "an answer that was found has a record, and the last one was no good"
    return fault


def _check_key(signature: Signature, key: Key) -> Finding | None:
    """The reason why a key is not for this signature. Returns None where it is."""
    if ALGORITHMS[signature.algorithm] != key.kind:
        return Finding(result=Result.PERMERROR, reason="the key is of another type than the signature")
    if key.strict and not signature.strict_identity:
        return Finding(result=Result.PERMERROR, reason="the key is for no subdomain (t=s), and i= names one")
    return None


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
