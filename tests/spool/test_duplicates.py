"""The rule of duplicates, and the client token that says the same to Connect."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.spool.duplicates import (
    Likeness,
    build_next_token,
    build_token,
    is_retransmission,
    normalise_reverse_path,
)

MAIL = Likeness(
    fingerprint="f" * 64,
    instance_id="i",
    address="support@example.com",
    route="support",
    tag="vip",
    sender="ann@customer.example",
)
OTHERS = [
    {"fingerprint": "e" * 64},
    {"instance_id": "j"},
    {"address": "sales@example.com"},
    {"route": "form"},
    {"tag": ""},
    {"sender": ""},
    {"sender": "eve@customer.example"},
]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ann@Customer.EXAMPLE", "ann@customer.example"),
        ("prvs=4711abcdef=ann@customer.example", "prvs=0815fedcba=ann@customer.example"),
        ("PRVS=4711abcdef=ann@customer.example", "ann@customer.example"),
        ("btv1==471a1b2c3d4==ann@customer.example", "BTV1==08152b3c4d5==ann@customer.example"),
        ("btv1==471a1b2c3d4==ann@customer.example", "ann@customer.example"),
        ("SRS0=HHH1=A1=customer.example=ann@fwd.example", "SRS0=zzz9=B2=customer.example=ann@fwd.example"),
        ("SRS0+HHH1=A1=customer.example=ann@fwd.example", "srs0=h-+/=B2=Customer.Example=ann@FWD.example"),
        (
            "SRS1=HHH1=fwd.example==h1=A1=customer.example=ann@two.example",
            "SRS1=zzz9=fwd.example==h2=B2=customer.example=ann@two.example",
        ),
        ("SRS0=h=A1=c.example=prvs=1=ann@fwd.example", "SRS0=g=A2=c.example=prvs=2=ann@fwd.example"),
        ("prvs=1=SRS0=h=A1=c.example=ann@fwd.example", "prvs=2=SRS0=g=A2=c.example=ann@fwd.example"),
    ],
)
def test_what_changes_with_each_try_is_not_compared(first, second):
    """BATV's tag, the hash and timestamp of SRS and the case of a domain say nothing of who sends."""
    assert normalise_reverse_path(first) == normalise_reverse_path(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ann@customer.example", "ann@customer.example"),
        ("ann@customer.example", "ann@customer.example.org"),
        ("prvs=1=ann@customer.example", "prvs=1=eve@customer.example"),
        ("SRS0=h=A1=customer.example=ann@fwd.example", "SRS0=h=A1=customer.example=eve@fwd.example"),
        ("SRS0=h=A1=customer.example=ann@fwd.example", "SRS0=h=A1=other.example=ann@fwd.example"),
        ("SRS0=h=A1=customer.example=ann@fwd.example", "SRS0=h=A1=customer.example=ann@other.example"),
        ("SRS1=h=f.example==h=A1=c.example=ann@t.example", "SRS1=h=g.example==h=A1=c.example=ann@t.example"),
        ("list+tag1=ann@lists.example", "list+tag2=ann@lists.example"),
        (None, "ann@customer.example"),
        (None, "mailer-daemon@customer.example"),
    ],
)
def test_who_sends_is_compared(first, second):
    """A local part keeps its case, and what it means: another writer, another forwarder, another list."""
    assert normalise_reverse_path(first) != normalise_reverse_path(second)


@given(st.text())
def test_any_reverse_path_has_one_form_that_stays(text):
    """Whatever a peer says has a form, which is its own form once the case of its domain is gone."""
    once = normalise_reverse_path(text)
    assert once.rpartition("@")[2] == once.rpartition("@")[2].lower()


@pytest.mark.parametrize("other", OTHERS)
def test_token_is_made_of_exactly_what_the_rule_compares(other):
    """What makes another mail makes another token, and the salt of a mail without Message-ID too."""
    another = replace(MAIL, **other)
    assert not is_retransmission(another, MAIL)
    assert build_token(another, salt="") != build_token(MAIL, salt="")
    assert build_token(MAIL, salt="a") != build_token(MAIL, salt="b")


def test_same_mail_is_a_retransmission_with_the_same_token():
    """The case of the destination does not count; the token is the same in every process and version."""
    again = replace(MAIL, address="Support@Example.com")
    assert is_retransmission(again, MAIL)
    assert build_token(again, salt="") == build_token(MAIL, salt="")
    assert (
        build_token(MAIL, salt="") == "cmr-d6338886a2bc0d3f9771420e5b373a79974e6d492eb0d13b49c063161b2d6a37"
    )


@pytest.mark.parametrize("other", OTHERS[3:])
def test_record_of_an_earlier_version_vouches_for_every_route(other):
    """A record without tag and sender is taken for any route, tag and sender, as its own version did."""
    record = replace(MAIL, route=None, tag=None, sender=None)
    assert is_retransmission(replace(MAIL, **other), record)
    assert not is_retransmission(replace(MAIL, address="sales@example.com"), record)


@pytest.mark.parametrize(
    ("earlier", "later", "same"),
    [
        ("fail", "pass", False),
        ("pass", "fail", True),
        ("none", "pass", True),
        ("fail", "fail", True),
        ("", "", True),
    ],
)
def test_mail_that_dmarc_passes_is_no_duplicate_of_mail_that_failed(earlier, later, same):
    """Whoever replays known octets first, and fails, neither swallows the mail nor takes its token."""
    first, second = replace(MAIL, dmarc=earlier), replace(MAIL, dmarc=later)
    assert is_retransmission(second, first) is same
    if not same:
        assert build_token(first, salt="") != build_token(second, salt="")


def test_next_tokens_never_repeat():
    """Each refusal makes a token that was not there before, down the ladder and again from its top."""
    tokens = [build_token(MAIL, salt="")]
    for rung in (1, 2, 0, 1, 2, 0):
        tokens.append(build_next_token(tokens[-1], rung=rung))
    assert len(set(tokens)) == len(tokens)
    assert build_next_token("a", rung=1) != build_next_token("a", rung=2)


@given(st.text(), st.text())
def test_token_is_never_ambiguous(first, second):
    """Parts do not run into each other, and any text gives at most 500 characters of ASCII."""
    one = build_token(replace(MAIL, tag=first + second, sender=""), salt="")
    two = build_token(replace(MAIL, tag=first, sender=second), salt="")
    assert (one == two) == (second == "")
    assert len(one) <= 500
    assert one.isascii()
