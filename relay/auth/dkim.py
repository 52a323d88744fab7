"""DKIM: a verdict on each signature of a mail, from values alone.

Owns *DKIM result*: which signatures are looked at, what makes one pass, and the reason in words. Never asks
DNS: the keys come in as answers, and `relay.auth.verification` tries them. Time is the instant of reception,
never a clock. RFC 6376 §6, RFC 8301, RFC 8463; words of RFC 8601 §2.7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relay.auth.answers import Answer
from relay.auth.fields import HEADER_BYTES, Fields
from relay.auth.keys import Key
from relay.auth.signature import Signature, Unfit, parse_signature
from relay.auth.signed import MOST_SIGNATURES, SignedMail
from relay.auth.verification import check_body, check_header, find_fault, try_keys
from relay.auth.words import Finding, Result

#: Processor time that the signatures of one mail may take; what is left then is `neutral`.
CPU_SECONDS = 2.0


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
    if b"from" not in signature.names:
        fault = Finding(result=Result.PERMERROR, reason="the From field is not signed")
    if fault is not None:
        return _describe(signature, fault.result, fault.reason)
    found = try_keys(signature, answer, lambda key: _check(signature, key, fields, mail))
    if isinstance(found, Key):
        return _describe_pass(signature, found, mail)
    return _describe(signature, found.result, found.reason)


def _check(signature: Signature, key: Key, fields: Fields, mail: SignedMail) -> Finding | None:
    """The fault of a mail with one key. Returns None where it is as it was signed."""
    fault = check_body(signature, mail) or check_header(signature, key, fields)
    if fault is None or not key.testing:
        return fault
    # RFC 6376 §3.6.1: while its signer tests, mail must not fare worse than unsigned mail.
    return Finding(result=Result.NEUTRAL, reason=f"{fault.reason} (the signer is only testing, t=y)")


def _describe_pass(signature: Signature, key: Key, mail: SignedMail) -> DkimResult:
    unsigned = 0
    reason = "the signature is good"
    if signature.length is not None:
        size = mail.digests[signature.form].size
        unsigned = size - signature.length
        if unsigned:
            reason += f", for the first {signature.length:,} of {size:,} octets of the body (l=)"
    if key.testing:
        reason += "; the signer is only testing (t=y)"
    return _describe(signature, Result.PASS, reason, unsigned_bytes=unsigned, testing=key.testing)


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
