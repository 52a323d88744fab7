"""Tests of `relay.auth.results`."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.arc import ArcResult, SetResult
from relay.auth.authres import parse_results
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dmarc_record import Policy
from relay.auth.dnsbl import DnsblResult
from relay.auth.iprev import IprevResult
from relay.auth.results import Statement, build_field, write_field
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Finding, Result

SPF = SpfResult(
    result=Result.FAIL,
    identity=SpfIdentity.MAIL_FROM,
    domain="example.org",
    mechanism="-all",
    decided_by="example.org",
    reason='"-all" in the record of "example.org" matched',
)
HELO = SpfResult(result=Result.NONE, identity=SpfIdentity.HELO, domain="", reason="the peer gave no domain")
DKIM = DkimResult(
    result=Result.PASS,
    reason="the signature is good",
    domain="example.org",
    selector="2026/a",
    identity="@news.example.org",
    algorithm="rsa-sha256",
)
IPREV = IprevResult(
    result=Result.PASS, address=ipaddress.ip_address("2001:db8::9"), name="mail.example", reason=""
)
DNSBL = DnsblResult(
    result=Result.FAIL, zone="list.example", codes=("127.0.0.2", "127.0.0.4"), reason="on the list"
)


def test_a_field_holds_each_result():
    """Each result has its line, with the method, the word, the reason and its properties."""
    assert build_field("mx1.example.com", [SPF, HELO, DKIM, IPREV, DNSBL]).decode() == (
        "Authentication-Results: mx1.example.com;\r\n"
        '\tspf=fail\r\n\t reason="\\"-all\\" in the record of \\"example.org\\" matched"\r\n'
        "\t smtp.mailfrom=example.org;\r\n"
        '\tspf=none\r\n\t reason="the peer gave no domain"\r\n\t smtp.helo=unknown;\r\n'
        '\tdkim=pass\r\n\t reason="the signature is good"\r\n\t header.d=example.org\r\n'
        '\t header.i="@news.example.org"\r\n\t header.s="2026/a"\r\n\t header.a=rsa-sha256;\r\n'
        '\tiprev=pass\r\n\t policy.iprev="2001:db8::9";\r\n'
        '\tdnsbl=fail\r\n\t reason="on the list"\r\n\t dns.zone=list.example\r\n'
        '\t policy.ip="127.0.0.2,127.0.0.4"\r\n'
    )


def test_dmarc_names_the_author_and_the_policy():
    """The author's domain and what it asks for stand with the result of DMARC."""
    dmarc = DmarcResult(result=Result.FAIL, reason="nothing", domain="bank.example", policy=Policy.REJECT)
    assert build_field("h.example", [dmarc]) == (
        b'Authentication-Results: h.example;\r\n\tdmarc=fail\r\n\t reason="nothing"\r\n'
        b"\t header.from=bank.example\r\n\t policy.dmarc=reject\r\n"
    )


def test_a_field_without_results_says_none():
    """Where nothing was checked the field says so, and a reader knows that we were here."""
    assert build_field("mx1.example.com", []) == b"Authentication-Results: mx1.example.com;\r\n\tnone\r\n"


@pytest.mark.parametrize(
    ("messages", "result", "oldest"),
    [
        ("pass pass pass", "pass", " header.oldest-pass=1"),
        ("fail pass pass", "pass", " header.oldest-pass=2"),
        ("pass fail pass", "pass", " header.oldest-pass=3"),
        ("pass pass pass", "fail", ""),
        ("", "none", ""),
    ],
)
def test_arc_tells_how_far_back_it_is_whole(messages, result, oldest):
    """Of a chain that passes, the oldest instance is named from which on nothing was changed."""
    good = Finding(result=Result.PASS, reason="")
    sets = tuple(
        SetResult(
            instance=at,
            domain="a.example",
            selector="s",
            seal=good,
            message=Finding(result=Result(word), reason=""),
            results=b"",
        )
        for at, word in enumerate(messages.split(), 1)
    )
    field = build_field("h.example", [ArcResult(result=Result(result), reason="", sets=sets)]).decode()
    assert (
        field
        == f"Authentication-Results: h.example;\r\n\tarc={result}{chr(13) + chr(10) + chr(9) if oldest else ''}{oldest}\r\n"
    )


#: A field of ours to the letter: nothing in it that is not a line of ours.
_VALUE = r'(?:[A-Za-z0-9_.@+-]+|"(?:[ !#-\[\]-~]|\\["\\])*")'
FIELD = re.compile(
    rf"Authentication-Results: {_VALUE}"
    rf'(?:;\r\n\t(?:none|[a-z]+=[a-z]+(?:\r\n\t reason="(?:[ !#-\[\]-~]|\\["\\])*")?'
    rf"(?:\r\n\t [a-z]+\.[a-z-]+={_VALUE})*))+\r\n"
)
statements = st.builds(
    Statement,
    method=st.sampled_from(["spf", "dkim", "dmarc", "arc", "iprev"]),
    result=st.sampled_from(Result),
    reason=st.text(max_size=40) | st.just('"' * 5_000),
    properties=st.lists(
        st.tuples(st.sampled_from(["smtp.mailfrom", "header.d", "policy.iprev"]), st.text(max_size=300))
    ).map(tuple),
)


@given(authserv_id=st.text(min_size=1, max_size=30), written=st.lists(statements, max_size=5))
def test_no_token_can_leave_its_place(authserv_id, written):
    """Whatever peers, signers and lists chose, the field keeps its form: no line, no result of
    theirs in it.
    """
    field = write_field(authserv_id, written).decode("ascii")
    assert FIELD.fullmatch(field)
    assert max(map(len, field.split("\r\n"))) < 998
    assert field.count(";\r\n") == max(1, len(written))


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


@given(reason=printable, domain=printable, address=printable)
def test_another_server_reads_what_was_written(reason, domain, address):
    """Reasons and values of printable ASCII come out of the field as they went in, quotes too."""
    statement = Statement(
        method="spf",
        result=Result.SOFTFAIL,
        reason=reason,
        properties=(("smtp.helo", domain), ("smtp.mailfrom", address)),
    )
    field = write_field("mx1.example.com", [statement, statement])
    found = parse_results(field.partition(b":")[2].replace(b"\r\n", b""))
    assert len(found) == 2
    for each in found:
        assert (each.method, each.result) == ("spf", "softfail")
        assert each.properties == {"reason": reason, "smtp.helo": domain, "smtp.mailfrom": address}
