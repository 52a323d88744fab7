"""The identity of a mail: all results together, and what a contact says of them.

Owns *results* and the attributes made of them: the word of each check (RFC 8601 §2.7), its detail, and one
plain sentence for an agent. Never checks anything. Every token that a peer or a signer chose is shown as
`show` has it: plain where it is a name, else quoted, so it is taken neither for ours nor for a line's end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relay.auth.arc import ArcResult
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dmarc_record import Policy
from relay.auth.dnsbl import DnsblResult
from relay.auth.iprev import IprevResult
from relay.auth.spf_result import SpfResult
from relay.auth.upstream import Upstream, describe_upstream
from relay.auth.words import Result, show

#: Of several signatures, the one that says most for the mail; one still open goes before one that failed.
_BEST = (
    Result.PASS,
    Result.TEMPERROR,
    Result.POLICY,
    Result.FAIL,
    Result.NEUTRAL,
    Result.PERMERROR,
    Result.NONE,
)
#: Of several lists, the one that says most of the peer.
_WORST_LIST = (Result.FAIL, Result.TEMPERROR, Result.PERMERROR, Result.NONE)
_ASKS = {
    Policy.REJECT: "the domain asks to reject such mail",
    Policy.QUARANTINE: "the domain asks to treat such mail as suspicious",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results of the checks of one mail; None for a check that was not made."""

    #: Of the reverse-path, and of the name in HELO.
    spf: SpfResult | None = None
    helo: SpfResult | None = None
    #: In the order of the signatures; empty for mail that is not signed.
    dkim: tuple[DkimResult, ...] | None = None
    arc: ArcResult | None = None
    dmarc: DmarcResult | None = None
    #: Of the peer's address.
    iprev: IprevResult | None = None
    #: Of the peer's address on lists in the DNS, in the order of the configuration; never empty.
    dnsbl: tuple[DnsblResult, ...] | None = None
    #: The word of the gateway in front; None where none is configured, or the mail came from elsewhere.
    upstream: Upstream | None = None

    @property
    def worst_list(self) -> DnsblResult | None:
        """The list that says most of the peer. Returns None where none was asked."""
        return min(self.dnsbl or (), key=lambda each: _WORST_LIST.index(each.result), default=None)

    @property
    def best_dkim(self) -> DkimResult | None:
        """The signature that says most for the mail. Returns None where there is none."""
        return min(self.dkim or (), key=lambda each: _BEST.index(each.result), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySummary:
    """The results as `relay explain --json` shows them: the word of each check (RFC 8601) and the reasons."""

    spf: str
    #: Of the signature that says most for the mail.
    dkim: str
    dmarc: str
    #: "none", "quarantine" or "reject", as the author's domain asks; None without a record.
    dmarc_policy: str | None
    arc: str
    iprev: str
    #: Of the lists in the DNS that the peer's address was looked for on.
    dnsbl: str
    #: By the name of the check.
    reasons: Mapping[str, str]
    #: One plain sentence for an agent.
    summary: str


def build_identity_attributes(results: Results) -> Mapping[str, str]:
    """The attributes of a contact that the results make, by name; checks that were not made have none."""
    return {name: value for name, value in _list_attributes(results) if value}


def summarise_identity(results: Results) -> IdentitySummary:
    """The results in plain words; a check that was not made is `none`."""
    checks = {
        "spf": results.spf,
        "dkim": results.best_dkim,
        "dmarc": results.dmarc,
        "arc": results.arc,
        "iprev": results.iprev,
        "dnsbl": results.worst_list,
    }
    words = {name: str(check.result) if check else str(Result.NONE) for name, check in checks.items()}
    policy = results.dmarc.policy if results.dmarc else None
    return IdentitySummary(
        **words,
        dmarc_policy=None if policy is None else str(policy),
        reasons={name: check.reason for name, check in checks.items() if check},
        summary=describe_identity(results),
    )


def _list_attributes(results: Results) -> Iterator[tuple[str, str]]:
    if results.spf is not None:
        yield "relay_spf", results.spf.result
        yield "relay_spf_detail", _describe(results.spf.domain, results.spf.reason)
    if results.dkim is not None:
        best = results.best_dkim
        yield "relay_dkim", Result.NONE if best is None else best.result
        yield "relay_dkim_detail", "; ".join(_describe_signature(each) for each in results.dkim)
    if results.dmarc is not None:
        yield "relay_dmarc", results.dmarc.result
        if results.dmarc.result is Result.FAIL and results.dmarc.policy is not None:
            yield "relay_dmarc_policy", results.dmarc.policy
        yield "relay_dmarc_detail", _describe(results.dmarc.domain, results.dmarc.reason)
    if results.arc is not None:
        yield "relay_arc", results.arc.result
        sealers = dict.fromkeys(show(each.domain) for each in reversed(results.arc.sets))
        by = f" (sealed by {', '.join(sealers)})" if sealers else ""
        yield "relay_arc_detail", results.arc.reason + by
    if results.iprev is not None:
        yield "relay_iprev", results.iprev.result
        yield "relay_iprev_detail", _describe(results.iprev.name, results.iprev.reason)
    if results.worst_list is not None:
        yield "relay_dnsbl", results.worst_list.result
        yield "relay_dnsbl_detail", "; ".join(_describe_list(each) for each in results.dnsbl or ())
    if results.upstream is not None:
        yield "relay_upstream", results.upstream.word
        yield "relay_upstream_detail", describe_upstream(results.upstream)
    yield "relay_identity", describe_identity(results)


def _describe(domain: str, reason: str) -> str:
    return f"{show(domain)}: {reason}" if domain else reason


def _describe_signature(result: DkimResult) -> str:
    names = " ".join(show(name) for name in (result.domain, result.selector) if name)
    return f"{result.result} {names}: {result.reason}" if names else f"{result.result}: {result.reason}"


def _describe_list(result: DnsblResult) -> str:
    codes = f" ({', '.join(result.codes)})" if result.codes else ""
    return f"{show(result.zone)}: {result.reason}{codes}"


def describe_identity(results: Results) -> str:
    """The plain sentence that an agent reads: who is proved to have sent the mail, or why nobody is."""
    dmarc = results.dmarc
    if dmarc is None:
        return "not checked"
    if dmarc.lifted_by:
        return (
            f"verified by a forwarder: {show(dmarc.lifted_by)}, which is trusted here, "
            f"saw that {show(dmarc.domain)} sent this"
        )
    if dmarc.lifted_by_gateway:
        return f"verified by our gateway in front, which saw that {show(dmarc.domain)} sent this"
    match dmarc.result:
        case Result.PASS:
            return _describe_proof(results, dmarc.aligned_by, dmarc.aligned_domain, dmarc.domain)
        case Result.FAIL:
            return _describe_failure(dmarc)
        case Result.NONE:
            return _describe_without_policy(results, dmarc.domain)
        case _:
            return f"not verified: {dmarc.reason}"


def _describe_proof(results: Results, check: str, proved: str, author: str) -> str:
    whose = show(proved)
    if proved != author:
        whose += f", which belongs with {show(author)},"
    if check == "spf":
        return f"verified: {whose} lets this server send for it"
    good = [each for each in results.dkim or () if each.result is Result.PASS and each.domain == proved]
    unsigned = min((each.unsigned_bytes for each in good), default=0)
    if unsigned:
        return f"verified in part: {whose} signed this, but not the last {unsigned:,} octets of the text"
    return f"verified: {whose} signed this"


def _describe_failure(dmarc: DmarcResult) -> str:
    asks = _ASKS.get(dmarc.published or Policy.NONE)
    if asks is None:
        return f"not verified: nothing shows that {show(dmarc.domain)} sent this"
    return f"not verified: {asks}" + ("" if dmarc.policy is dmarc.published else ", but is only testing this")


def _describe_without_policy(results: Results, author: str) -> str:
    """A domain without a policy may have signed the mail all the same: then it is its own word."""
    for each in results.dkim or ():
        if each.result is Result.PASS and each.domain == author:
            return _describe_proof(results, "dkim", author, author)
    if results.spf is not None and results.spf.result is Result.PASS and results.spf.domain == author:
        return _describe_proof(results, "spf", author, author)
    return f"not verified: {show(author)} does not say how its mail can be told from others'"
