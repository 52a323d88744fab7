"""The hop to judge behind our own servers, as their Received fields name it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.hops import find_hop, read_client
from relay.auth.upstream import read_upstream
from relay.networks import parse_address, parse_network

OURS = (parse_network("192.0.2.0/24"), parse_network("10.0.0.0/8"))
US = parse_address("192.0.2.7")
FORMS = {
    "postfix": "from mail.bank.example (out.bank.example [203.0.113.6]) by mx.ours (Postfix) with ESMTP id 1;",
    "postfix without a name": "from mail.bank.example (unknown [203.0.113.6]) by mx.ours; Thu",
    "sendmail": "from mail.bank.example (out.bank.example [203.0.113.6] (may be forged)) by mx.ours (8.15/8.15)",
    "exim": "from out.bank.example ([203.0.113.6] helo=mail.bank.example) by mx.ours with esmtps",
    "exim without a name": "from [203.0.113.6] (helo=mail.bank.example) by mx.ours with esmtp",
    "exchange": "from mail.bank.example (203.0.113.6) by EX1.ours (10.0.0.4) with Microsoft SMTP Server",
    "qmail": "from unknown (HELO mail.bank.example) (203.0.113.6) by mx.ours with SMTP",
    "the relay's own": "from mail.bank.example ([203.0.113.6]) by mx1.ours with ESMTPS id X",
    "folded": "from mail.bank.example\r\n\t(out.bank.example [203.0.113.6])\r\n\tby mx.ours",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_mail_servers_are_known(form):
    """The address that the server saw is found, and the name that its peer gave."""
    hop = find_hop(US, "relay.ours", f"Received: {FORMS[form]}\r\nSubject: x\r\n".encode(), OURS)
    assert (str(hop.peer), hop.helo) == ("203.0.113.6", "mail.bank.example")
    assert hop.reason == "judged as of 203.0.113.6 (mail.bank.example), which gave the mail to our 192.0.2.7"


@pytest.mark.parametrize(
    "text",
    [
        "from [10.0.0.1] (unknown [203.0.113.6]) by mx.ours",
        "from [10.0.0.1] ([203.0.113.6]) by mx.ours",
        "from [203.0.113.6] (helo=[10.0.0.1]) by mx.ours",
        "from out.example ([203.0.113.6] helo=[10.0.0.1] ident=[10.0.0.1]) by mx.ours",
        "from unknown (HELO [10.0.0.1]) (203.0.113.6) by mx.ours",
        "from [10.0.0.1] (203.0.113.6) by mx.ours (10.0.0.4)",
    ],
)
def test_name_of_a_peer_that_looks_like_an_address_of_ours_is_not_believed(text):
    """Whoever says HELO [10.0.0.1] is judged by the address that our server saw."""
    assert str(read_client(text)[0]) == "203.0.113.6"


def test_fields_below_the_first_stranger_are_never_read():
    """Our servers are passed over, a filter on loopback too; what a stranger wrote below is his word."""
    header = (
        b"Received: from mx2.ours (mx2.ours [10.0.0.9]) by mx1.ours; x\r\n"
        b"Received: from localhost (localhost [127.0.0.1]) by mx2.ours; x\r\n"
        b"Subject: x\r\n"
        b"Received: from evil.example (evil.example [198.51.100.9]) by mx2.ours; x\r\n"
        b"Received: from bank.example (bank.example [203.0.113.6]) by evil.example; x\r\n"
    )
    hop = find_hop(US, "mx1.ours", header, OURS)
    assert (str(hop.peer), hop.helo) == ("198.51.100.9", "evil.example")
    assert "our 10.0.0.9" in hop.reason


STRANGER = b"Received: from bank.example (bank.example [203.0.113.6]) by mx.ours; x\r\n"


@pytest.mark.parametrize(
    "within",
    [
        b"by mail-ej1-f69.gw.ours with SMTP id a640c23a62f3a-aa4d1234; Thu",
        b"by 2002:a05:6402:1d4b:b0:5d0:1 with SMTP id dz11csp123; Thu",
        b"by mx2.ours (8.17/8.17) with ESMTPS id 1; Thu",
        b"(qmail 28138 invoked from network); 29 Nov 2026 19:26:56 -0000",
        b"from EX1.ours (fe80::a9d:1%12) by EX1.ours (fe80::a9d:1%12) with Microsoft SMTP Server",
        b"from EX1.ours (10.9.9.9) by EX1.ours (10.9.9.9) with Microsoft SMTP Server id 15.2",
        b"from pps.filterd (m1.ppops.ours [127.0.0.1]) by mx0a.ours (8.18/8.18) with ESMTP id 3",
    ],
)
def test_step_within_one_system_is_passed_over(within):
    """A field of ours without a client, or with the server itself as its client, is no hop: the next one is
    judged.
    """
    hop = find_hop(US, "x", b"Received: " + within + b"\r\n" + STRANGER, OURS)
    assert str(hop.peer) == "203.0.113.6"
    assert hop.above == b"Received: " + within + b"\r\n"
    assert hop.below == STRANGER
    assert hop.by == "mx.ours"


@pytest.mark.parametrize(
    "field",
    [
        b"by mx.ours (Postfix, from userid 33) id 1; Thu",
        b"(qmail 28138 invoked by uid 33); 29 Nov 2026 19:26:56 -0000",
        b"by 2002:a17:90a::1 with HTTP; Thu",
        b"(from www@localhost) by mx.ours (8.17/8.17/Submit) id 1; Thu",
        b"from www-data by mx.ours with local (Exim 4.97) id 1; Thu",
        b"from EX1.ours (fe80::a9d:1%12) by EX2.ours (10.9.9.9) with Microsoft SMTP Server",
        b"from x (x) by x with SMTP",
    ],
)
def test_mail_that_began_on_a_server_of_ours_may_name_any_hop_below(field):
    """A form on a web server writes the whole header of its mail: what stands below is not read."""
    hop = find_hop(US, "x", b"Received: " + field + b"\r\n" + STRANGER, OURS)
    assert str(hop.peer) != "203.0.113.6"
    assert b"203.0.113.6" not in hop.above


def test_peer_that_is_none_of_ours_is_judged_itself():
    """Its Received fields may say what they like."""
    header = b"Received: from bank.example (bank.example [203.0.113.6]) by mx.ours\r\n"
    hop = find_hop(parse_address("198.51.100.9"), "evil.example", header, OURS)
    assert (str(hop.peer), hop.helo, hop.reason) == ("198.51.100.9", "evil.example", "")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"Subject: x\r\n", "comes from our own 192.0.2.7"),
        (b"Received: from printer (printer [10.0.0.3]) by mx\r\n", "comes from our own 10.0.0.3"),
        (b"Received: by mx.ours (Postfix, from userid 0)\r\n", "names no address"),
        (b"Received: from x by y (z [203.0.113.6]) by mx.ours\r\n", "names no address"),
        (b"Received: from [203.0.113.6] by mx.ours\r\n", "names no address"),
        (b"Received: from x ([999.1.1.1]) by mx.ours\r\n", "names no address"),
    ],
)
def test_in_doubt_nobody_is_judged(header, words):
    """Mail from within, and fields that name no address, have no hop to judge, and the reason says so."""
    hop = find_hop(US, "mx1.ours", header, OURS)
    assert hop.peer is None
    assert words in hop.reason


@given(st.binary(max_size=400))
def test_any_octets_give_a_hop(octets):
    """Whatever stands in a header, there is a hop, and its reason is one line of printable ASCII."""
    hop = find_hop(US, "x", b"Received: from " + octets, OURS)
    assert hop.reason.isascii()
    assert hop.reason.isprintable()


@pytest.mark.parametrize(
    "part", [b"from ", b" (", b"[1.2.3.4", b" by", b"helo=", b"\r\n ", b"from [1.1.1.1] (x) "]
)
def test_long_fields_cost_little(part):
    """A megabyte of any piece of a field is read within a second of processor time."""
    begun = time.process_time()
    find_hop(US, "x", b"Received: from x " + part * (1_000_000 // len(part)), OURS)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "part", [b"X-A: b\r\n", b" \r\n", b"\r\n ", b"Authentication-Results: gw.ours; (((\r\n"]
)
def test_long_header_costs_the_loop_little(part):
    """Behind our own systems a header of a megabyte is read in some milliseconds, its gateway heard."""
    header = b"Received: from x (x [203.0.113.6]) by gw.ours; x\r\n" + part * (1_000_000 // len(part))
    seconds = []
    for _ in range(5):
        begun = time.thread_time()
        hop = find_hop(US, "x", header, OURS)
        read_upstream("mimecast", hop.above, below=hop.below, by=hop.by)
        seconds.append(time.thread_time() - begun)
    assert str(hop.peer) == "203.0.113.6"
    assert min(seconds) < 0.005
