"""DMARC: the verdict of the authors' domains on a mail, and what they ask for if it is not theirs.

Owns *alignment* and *DMARC result*, from values alone. Never asks DNS: walks come in from
`relay.auth.lookup`. RFC 9989 §4.4 (alignment), §4.10.1 (policy), §5.3.2 (evaluation); of several authors the
worst result counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from relay.auth.arc import ArcResult
from relay.auth.authres import parse_results
from relay.auth.dkim import DkimResult
from relay.auth.dmarc_record import Policy, PolicyRecord
from relay.auth.organisation import Walk, is_within
from relay.auth.spf_result import SpfResult
from relay.auth.words import Finding, Result

_ASKS = {
    Policy.NONE: "which asks for nothing in this case",
    Policy.QUARANTINE: "which asks to treat such mail as suspicious",
    Policy.REJECT: "which asks to reject such mail",
}
#: The worst first, for mail with several authors; of failures, the one with the strictest policy.
_WORST = (Result.FAIL, Result.PERMERROR, Result.TEMPERROR, Result.NONE, Result.PASS)
_STRICTEST = (Policy.REJECT, Policy.QUARANTINE, Policy.NONE, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcResult:
    """The verdict on a mail: none, pass, fail, temperror or permerror."""

    result: Result
    #: In words of ours, without anything that came from outside.
    reason: str
    #: The author's domain that this is about, in A-labels; "" where there is none.
    domain: str = ""
    #: The handling that is asked for when the mail fails; None without a record.
    policy: Policy | None = None
    #: The same as published: with t=y, more than `policy`, which is none then.
    published: Policy | None = None
    #: The domain whose record that is.
    policy_domain: str = ""
    #: "dkim" or "spf", the check that speaks for the author, and the domain for which it passed.
    aligned_by: str = ""
    aligned_domain: str = ""
    #: The sealer that an operator trusts, and that saw DMARC pass before the mail was changed; "" for none.
    lifted_by: str = ""
    #: True when our own gateway in front saw DMARC pass.
    lifted_by_gateway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """The domains that checks have proved, or might have if DNS had answered."""

    spf: SpfResult | None
    dkim: Sequence[DkimResult]

    def all_with(self, result: Result) -> Sequence[tuple[str, str]]:
        """The check and the domain of each result of this word."""
        found = [("dkim", each.domain) for each in self.dkim if each.result is result and each.domain]
        if self.spf is not None and self.spf.result is result and self.spf.domain:
            found.append(("spf", self.spf.domain))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarders:
    """The chain of forwarders, and the domains of sealers that an operator trusts, with all below them."""

    chain: ArcResult
    trusted: Sequence[str]


def evaluate(
    authors: Sequence[str] | Finding,
    identifiers: Identifiers,
    walks: Mapping[str, Walk],
    missing: Mapping[str, bool | None],
    forwarders: Forwarders | None = None,
) -> DmarcResult:
    """The verdict on a mail: the worst of those on its authors' domains, each after `forwarders` were heard.

    `walks` are by domain, those of the authors and of each identifier that may be aligned; `missing` says of
    an author's domain whether it does not exist in DNS, None where DNS did not say.
    """
    if isinstance(authors, Finding):
        return DmarcResult(result=authors.result, reason=authors.reason)
    results = [evaluate_author(author, identifiers, walks, missing.get(author)) for author in authors]
    if forwarders is not None:
        results = [lift_by_arc(each, forwarders.chain, forwarders.trusted) for each in results]
    worst = min(results, key=lambda each: (_WORST.index(each.result), _STRICTEST.index(each.policy)))
    if len(results) > 1:
        return replace(worst, reason=f"of {len(results)} authors' domains the worst: {worst.reason}")
    return worst


def evaluate_author(
    author: str, identifiers: Identifiers, walks: Mapping[str, Walk], missing: bool | None
) -> DmarcResult:
    """The verdict on one author's domain."""
    walk = walks.get(author, Walk(domain=author, records={}, complete=False, answered=False))
    place = walk.policy_domain
    if place is None or not walk.answered or (place != author and not walk.complete):
        if walk.complete:
            return DmarcResult(
                result=Result.NONE, reason="the author's domain has no DMARC record", domain=author
            )
        reason = "DNS did not answer for the policy of the author's domain"
        return DmarcResult(result=Result.TEMPERROR, reason=reason, domain=author)
    record = walk.records[place]
    published = _choose_policy(record, subdomain=place != author, missing=missing)
    verdict = DmarcResult(
        result=Result.FAIL,
        reason="",
        domain=author,
        policy=Policy.NONE if record.testing else published,
        published=published,
        policy_domain=place,
    )
    if record.unusable:
        reason = "the policy record of the author's domain cannot be understood (p=)"
        return replace(verdict, result=Result.PERMERROR, reason=reason, policy=None, published=None)
    return _align(verdict, record, identifiers, walks)


def _align(
    verdict: DmarcResult, record: PolicyRecord, identifiers: Identifiers, walks: Mapping[str, Walk]
) -> DmarcResult:
    """The verdict on a domain with a record: by what passed, else by what DNS kept us from knowing."""
    strict = {"dkim": record.strict_dkim, "spf": record.strict_spf}
    doubtful = False
    for check, domain in identifiers.all_with(Result.PASS):
        aligned = is_aligned(verdict.domain, domain, walks, strict=strict[check])
        if aligned:
            what = "a good DKIM signature" if check == "dkim" else "SPF"
            whose = "domain" if domain == verdict.domain else "organisation"
            reason = f"{what} speaks for the author's {whose}"
            return replace(
                verdict, result=Result.PASS, reason=reason, aligned_by=check, aligned_domain=domain
            )
        doubtful = doubtful or aligned is None
    for check, domain in identifiers.all_with(Result.TEMPERROR):
        doubtful = doubtful or is_aligned(verdict.domain, domain, walks, strict=strict[check]) is not False
    if doubtful:
        reason = "DNS did not answer for a check that may speak for the author's domain"
        return replace(verdict, result=Result.TEMPERROR, reason=reason)
    assert verdict.published is not None
    asks = _ASKS[verdict.published] + (", but is only testing this (t=y)" if record.testing else "")
    return replace(verdict, reason=f"neither DKIM nor SPF speaks for the author's domain, {asks}")


def _choose_policy(record: PolicyRecord, *, subdomain: bool, missing: bool | None) -> Policy:
    """The policy for a domain itself, for one below it, or for one that does not exist (§4.7)."""
    if not subdomain:
        return record.policy
    return record.missing_policy if missing else record.subdomain_policy


def is_aligned(author: str, domain: str, walks: Mapping[str, Walk], *, strict: bool) -> bool | None:
    """The alignment of a proved domain with an author's (§4.4). Returns None where DNS did not tell."""
    if author == domain:
        return True
    if strict or not may_align(author, domain, walks):
        return False
    own, other = walks.get(author), walks.get(domain)
    if own is None or other is None or own.organisation is None or other.organisation is None:
        return None
    return own.organisation == other.organisation


def may_align(author: str, domain: str, walks: Mapping[str, Walk]) -> bool:
    """Returns whether a domain may be of the author's organisation, as far as the author's walk tells.

    Both lie within their organisation: so a stranger's domain, whose DNS fails on purpose, puts no other in
    doubt.
    """
    walk = walks.get(author)
    organisation = None if walk is None else walk.organisation
    return is_within(domain, author.rpartition(".")[2] if organisation is None else organisation)


def lift_by_arc(verdict: DmarcResult, chain: ArcResult, trusted: Sequence[str]) -> DmarcResult:
    """The verdict after trusted forwarders were heard.

    A failure is lifted when the chain passes, and a trusted sealer says that it saw DMARC pass for the same
    author, and nobody touched the mail after it but trusted sealers (RFC 8617 §7.2). The result stays "fail";
    the policy becomes "none". `trusted` are domains; a subdomain of one is trusted, too.
    """
    if verdict.result is not Result.FAIL or chain.result is not Result.PASS:
        return verdict
    for one in reversed(chain.sets):
        if not any(is_within(one.domain, domain.lower()) for domain in trusted):
            return verdict
        for found in parse_results(one.results):
            if (
                found.method == "dmarc"
                and found.result == "pass"
                and found.properties.get("header.from", "").lower() == verdict.domain
            ):
                reason = f"{verdict.reason}; but it passed at a forwarder that is trusted"
                return replace(verdict, policy=Policy.NONE, lifted_by=one.domain, reason=reason)
    return verdict
