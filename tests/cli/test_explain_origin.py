"""`relay explain --peer … --dns …`: who sent a mail, said without a network."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from relay.cli import main

pytestmark = pytest.mark.process  # explain has a worker read each mail

SPOOFED = b"From: The Boss <ceo@bank.example>\nTo: support@example.com\nSubject: Urgent\n\nPay at once.\n"
ZONE = {
    "bank.example": {"TXT": [["v=spf1 ip4:192", ".0.2.1 -all"]]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mail.bank.example"]},
    "mail.bank.example": {"A": ["192.0.2.1"]},
    "silent.example": {"*": "TIMEOUT"},
    "_dmarc.silent.example": {"*": "SERVFAIL"},
}


@pytest.fixture
def explain(tmp_path):
    """Explain a mail with options; the answer is the object of its only destination."""
    (tmp_path / "zone.json").write_text(json.dumps(ZONE))

    def run(raw, *options, zone=True):
        (tmp_path / "mail.eml").write_bytes(raw)
        dns = ["--dns", str(tmp_path / "zone.json")] if zone else []
        result = CliRunner().invoke(main, ["explain", "--json", *options, *dns, str(tmp_path / "mail.eml")])
        assert result.exit_code == 0, result.output
        (line,) = result.stdout.splitlines()
        return json.loads(line)

    return run


def test_mail_from_a_domains_own_server_is_verified(explain):
    """A mail that the domain's SPF record vouches for passes DMARC, and the agent reads why."""
    record = explain(
        SPOOFED, "--peer", "192.0.2.1", "--helo", "mail.bank.example", "--mail-from", "x@bank.example"
    )
    identity = record["identity"]
    assert identity["spf"] == identity["dmarc"] == identity["iprev"] == "pass"
    assert (identity["dkim"], identity["arc"], identity["dmarc_policy"]) == ("none", "none", "reject")
    assert identity["summary"] == "verified: bank.example lets this server send for it"
    attributes = record["request"]["Attributes"]
    assert attributes["relay_identity"] == identity["summary"]
    assert (attributes["relay_spf"], attributes["relay_dmarc"]) == ("pass", "pass")
    assert attributes["relay_peer"] == "192.0.2.1"
    assert attributes["relay_helo"] == "mail.bank.example"


def test_spoofed_mail_says_that_the_domain_asks_to_reject_it(explain):
    """A mail in a bank's name from elsewhere fails, and is explained all the same."""
    record = explain(
        SPOOFED, "--peer", "203.0.113.6", "--helo", "x.example", "--mail-from", "a@elsewhere.example"
    )
    identity = record["identity"]
    assert (identity["spf"], identity["dmarc"], identity["dmarc_policy"]) == ("none", "fail", "reject")
    assert identity["summary"] == "not verified: the domain asks to reject such mail"
    assert record["request"]["Attributes"]["relay_envelope_from"] == "a@elsewhere.example"
    assert set(identity["reasons"]) >= {"spf", "dmarc"}


def test_refusal_by_the_policy_says_which_rule_and_which_reply(explain, tmp_path):
    """A mail that a policy refuses is explained with the rule, the reply, and the results."""
    config = tmp_path / "relay.toml"
    config.write_text(
        '[s3]\nbucket = "b-1"\n[connect]\ninstance_id = "12345678-90ab-cdef-1234-567890abcdef"\n[[listeners]]\nbind = "127.0.0.1:2525"\nrole = "mx"\n'
        'tls = "none"\npolicy = "protect"\n[[routes]]\nmatch = ["support@example.com"]\n'
    )
    record = explain(
        SPOOFED, "--config", str(config), "--peer", "203.0.113.6", "--mail-from", "a@else.example"
    )
    assert record["disposition"] == "reject"
    assert record["reason"] == (
        "the policy has a rule for dmarc.reject, which this mail meets: 550 5.7.1 Against the DMARC policy of the "
        "author's domain"
    )
    options = ["--config", str(config), "--peer", "203.0.113.6", "--dns", str(tmp_path / "zone.json")]
    told = " ".join(
        CliRunner().invoke(main, ["explain", *options, str(tmp_path / "mail.eml")]).stdout.split()
    )
    assert "Verdict reject: the policy has a rule for dmarc.reject" in told
    assert "dmarc=fail" in told


def test_dns_that_fails_is_a_temporary_error_and_no_more(explain):
    """TIMEOUT and SERVFAIL of the zone are `temperror`; the mail is explained."""
    raw = SPOOFED.replace(b"bank.example", b"silent.example")
    identity = explain(raw, "--peer", "203.0.113.6", "--mail-from", "a@silent.example")["identity"]
    assert (identity["spf"], identity["dmarc"]) == ("temperror", "temperror")


def test_null_reverse_path_is_judged_by_the_name_in_helo(explain):
    """`--mail-from '<>'` is the null reverse-path: SPF asks about HELO's name (RFC 7208 §2.4)."""
    record = explain(SPOOFED, "--peer", "192.0.2.1", "--helo", "bank.example", "--mail-from", "<>")
    assert record["identity"]["spf"] == "pass"
    assert record["request"]["Attributes"]["relay_envelope_from"] == "<>"


def test_reverse_path_that_is_not_given_is_what_the_mail_suggests(explain):
    """Without --mail-from, Return-Path counts, else the author."""
    identity = explain(SPOOFED, "--peer", "192.0.2.1", "--helo", "x.example")["identity"]
    assert identity["spf"] == "pass"
    raw = b"Return-Path: <a@silent.example>\n" + SPOOFED
    assert explain(raw, "--peer", "192.0.2.1")["identity"]["spf"] == "temperror"


def test_zone_alone_checks_all_that_needs_no_peer(explain):
    """Without --peer, SPF and iprev are not judged, the signatures and the author's domain are."""
    identity = explain(SPOOFED)["identity"]
    assert (identity["spf"], identity["iprev"], identity["dkim"], identity["dmarc"]) == (
        "none",
        "none",
        "none",
        "fail",
    )


def test_nothing_is_asked_without_peer_and_zone(explain):
    """A plain dry run touches no DNS: the identity is null, whatever else is said of the session."""
    record = explain(SPOOFED, "--helo", "x.example", "--mail-from", "a@b.example", "--at", "0", zone=False)
    assert record["identity"] is None
    assert "relay_spf" not in record["request"]["Attributes"]


@pytest.mark.parametrize(
    "at", ["2026-11-29T12:00:00Z", "2026-11-29T12:00:00+01:00", "1796000000", "1796000000.5"]
)
def test_instant_of_reception_has_two_forms(explain, at):
    """--at takes an instant of RFC 3339, or seconds since 1970."""
    assert explain(SPOOFED, "--at", at)["identity"]["dmarc"] == "fail"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--peer", "300.1.1.1"], '"300.1.1.1" is no IP address'),
        (["--peer", "fe80::1%eth0"], "is no IP address"),
        (["--at", "yesterday"], '"yesterday" is no instant'),
        (["--at", "nan"], '"nan" is no instant'),
        (["--at", "1e300"], '"1e300" is no instant'),
        (["--dns", "/nowhere/zone.json"], "cannot be read: No such file"),
        (["--dns", "BAD"], "the zone is no JSON"),
    ],
)
def test_options_that_cannot_be_meant_say_what_would_be_right(tmp_path, options, sentence):
    """A mistake in an option is one sentence and exit code 2; no file is read for it."""
    (tmp_path / "bad").write_bytes(b"\xff{")
    options = [str(tmp_path / "bad") if each == "BAD" else each for each in options]
    result = CliRunner().invoke(main, ["explain", *options, str(tmp_path / "mail.eml")])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
