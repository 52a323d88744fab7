"""ARC: a verdict on the chain of seals that forwarders put on a mail, from values alone.

Owns *ARC set*, *chain* and *ARC result*. Never asks DNS: keys come in as answers. Never decides whom to
trust: `relay.auth.dmarc` is told the sealers that are trusted. RFC 8617 §4.2 (sets), §5.2 (validation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from relay.auth.answers import Answer
from relay.auth.fields import HEADER_BYTES, Field, Fields
from relay.auth.keys import Key
from relay.auth.signature import Signature, Unfit, parse_message_signature, parse_seal, read_instance
from relay.auth.signed import MOST_SETS, SignedMail
from relay.auth.verification import check_body, check_header, check_octets, find_fault, try_keys
from relay.auth.words import Finding, Result

#: Processor time that a chain may take; past it the result is `temperror`, as after DNS that did not answer.
#: An honest set takes a millisecond; fifty with the largest keys, four at each name, would take seconds.
CPU_SECONDS = 0.3

#: RFC 8617 §4.1.1: the instance comes first.
_RESULTS_INSTANCE = re.compile(rb"[ \t]*+i[ \t]*+=[ \t]*+([0-9]{1,4}+)[ \t]*+;")
_GOOD = Finding(result=Result.PASS, reason="the signature is good")
_NONE = Finding(result=Result.NONE, reason="no forwarder has sealed the mail")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcSet:
    """The three fields that one forwarder added."""

    instance: int
    #: ARC-Authentication-Results: the results that the forwarder says it had.
    results: Field
    message: Signature
    seal: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """The verdicts on one set."""

    instance: int
    #: d= of the seal, in A-labels; never to be shown unquoted.
    domain: str
    selector: str
    seal: Finding
    #: The verdict on ARC-Message-Signature: older ones may fail, when later forwarders changed the mail.
    message: Finding
    #: The value of ARC-Authentication-Results, unfolded.
    results: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcResult:
    """The verdict on a chain: none, pass, fail, or temperror where DNS did not answer."""

    result: Result
    #: In words of ours, without anything that came from outside.
    reason: str
    #: From the oldest; empty where the chain was not one.
    sets: tuple[SetResult, ...] = ()


def find_chain(fields: Fields) -> tuple[ArcSet, ...] | Finding:
    """The sets of a mail from the oldest, or the finding where there are none, or no proper chain of them."""
    results = fields.named(b"arc-authentication-results")
    messages = fields.named(b"arc-message-signature")
    seals = fields.named(b"arc-seal")
    if not results and not messages and not seals:
        return _NONE
    if not len(results) == len(messages) == len(seals):
        return _fail("a set of ARC fields is not complete")
    if len(seals) > MOST_SETS:
        return _fail(f"there are more than {MOST_SETS} ARC sets")
    by_result = {_read_results_instance(field): field for field in results}
    by_message = _read_signatures([parse_message_signature(field) for field in messages])
    by_seal = _read_signatures([parse_seal(field) for field in seals])
    if isinstance(by_message, Finding):
        return by_message
    if isinstance(by_seal, Finding):
        return by_seal
    numbers = range(1, len(seals) + 1)
    if not set(numbers) == by_result.keys() == by_message.keys() == by_seal.keys():
        return _fail("the ARC sets are not numbered from 1 on")
    return tuple(
        ArcSet(instance=number, results=by_result[number], message=by_message[number], seal=by_seal[number])
        for number in numbers
    )


def _read_results_instance(field: Field) -> int:
    found = _RESULTS_INSTANCE.match(field.relaxed.partition(b":")[2])
    return 0 if found is None else read_instance(found[1])


def _read_signatures(parsed: Sequence[Signature | Unfit]) -> Mapping[int, Signature] | Finding:
    """The signatures by their instance; or the finding that one of them is unfit."""
    signatures = {}
    for each in parsed:
        if isinstance(each, Unfit):
            return _fail(f"an ARC signature is unfit: {each.reason}")
        signatures[each.instance] = each
    return signatures


def find_key_names(chain: Sequence[ArcSet]) -> frozenset[str]:
    """The names whose TXT records the chain needs."""
    return frozenset(each.key_name for one in chain for each in (one.message, one.seal))


def verify_chain(
    mail: SignedMail, fields: Fields, keys: Mapping[str, Answer], *, at: float, spent: Callable[[], float]
) -> ArcResult:
    """The verdict on the chain of a mail.

    `fields` are those of `mail.header`, `keys` the answers by `Signature.key_name`, `at` the instant of
    reception in seconds since 1970, `spent` the processor time that the mail has taken so far.
    """
    if mail.too_long:
        return ArcResult(result=Result.NONE, reason=f"a header over {HEADER_BYTES:,} octets is not looked at")
    chain = find_chain(fields)
    if isinstance(chain, Finding):
        return ArcResult(result=chain.result, reason=chain.reason)
    if (fault := _check_status(chain)) is not None:
        return ArcResult(result=fault.result, reason=fault.reason)
    sets = []
    covered: list[bytes] = []
    for one in chain:
        if spent() > CPU_SECONDS:
            reason = f"not verified: {CPU_SECONDS:g} seconds of processor time were used up"
            return ArcResult(result=Result.TEMPERROR, reason=reason)
        covered += (one.results.relaxed, one.message.field.relaxed)
        sets.append(_verify_set(one, covered, mail, fields, keys, at=at))
        covered.append(one.seal.field.relaxed)
    verdict = _judge(sets)
    return ArcResult(result=verdict.result, reason=verdict.reason, sets=tuple(sets))


def _check_status(chain: Sequence[ArcSet]) -> Finding | None:
    """The fault in what the seals say of the chain before them (RFC 8617 §5.2, step 2 and 3)."""
    if chain[-1].seal.chain == b"fail":
        return _fail("the last forwarder found the chain broken")
    if any(one.seal.chain != (b"none" if one.instance == 1 else b"pass") for one in chain):
        return _fail("a seal does not say of the chain before it what it must (cv=)")
    if any(b"arc-seal" in one.message.names for one in chain):
        return _fail("an ARC-Message-Signature covers a seal")
    return None


def _verify_set(
    one: ArcSet,
    covered: Sequence[bytes],
    mail: SignedMail,
    fields: Fields,
    keys: Mapping[str, Answer],
    *,
    at: float,
) -> SetResult:
    def check_message(key: Key) -> Finding | None:
        return check_body(one.message, mail) or check_header(one.message, key, fields)

    def check_seal(key: Key) -> Finding | None:
        return check_octets(one.seal, key, covered)

    return SetResult(
        instance=one.instance,
        domain=one.seal.domain,
        selector=one.seal.selector,
        seal=_verify(one.seal, keys, check_seal, at=at),
        message=_verify(one.message, keys, check_message, at=at),
        results=one.results.relaxed.partition(b":")[2],
    )


def _verify(
    signature: Signature, keys: Mapping[str, Answer], check: Callable[[Key], Finding | None], *, at: float
) -> Finding:
    fault = find_fault(signature, at=at)
    if fault is not None:
        return fault
    found = try_keys(signature, keys.get(signature.key_name), check)
    return found if isinstance(found, Finding) else _GOOD


def _judge(sets: Sequence[SetResult]) -> Finding:
    """The verdict from those on each set: the last message signature and all seals count (RFC 8617 §5.2)."""
    findings = [sets[-1].message, *(one.seal for one in sets)]
    for finding in findings:
        if finding.result not in {Result.PASS, Result.TEMPERROR}:
            what = "the last ARC-Message-Signature" if finding is sets[-1].message else "a seal"
            return _fail(f"{what} is not good: {finding.reason}")
    for finding in findings:
        if finding.result is Result.TEMPERROR:
            return finding
    return Finding(result=Result.PASS, reason="each forwarder sealed the mail as it passed it on")


def _fail(reason: str) -> Finding:
    return Finding(result=Result.FAIL, reason=reason)
