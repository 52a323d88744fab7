"""DMARC: whose a mail is, what its domain asks for, and what strangers cannot change about that."""

from __future__ import annotations

import asyncio
import time

import pytest
from auth.signing import MAIL
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.arc import ArcResult, SetResult
from relay.auth.authors import MOST_DOMAINS, find_author_domains
from relay.auth.authres import parse_results
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult, Forwarders, Identifiers, evaluate
from relay.auth.dmarc_record import Policy, find_record, parse_record
from relay.auth.fields import HEADER_BYTES
from relay.auth.lookup import is_missing, walk_domains
from relay.auth.organisation import build_walk_names, is_within
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Finding, Result
from relay.auth.zone import ZoneResolver

REJECT = {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]}}


def dkim(domain, result=Result.PASS):
    """A verdict on a signature."""
    return DkimResult(result=result, reason="", domain=domain)


def spf(domain, result=Result.PASS):
    """A verdict on a reverse-path."""
    return SpfResult(result=result, identity=SpfIdentity.MAIL_FROM, domain=domain, reason="")


def judge(zone, *proofs, authors=("bank.example",), forwarders=None):
    """The verdict on a mail of some authors, with the DNS of a zone and what SPF and DKIM found."""
    found = Identifiers(
        spf=next((each for each in proofs if isinstance(each, SpfResult)), None),
        dkim=[each for each in proofs if isinstance(each, DkimResult)],
    )

    async def ask():
        resolver = ZoneResolver(zone)
        walks = await walk_domains(
            [*authors, *(domain for _, domain in found.all_with(Result.PASS))], resolver
        )
        missing = {author: await is_missing(author, resolver) for author in authors}
        return evaluate(authors, found, walks, missing, forwarders)

    return asyncio.run(ask())


# --- The record


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"v=DMARC1", "none none none"),
        (b"v=DMARC1; p=reject", "reject reject reject"),
        (b"v = DMARC1 ;P = Reject;SP=QUARANTINE;", "reject quarantine quarantine"),
        (b"v=DMARC1; np=reject; p=none", "none none reject"),
        (b"v=DMARC1; p=reject; p=none; nonsense; =; x=y", "reject reject reject"),
        (b"v=DMARC1; p=block; rua=mailto:a@b.example", "none none none"),
        (b"v=DMARC1; p=reject; sp=block; rua=x, mailto:a@b.example!10m", "none none none"),
    ],
)
def test_policies_of_a_record(octets, expected):
    """p, sp and np stand in for each other, and errors are read as RFC 9989 §4.10.1 says."""
    record = find_record([octets])
    assert f"{record.policy} {record.subdomain_policy} {record.missing_policy}" == expected
    assert not record.unusable


@pytest.mark.parametrize(
    "octets", [b"v=DMARC1; p=block", b"v=DMARC1; p=reject; np=", b"v=DMARC1;p=x;rua=none"]
)
def test_record_without_a_policy_or_reports_is_unusable(octets):
    """A policy that is no word of the RFC applies to nothing, unless reports are wanted."""
    assert parse_record(octets).unusable


def test_flags_of_a_record():
    """adkim, aspf, t and psd are read, and anything else in them is the default."""
    record = parse_record(b"v=DMARC1; adkim=s; aspf=S; t=Y; psd=y")
    assert (record.strict_dkim, record.strict_spf, record.testing, record.public_suffix) == (
        True,
        True,
        True,
        True,
    )
    record = parse_record(b"v=DMARC1; adkim=x; aspf=; t=yes; psd=u")
    assert (record.strict_dkim, record.strict_spf, record.testing, record.public_suffix) == (
        False,
        False,
        False,
        None,
    )
    assert parse_record(b"v=DMARC1; psd=n").public_suffix is False


@pytest.mark.parametrize("unit", [b"a=;", b";", b"p=x;", b"rua=a,", b",", b" ", b"p=x;rua=" + b"," * 60_000])
def test_record_holds_the_loop_for_a_millisecond(unit):
    """A walk reads eight records on the event loop; the largest TXT record takes it under 1 ms."""
    octets = (b"v=DMARC1; p=x; rua=" + unit * (65_000 // len(unit)))[:65_000]

    def cost():
        begun = time.thread_time()
        find_record([octets])
        return time.thread_time() - begun

    assert min(cost() for _ in range(10)) < 0.001


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [b"v=spf1 -all"],
        [b"v=DMARC2; p=reject"],
        [b"v=dmarc1; p=reject"],
        [b"p=reject; v=DMARC1"],
        [b" v=DMARC1"],
        [b"v=DMARC11; p=reject"],
        [b"v=DMARC1; p=reject", b"v=DMARC1; p=reject"],
    ],
)
def test_what_is_no_record(texts):
    """A record has its version first, to the letter; two records are none."""
    assert find_record(texts) is None


def test_other_texts_beside_a_record_do_no_harm():
    """TXT records of other kinds stand beside the policy."""
    assert find_record([b"hello", b"v=DMARC1; p=reject", b"v=spf1"]).policy is Policy.REJECT


# --- The walk


@pytest.mark.parametrize(
    ("domain", "number", "second"),
    [
        ("example", 1, None),
        ("bank.example", 2, "example"),
        ("1.2.3.4.5.6.7", 7, "2.3.4.5.6.7"),
        ("1.2.3.4.5.6.7.8", 8, "2.3.4.5.6.7.8"),
        ("1.2.3.4.5.6.7.8.9", 8, "3.4.5.6.7.8.9"),
        (".".join("x" * 120), 8, "x.x.x.x.x.x.x"),
    ],
)
def test_names_of_a_walk(domain, number, second):
    """A walk asks about the domain, then about its seven last labels or fewer, down to one (RFC 9989
    §4.10).
    """
    names = build_walk_names(domain)
    assert names[0] == domain
    assert len(names) == number
    assert second is None or (names[1], names[-1]) == (second, domain.rpartition(".")[2])


def walk(zone, domain):
    """The walk from a domain, with these policy records by domain."""
    records = {
        f"_dmarc.{place}": {"TXT": text if text == "TIMEOUT" else [text]} for place, text in zone.items()
    }
    return asyncio.run(walk_domains([domain], ZoneResolver(records)))[domain]


P, Y, N = "v=DMARC1; p=reject", "v=DMARC1; psd=y", "v=DMARC1; psd=n"


@pytest.mark.parametrize(
    ("zone", "organisation", "policy_domain"),
    [
        ({}, "a.mail.bank.example", None),
        ({"bank.example": P}, "bank.example", "bank.example"),
        ({"mail.bank.example": P, "bank.example": P}, "bank.example", "bank.example"),
        ({"a.mail.bank.example": P, "bank.example": P}, "bank.example", "a.mail.bank.example"),
        ({"a.mail.bank.example": P}, "a.mail.bank.example", "a.mail.bank.example"),
        ({"example": Y}, "bank.example", "example"),
        ({"example": Y, "bank.example": P}, "bank.example", "bank.example"),
        ({"example": Y, "mail.bank.example": P}, "bank.example", "example"),
        ({"bank.example": Y, "example": P}, "mail.bank.example", "bank.example"),
        ({"bank.example": N, "example": P}, "bank.example", "bank.example"),
        ({"a.mail.bank.example": Y, "example": P}, "a.mail.bank.example", "a.mail.bank.example"),
        ({"a.mail.bank.example": N, "example": P}, "a.mail.bank.example", "a.mail.bank.example"),
        ({"example": P}, "example", "example"),
        ({"bank.example": "v=DMARC1; p=x", "example": P}, "example", "example"),
        ({"bank.example": "TIMEOUT"}, None, None),
        ({"example": "TIMEOUT", "bank.example": P}, None, None),
        ({"example": "TIMEOUT", "bank.example": N}, "bank.example", "bank.example"),
        ({"example": "TIMEOUT", "a.mail.bank.example": P}, None, "a.mail.bank.example"),
    ],
)
def test_organisation_and_policy(zone, organisation, policy_domain):
    """The organisation is found by psd=n, psd=y or the shortest name; the policy is the domain's, or its
    (§4.10).
    """
    found = walk(zone, "a.mail.bank.example")
    assert (found.organisation, found.policy_domain) == (organisation, policy_domain)


# --- The verdict


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (dkim("bank.example"), "a good DKIM signature speaks for the author's domain"),
        (spf("bank.example"), "SPF speaks for the author's domain"),
        (dkim("mail.bank.example"), "a good DKIM signature speaks for the author's organisation"),
        (spf("bounce.mail.bank.example"), "SPF speaks for the author's organisation"),
    ],
)
def test_mail_that_its_domain_stands_behind_passes(proof, reason):
    """One proved domain of the author's organisation is enough."""
    result = judge(REJECT, dkim("other.example"), dkim("x.example", Result.FAIL), proof)
    assert (result.result, result.reason) == (Result.PASS, reason)
    assert (result.domain, result.policy, result.policy_domain) == ("bank.example", "reject", "bank.example")
    assert result.aligned_by == ("spf" if isinstance(proof, SpfResult) else "dkim")
    assert result.aligned_domain == proof.domain


@pytest.mark.parametrize(
    "proofs",
    [
        [],
        [dkim("evil.example"), spf("evil.example")],
        [dkim("notbank.example")],
        [dkim("example")],
        [dkim("bank.example", Result.FAIL), spf("bank.example", Result.SOFTFAIL)],
        [dkim("bank.example", Result.POLICY), dkim("bank.example", Result.NEUTRAL), dkim("", Result.PASS)],
    ],
)
def test_mail_that_its_domain_does_not_stand_behind_fails(proofs):
    """Proofs for other domains, and failed ones for the author's, are no proof."""
    assert judge(REJECT, *proofs) == DmarcResult(
        result=Result.FAIL,
        reason="neither DKIM nor SPF speaks for the author's domain, which asks to reject such mail",
        domain="bank.example",
        policy=Policy.REJECT,
        published=Policy.REJECT,
        policy_domain="bank.example",
    )


def test_alignment_can_be_strict():
    """With adkim=s and aspf=s only the author's own domain speaks for it."""
    zone = {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject; adkim=s"]}}
    assert judge(zone, dkim("mail.bank.example")).result is Result.FAIL
    assert judge(zone, dkim("bank.example")).result is Result.PASS
    assert judge(zone, spf("mail.bank.example")).result is Result.PASS
    zone = {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject; aspf=s"]}}
    assert judge(zone, spf("mail.bank.example")).result is Result.FAIL
    assert judge(zone, dkim("mail.bank.example")).result is Result.PASS


def test_public_suffix_parts_organisations():
    """Two tenants below a name with psd=y are two organisations, though one record lies above both."""
    zone = {"_dmarc.shared.example": {"TXT": ["v=DMARC1; p=reject; psd=y"]}}
    verdict = judge(zone, dkim("evil.shared.example"), authors=("bank.shared.example",))
    assert (verdict.result, verdict.policy_domain) == (Result.FAIL, "shared.example")
    verdict = judge(zone, dkim("mail.bank.shared.example"), authors=("bank.shared.example",))
    assert verdict.result is Result.PASS


@pytest.mark.parametrize(
    ("record", "author", "exists", "policy"),
    [
        ("p=reject; sp=quarantine; np=none", "bank.example", True, "reject"),
        ("p=reject; sp=quarantine; np=none", "mail.bank.example", True, "quarantine"),
        ("p=reject; sp=quarantine; np=none", "mail.bank.example", False, "none"),
        ("p=none; np=reject", "x.bank.example", False, "reject"),
        ("p=none; np=reject", "x.bank.example", True, "none"),
        ("p=quarantine; sp=none", "x.bank.example", False, "none"),
    ],
)
def test_policy_for_subdomains(record, author, exists, policy):
    """The policy in p is the domain's own, sp its subdomains', np that of names that do not exist."""
    zone = {"_dmarc.bank.example": {"TXT": [f"v=DMARC1; {record}"]}}
    if exists:
        zone[author] = {"AAAA": ["2001:db8::1"]}
    assert judge(zone, authors=(author,)).policy == policy


def test_existence_that_dns_does_not_tell_is_no_reason_for_np():
    """The policy in np is for names that do not exist; where DNS failed, sp is asked for."""
    zone = {
        "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=none; np=reject"]},
        "x.bank.example": {"*": "TIMEOUT"},
    }
    assert judge(zone, authors=("x.bank.example",)).policy == "none"


def test_domain_that_is_testing_its_policy():
    """With t=y the policy is not to be applied, and the reason says what it will be."""
    zone = {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject; t=y"]}}
    verdict = judge(zone)
    assert (verdict.result, verdict.policy, verdict.published) == (Result.FAIL, Policy.NONE, Policy.REJECT)
    assert verdict.reason.endswith("which asks to reject such mail, but is only testing this (t=y)")


def test_domain_without_a_record():
    """Without a record there is nothing to judge by, whatever passed."""
    verdict = judge({}, dkim("bank.example"))
    assert (verdict.result, verdict.policy) == (Result.NONE, None)
    assert verdict.reason == "the author's domain has no DMARC record"


def test_record_that_cannot_be_understood():
    """A record without a proper policy is a permanent error, and asks for nothing."""
    verdict = judge({"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=block"]}})
    assert (verdict.result, verdict.policy) == (Result.PERMERROR, None)


# --- DNS that fails


def test_policy_that_dns_does_not_tell():
    """A policy that DNS keeps back is a temporary error, and no policy."""
    verdict = judge({"_dmarc.bank.example": {"TXT": "SERVFAIL"}}, dkim("bank.example"))
    assert (verdict.result, verdict.policy) == (Result.TEMPERROR, None)
    zone = {"_dmarc.example": {"TXT": "TIMEOUT"}, "_dmarc.mail.bank.example": {"TXT": ["v=DMARC1; p=reject"]}}
    assert judge(zone, authors=("mail.bank.example",)).result is Result.FAIL
    zone = {"_dmarc.example": {"TXT": "TIMEOUT"}} | REJECT
    assert judge(zone, authors=("mail.bank.example",)).result is Result.TEMPERROR


def test_check_that_dns_kept_from_the_author():
    """A signature of the author's own domain whose key DNS kept back leaves the verdict open."""
    for proof in (dkim("bank.example", Result.TEMPERROR), spf("mail.bank.example", Result.TEMPERROR)):
        verdict = judge(REJECT, proof)
        expected = "DNS did not answer for a check that may speak for the author's domain"
        assert (verdict.result, verdict.reason, verdict.policy) == (Result.TEMPERROR, expected, Policy.REJECT)


def test_stranger_cannot_put_the_verdict_in_doubt():
    """DNS of another domain that fails on purpose does not keep a spoofed mail from failing."""
    zone = REJECT | {"_dmarc.evil.example": {"TXT": "TIMEOUT"}}
    proofs = (
        dkim("evil.example", Result.TEMPERROR),
        dkim("evil.example"),
        spf("evil.example", Result.TEMPERROR),
    )
    assert judge(zone, *proofs).result is Result.FAIL


def test_good_signature_outweighs_dns_that_fails():
    """One proof is enough, though DNS failed for others."""
    assert judge(REJECT, spf("bank.example", Result.TEMPERROR), dkim("bank.example")).result is Result.PASS


# --- Authors


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"From: a@bank.example", ("bank.example",)),
        (b"From : The Bank <a@BANK.Example.>", ("bank.example",)),
        (b"From: =?utf-8?q?ceo=40bank.example?= <x@evil.example>", ("evil.example",)),
        (b'From: "ceo@bank.example" <x@evil.example>', ("evil.example",)),
        (b"From: a@bank.example, b@bank.example, c@other.example", ("bank.example", "other.example")),
        (b"From: a@bank.example\r\nFrom: b@evil.example", ("bank.example", "evil.example")),
        ("From: a@münchen.example".encode(), ("xn--mnchen-3ya.example",)),
        (b"From: Team: a@bank.example, b@other.example;", ("bank.example", "other.example")),
    ],
)
def test_domains_of_authors(header, expected):
    """All From fields are read, with groups, names and letters of all languages, and each domain
    counts once.
    """
    assert find_author_domains(header) == expected


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "the mail has no author"),
        (b"From:", "the mail has no author"),
        (b"Sender: a@bank.example", "the mail has no author"),
        (b"From: The Bank", "an author has no domain"),
        (b"From: a@bank.example, somebody", "an author has no domain"),
        (b"From: a@[192.0.2.1]", "an author has no domain"),
        (b"From: a@bank..example", "an author has no domain"),
        (b"From: a@bank%example", "an author has no domain"),
        (
            b"From: " + b", ".join(b"a@%d.example" % at for at in range(9)),
            "the mail has authors of over 8 domains",
        ),
    ],
)
def test_authors_that_cannot_be_judged(header, reason):
    """No author, one without a domain, or too many of them are a permanent error."""
    found = find_author_domains(header)
    assert found == Finding(result=Result.PERMERROR, reason=reason)
    assert evaluate(found, Identifiers(spf=None, dkim=()), {}, {}).reason == reason


def test_worst_author_counts():
    """Of several authors each is judged: a second one who passes helps no spoofed one."""
    zone = REJECT | {
        "_dmarc.evil.example": {"TXT": ["v=DMARC1; p=none"]},
        "_dmarc.soft.example": {"TXT": ["v=DMARC1; p=quarantine"]},
        "_dmarc.away.example": {"TXT": "TIMEOUT"},
    }
    verdict = judge(zone, dkim("evil.example"), authors=("evil.example", "bank.example"))
    assert (verdict.result, verdict.domain, verdict.policy) == (Result.FAIL, "bank.example", "reject")
    assert verdict.reason.startswith("of 2 authors' domains the worst: neither DKIM nor SPF")
    for authors, word, worst in (
        (("soft.example", "bank.example"), "fail", "bank.example"),
        (("evil.example", "away.example"), "temperror", "away.example"),
        (("evil.example", "unknown.example"), "none", "unknown.example"),
        (("away.example", "unknown.example"), "temperror", "away.example"),
        (("bank.example", "away.example"), "fail", "bank.example"),
    ):
        verdict = judge(zone, dkim("evil.example"), authors=authors)
        assert (verdict.result.value, verdict.domain) == (word, worst)


# --- Trusted forwarders


def chain(*sets, result=Result.PASS):
    """A chain of sealers, each with the results that it wrote."""
    good = Finding(result=Result.PASS, reason="")
    return ArcResult(
        result=result,
        reason="",
        sets=tuple(
            SetResult(instance=at, domain=domain, selector="s", seal=good, message=good, results=written)
            for at, (domain, written) in enumerate(sets, 1)
        ),
    )


SAW = b"i=1; mx.list.example; dkim=pass header.d=bank.example; dmarc=pass (p=reject) header.from=bank.example"
FAILED = b"i=2; mx.list.example; arc=pass; dmarc=fail header.from=bank.example"


@pytest.mark.parametrize(
    ("forwarded", "lifted"),
    [
        (chain(("list.example", SAW)), "list.example"),
        (chain(("mx.list.example", SAW)), "mx.list.example"),
        (chain(("list.example", SAW), ("other.example", FAILED)), "list.example"),
        (chain(("evil.example", SAW), ("list.example", FAILED)), ""),
        (chain(("list.example", SAW), ("evil.example", FAILED)), ""),
        (chain(("list.example", SAW), result=Result.FAIL), ""),
        (chain(("list.example", SAW), result=Result.TEMPERROR), ""),
        (chain(("notlist.example", SAW)), ""),
        (chain(("list.example", SAW.replace(b"bank", b"evil"))), ""),
        (chain(("list.example", SAW.replace(b"dmarc=pass", b"dmarc=fail"))), ""),
        (chain(("list.example", b"i=1; mx; dkim=pass (dmarc=pass header.from=bank.example)")), ""),
        (chain(("list.example", b'i=1; mx; dkim=pass reason="; dmarc=pass header.from=bank.example"')), ""),
        (chain(), ""),
    ],
)
def test_trusted_sealer_lifts_a_failure(forwarded, lifted):
    """A failure is lifted by what a trusted sealer saw, when nobody but trusted sealers touched the mail
    since.
    """
    trusted = Forwarders(chain=forwarded, trusted=("list.example", "Other.example"))
    verdict = judge(REJECT, forwarders=trusted)
    assert verdict.result is Result.FAIL
    assert (verdict.lifted_by, verdict.policy) == (lifted, Policy.NONE if lifted else Policy.REJECT)
    assert verdict.published is Policy.REJECT
    assert verdict.reason.endswith("but it passed at a forwarder that is trusted") == bool(lifted)


def test_sealer_lifts_only_the_author_that_it_saw():
    """What a forwarder says of one author leaves another author's failure as it is."""
    zone = REJECT | {"_dmarc.shop.example": {"TXT": ["v=DMARC1; p=reject"]}}
    trusted = Forwarders(chain=chain(("list.example", SAW)), trusted=("list.example",))
    verdict = judge(zone, authors=("bank.example", "shop.example"), forwarders=trusted)
    assert (verdict.domain, verdict.policy, verdict.lifted_by) == ("shop.example", Policy.REJECT, "")


def test_pass_needs_no_forwarder():
    """A verdict that is no failure stays as it is."""
    trusted = Forwarders(chain=chain(("list.example", SAW)), trusted=("list.example",))
    assert judge(REJECT, dkim("bank.example"), forwarders=trusted) == judge(REJECT, dkim("bank.example"))


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (
            b"mx.example; spf=pass smtp.mailfrom=a@b.example",
            [("spf", "pass", {"smtp.mailfrom": "a@b.example"})],
        ),
        (b"mx.example 1; none", []),
        (
            b'i=1; mx; dkim/1 = Pass (good (very)) reason = "a \\"b; c" Header.D=d.example; iprev=fail',
            [
                ("i", "1", {}),
                ("dkim", "pass", {"reason": 'a "b; c', "header.d": "d.example"}),
                ("iprev", "fail", {}),
            ],
        ),
        (b'mx; dkim=pass "; spf=pass', [("dkim", "pass", {}), ("spf", "pass", {})]),
        (b"mx; (dkim=pass; spf=pass", []),
    ],
)
def test_results_of_others(octets, expected):
    """Results are read without comments and quotes; what does not end hides what follows, as in RFC 8601
    §2.2.
    """
    assert [(each.method, each.result, dict(each.properties)) for each in parse_results(octets)] == expected


# --- Anything

NAMES = st.sampled_from(
    ["bank.example", "mail.bank.example", "example", "evil.example", "x.y.bank.example", ""]
)
TEXTS = st.one_of(
    st.lists(
        st.sampled_from([
            "v=DMARC1", ";", " p=reject", "p=", "sp=none", "np=quarantine", "psd=y", "psd=n", "adkim=s", "t=y", "rua=mailto:a@b", "=", "\xff", "\x00",
        ])
    ).map("".join),
    st.text(st.characters(max_codepoint=255), max_size=30),
)  # fmt: skip
ANSWERS = st.one_of(st.lists(TEXTS, max_size=3), st.just("TIMEOUT"))


@settings(max_examples=examples(60))
@given(
    zone=st.dictionaries(
        st.sampled_from([f"_dmarc.{name}" for name in ("x.y.bank.example", "mail.bank.example", "bank.example", "example")]),
        ANSWERS,
    ),
    passed=st.lists(st.tuples(NAMES, st.sampled_from(list(Result))), max_size=4),
    authors=st.lists(NAMES.filter(bool), min_size=1, max_size=3, unique=True),
)  # fmt: skip
def test_any_dns_has_a_verdict(zone, passed, authors):
    """No records, names or results raise; a pass has a proved domain within the organisation of the
    author.
    """
    verdict = judge(
        {name: {"TXT": texts} for name, texts in zone.items()},
        *(dkim(name, result) for name, result in passed),
        authors=tuple(authors),
    )
    assert verdict.reason.isascii()
    assert verdict.reason.isprintable()
    if verdict.result is Result.PASS:
        assert (verdict.aligned_domain, Result.PASS) in passed
        assert is_within(verdict.aligned_domain, "example")
        assert verdict.policy_domain


@settings(max_examples=examples(60))
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([b'"', b"\\", b"(", b")", b";", b"=", b"dmarc", b"pass", b" "])).map(
            b"".join
        ),
    )
)
def test_any_octets_are_results_or_none(octets):
    """No octets of another server's results, of a record or of a header raise."""
    parse_results(octets)
    parse_record(octets)
    find_author_domains(b"From: " + octets)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", [b'"', b'\\"', b"(", b")", b";", b"=", b"a=b;", b"a", b" ", b'"\\', b"a@b.c,", b"<", b"p=x;"]
)
def test_time_grows_as_the_octets_do(unit):
    """Twice the octets take less than three times as long, in each reader."""

    def read(octets):
        return (
            parse_results(octets),
            parse_record(b"v=DMARC1;" + octets),
            find_author_domains(b"From: " + octets),
        )

    assert grows_too_fast(read, lambda size: unit * (size // len(unit)), HEADER_BYTES // 16) == ""


def test_limits_are_those_that_the_documents_name():
    """Eight domains of authors are the most; the mail of these tests has one."""
    assert MOST_DOMAINS == 8
    assert find_author_domains(MAIL) == ("bank.example",)
