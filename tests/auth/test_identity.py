"""The attributes of a contact that say who sent a mail, and the sentence that an agent reads."""

from __future__ import annotations

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.arc import ArcResult, SetResult
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dmarc_record import Policy
from relay.auth.identity import Results, build_identity_attributes, describe_identity
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Finding, Result, show

SPF = SpfResult(
    result=Result.PASS, identity=SpfIdentity.MAIL_FROM, domain="bank.example", reason="a record matched"
)
GOOD = DkimResult(
    result=Result.PASS, reason="the signature is good", domain="bank.example", selector="s1", identity="@x"
)
BAD = DkimResult(result=Result.FAIL, reason="the body was changed", domain="other.example", selector="s 2")
PASSED = DmarcResult(
    result=Result.PASS,
    reason="a good DKIM signature speaks for the author's domain",
    domain="bank.example",
    policy=Policy.REJECT,
    published=Policy.REJECT,
    aligned_by="dkim",
    aligned_domain="bank.example",
)
FAILED = DmarcResult(
    result=Result.FAIL,
    reason="neither speaks",
    domain="bank.example",
    policy=Policy.REJECT,
    published=Policy.REJECT,
)
SEALED = ArcResult(
    result=Result.PASS,
    reason="each sealed",
    sets=tuple(
        SetResult(instance=at, domain=domain, selector="s", seal=found, message=found, results=b"")
        for at, domain in enumerate(("a.example", "b.example", "a.example"), 1)
        for found in [Finding(result=Result.PASS, reason="")]
    ),
)


def changed(result, **changes):
    """The result of DMARC with other values."""
    values = {name: getattr(result, name) for name in result.__slots__}
    return DmarcResult(**values | changes)


def test_attributes_of_all_results():
    """Each check has its word and its detail, and a token that is no plain name is quoted."""
    found = build_identity_attributes(Results(spf=SPF, dkim=(BAD, GOOD), arc=SEALED, dmarc=PASSED))
    assert found == {
        "relay_spf": "pass",
        "relay_spf_detail": "bank.example: a record matched",
        "relay_dkim": "pass",
        "relay_dkim_detail": (
            'fail other.example "s 2": the body was changed; pass bank.example s1: the signature is good'
        ),
        "relay_dmarc": "pass",
        "relay_dmarc_detail": "bank.example: a good DKIM signature speaks for the author's domain",
        "relay_arc": "pass",
        "relay_arc_detail": "each sealed (sealed by a.example, b.example)",
        "relay_identity": "verified: bank.example signed this",
    }


def test_checks_that_were_not_made_have_no_attribute():
    """Without checks there is one sentence, and an unsigned mail has the word none."""
    assert build_identity_attributes(Results()) == {"relay_identity": "not checked"}
    assert build_identity_attributes(Results(dkim=()))["relay_dkim"] == "none"
    assert "relay_dkim_detail" not in build_identity_attributes(Results(dkim=()))


@pytest.mark.parametrize(
    ("words", "best"),
    [
        ("fail pass", "pass"),
        ("fail temperror", "temperror"),
        ("permerror neutral fail", "fail"),
        ("neutral policy", "policy"),
        ("permerror neutral", "neutral"),
    ],
)
def test_best_signature_stands_for_all(words, best):
    """A signature that passes counts before one still open, and that before failed ones."""
    signatures = tuple(DkimResult(result=Result(word), reason="") for word in words.split())
    assert Results(dkim=signatures).best_dkim.result == best


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (Results(spf=SPF), "not checked"),
        (Results(dmarc=PASSED, dkim=(GOOD,)), "verified: bank.example signed this"),
        (
            Results(dmarc=changed(PASSED, aligned_by="spf")),
            "verified: bank.example lets this server send for it",
        ),
        (
            Results(dmarc=changed(PASSED, aligned_domain="mail.bank.example")),
            "verified: mail.bank.example, which belongs with bank.example, signed this",
        ),
        (
            Results(
                dmarc=PASSED,
                dkim=(
                    DkimResult(result=Result.PASS, reason="", domain="bank.example", unsigned_bytes=1_027),
                ),
            ),
            "verified in part: bank.example signed this, but not the last 1,027 octets of the text",
        ),
        (Results(dmarc=FAILED), "not verified: the domain asks to reject such mail"),
        (
            Results(dmarc=changed(FAILED, policy=Policy.QUARANTINE, published=Policy.QUARANTINE)),
            "not verified: the domain asks to treat such mail as suspicious",
        ),
        (
            Results(dmarc=changed(FAILED, policy=Policy.NONE, published=Policy.NONE)),
            "not verified: nothing shows that bank.example sent this",
        ),
        (
            Results(dmarc=changed(FAILED, policy=Policy.NONE)),
            "not verified: the domain asks to reject such mail, but is only testing this",
        ),
        (
            Results(dmarc=changed(FAILED, policy=Policy.NONE, lifted_by="list.example")),
            "verified by a forwarder: list.example, which is trusted here, saw that bank.example sent this",
        ),
        (
            Results(dmarc=DmarcResult(result=Result.NONE, reason="", domain="shop.example")),
            "not verified: shop.example does not say how its mail can be told from others'",
        ),
        (
            Results(dmarc=DmarcResult(result=Result.NONE, reason="", domain="bank.example"), dkim=(GOOD,)),
            "verified: bank.example signed this",
        ),
        (
            Results(dmarc=DmarcResult(result=Result.NONE, reason="", domain="bank.example"), spf=SPF),
            "verified: bank.example lets this server send for it",
        ),
        (
            Results(dmarc=DmarcResult(result=Result.PERMERROR, reason="the mail has no author")),
            "not verified: the mail has no author",
        ),
        (
            Results(dmarc=DmarcResult(result=Result.TEMPERROR, reason="DNS did not answer")),
            "not verified: DNS did not answer",
        ),
    ],
)
def test_sentence_for_an_agent(results, sentence):
    """The sentence says who is proved to have sent the mail, or why nobody is."""
    assert describe_identity(results) == sentence


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("bank.example", "bank.example"),
        ("a@b.example", "a@b.example"),
        ("", '""'),
        ("verified: bank.example", '"verified: bank.example"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\r\nb\u202e", '"a??b?"'),
        (b"\xff=", '"?="'),
        ("-x", '"-x"'),
        ("x" * 300, "x" * 255),
    ],
)
def test_token_of_a_peer(token, shown):
    """A token is plain or quoted, printable ASCII, and of bounded length."""
    assert show(token) == shown


TOKENS = st.one_of(
    st.text(max_size=30), st.sampled_from(['";', "\r\nX: y", "verified: bank.example", "a; dmarc=pass"])
)


@settings(max_examples=examples(50))
@given(
    domain=TOKENS,
    selector=TOKENS,
    result=st.sampled_from([word for word in Result if word is not Result.SOFTFAIL]),
    lifted=st.one_of(st.just(""), TOKENS),
)
def test_no_token_gets_out_of_its_place(domain, selector, result, lifted):
    """Whatever a peer's names are, each attribute is one line of ASCII, and they stand in it quoted."""
    results = Results(
        spf=SpfResult(result=result, identity=SpfIdentity.MAIL_FROM, domain=domain, reason="r"),
        dkim=(DkimResult(result=result, reason="r", domain=domain, selector=selector),),
        dmarc=DmarcResult(result=result, reason="r", domain=domain, aligned_domain=domain, lifted_by=lifted),
        arc=SEALED,
    )
    found = build_identity_attributes(results)
    for value in found.values():
        assert value.isascii()
        assert value.isprintable()
    if domain and show(domain).startswith('"'):
        assert found["relay_spf_detail"] == f"{show(domain)}: r"
        assert domain not in found["relay_dkim_detail"].replace(show(domain), "").replace(show(selector), "")
