"""The results of a mail in front of its copy, and no forged ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.authres import parse_results
from relay.auth.stored import add_results
from relay.envelope import Envelope, ForwardPath, Peer

TRACE = b"Received: from c.example ([203.0.113.6])\r\n\tby mx.ours.example; x\r\n"
ENVELOPE = Envelope(
    reverse_path="ann@bank.example",
    forward_paths=(ForwardPath(address="support@example.com"),),
    peer=Peer(address="203.0.113.6", port=25),
    received_at=datetime(2026, 11, 29, tzinfo=UTC),
)
RESULTS = {
    "relay_spf": "pass",
    "relay_spf_detail": "bank.example: ip4 matched",
    "relay_dkim": "none",
    "relay_dmarc": "fail",
    "relay_dmarc_policy": "reject",
    "relay_identity": "not verified",
}


def export(mail, results=RESULTS):
    return add_results(
        TRACE + mail, results, hostname="mx.ours.example", envelope=ENVELOPE, trace_size=len(TRACE)
    )


def test_our_results_stand_in_front():
    """Behind our field are our Received field and the mail, to the octet."""
    mail = b"Authentication-Results: mx.elsewhere.example; spf=fail\r\nSubject: x\r\n\r\nHello\r\n"
    field, found, rest = export(mail).partition(TRACE)
    assert (found, rest) == (TRACE, mail)
    assert field.startswith(b"Authentication-Results: mx.ours.example;\r\n")
    told = {one.method: one for one in parse_results(field.partition(b":")[2])}
    assert {name: one.result for name, one in told.items()} == {
        "spf": "pass",
        "dkim": "none",
        "dmarc": "fail",
    }
    assert told["spf"].properties["smtp.mailfrom"] == "bank.example"
    assert told["dmarc"].properties["policy.dmarc"] == "reject"


def test_scans_stand_beside_the_checks():
    """The words of scanners are those of RFC 8601, under methods without a registration."""
    results = {
        "relay_virus": "virus",
        "relay_virus_detail": 'virus found, "x\r\n"',
        "relay_spam": "unavailable",
    }
    field = export(b"A: b\r\n\r\n", results).partition(TRACE)[0]
    told = {one.method: str(one.result) for one in parse_results(field.partition(b":")[2])}
    assert told == {"x-virus": "fail", "x-spam": "temperror"}
    assert field.count(b"\n") == field.count(b"\r\n\t") + 1


def test_mail_that_was_not_checked_says_so():
    """Without results the field has the word `none` (RFC 8601 §2.2)."""
    assert export(b"A: b\r\n\r\n", {}).startswith(b"Authentication-Results: mx.ours.example;\r\n\tnone\r\n")


@pytest.mark.parametrize(
    "forged",
    [
        b"Authentication-Results: mx.ours.example; dmarc=pass",
        b"AUTHENTICATION-RESULTS : MX.Ours.Example. ; dmarc=pass",
        b"Authentication-Results:\r\n\tmx.ours.example 1;\r\n\tdmarc=pass",
        b"Authentication-Results: (a; comment) mx.ours.example; dmarc=pass",
        b'Authentication-Results: "mx.ours.example"; dmarc=pass',
    ],
)
@pytest.mark.parametrize("place", ["first", "last", "alone"])
def test_forged_results_in_our_name_are_left_out(forged, place):
    """However the name is written, and wherever the field stands."""
    others = {"first": [forged, b"Subject: x"], "last": [b"Subject: x", forged], "alone": [forged]}[place]
    body = b"\r\nAuthentication-Results: mx.ours.example; dmarc=pass\r\n"
    _, _, rest = export(b"\r\n".join(others) + b"\r\n" + body).partition(TRACE)
    assert rest == (b"" if place == "alone" else b"Subject: x\r\n") + body


def test_body_is_never_looked_at():
    """A mail without a header has no forged field, whatever its body looks like."""
    mail = b"\r\nAuthentication-Results: mx.ours.example; dmarc=pass\r\n\r\nHello\r\n"
    assert export(mail).endswith(TRACE + mail)


@given(st.binary(max_size=300), st.dictionaries(st.sampled_from(list(RESULTS)), st.text(max_size=40)))
def test_any_octets_and_results_give_one_field_in_front(mail, results):
    """Whatever a mail or a stored reason holds, it adds no line to our field, and takes no octet of the
    trace.
    """
    field, found, _ = export(mail, results).partition(TRACE)
    assert found == TRACE
    assert field.isascii()
    assert all(line.startswith((b"\t", b"Authentication-Results: ")) for line in field.split(b"\r\n")[:-1])
