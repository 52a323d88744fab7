"""Header blocks: fields, hops, identifiers, dates."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from annotated_types import Le
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Limits
from relay.message.dates import parse_date
from relay.message.headers import FieldFinder, header_block, parse_header
from relay.message.hops import find_hops
from relay.message.identifiers import find_message_id, find_references, parse_identifiers, parse_message_id
from relay.message.octets import whole
from relay.policy.octets import HEAD_BYTES


@pytest.mark.parametrize(
    ("raw", "fields", "body"),
    [
        (b"A: 1\r\nB: 2\r\n\r\nbody", [("A", b"1"), ("B", b"2")], b"body"),
        (b"A: 1\nB: 2\n\nbody", [("A", b"1"), ("B", b"2")], b"body"),
        (b"A: 1\rB: 2\r\rbody", [("A", b"1"), ("B", b"2")], b"body"),
        (b"A: 1\r\r\nB: 2\r\r\n\r\r\nbody", [("A", b"1"), ("B", b"2")], b"body"),
        (b"A: 1\r\n\tmore\r\n\r\n", [("A", b"1\r\n\tmore")], b""),
        (b"A : 1\r\n\r\n", [("A", b"1")], b""),
        (b"A:\r\n\r\n", [("A", b"")], b""),
        (b"\r\nbody", [], b"body"),
        (b"\nbody", [], b"body"),
        (b"", [], b""),
        (b"A: 1", [("A", b"1")], b""),
        (b"From x y\nA: 1\n\n", [("A", b"1")], b""),
        (b"A: 1\n*** scanned ***\nX-B: 2\n\nbody", [("A", b"1"), ("X-B", b"2")], b"body"),
        (b"A: x;\nname=y\nB: 2\n\nbody", [("A", b"x;\nname=y"), ("B", b"2")], b"body"),
        (b"A: 1\nHello Bob\nNote: call me\n\nbye", [("A", b"1")], b"Hello Bob\nNote: call me\n\nbye"),
        (b"A: 1\nHello Bob,\nhow are you\n\nbye", [("A", b"1")], b"Hello Bob,\nhow are you\n\nbye"),
        (b"no header at all\nsecond line\n", [], b"no header at all\nsecond line\n"),
    ],
)
def test_fields_and_body_are_told_apart(raw, fields, body):
    """Whatever the line ends and whatever stands between the fields."""
    region = whole(raw)
    header = parse_header(region, 1 << 20)
    assert list(header.fields) == fields
    assert region.read(header.body_start) == body


def test_a_header_beyond_the_limit_is_cut_and_the_body_found():
    """Fields up to the limit are read, the body still begins behind the empty line."""
    raw = b"A: 1\r\n" * 100 + b"\r\nbody"
    header = parse_header(whole(raw), 60)
    assert (len(header.fields), header.too_long, raw[header.body_start :]) == (10, True, b"body")


@given(
    st.lists(
        st.sampled_from([b"Date", b"date", b"x-date", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"a"]),
        max_size=40,
    )
)
def test_few_fields_are_found_as_by_an_expression(pieces):
    """The quick look for a field finds what a regular expression over the whole block would."""
    block = b"".join(pieces)
    slow = re.compile(rb"(?:^|[\r\n])date[ \t]*:([^\r\n]*+(?:\r{0,8}\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)
    assert [body for _, body in FieldFinder(block).find(b"date")] == slow.findall(block)


def test_header_block():
    """The header ends with the first empty line; a mail that begins with one has none."""
    assert header_block(b"A: 1\r\nB: 2\r\n\r\nDate: x\r\n\r\n") == b"A: 1\r\nB: 2\r\n\r\n"
    assert header_block(b"\r\nDate: x\r\n\r\n") == b""
    assert header_block(b"\nDate: x\n\n") == b""
    assert header_block(b"A: 1\r\n") == b"A: 1\r\n"


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r" * 8]), max_size=30))
def test_a_header_ends_where_an_expression_ends_it(pieces):
    """The quick look for the empty line finds what a regular expression over the whole mail would."""
    raw = b"a" + b"".join(pieces)
    slow = re.search(rb"\n\r{0,8}\n", raw)
    assert header_block(raw) == raw[: slow.end() if slow is not None else None]


def test_hops_are_counted_and_ours_known():
    """All Received lines of the header, folded or not; ours by the name behind by, whatever its case."""
    raw = (
        b"Received: from a by MX1.example.com. with ESMTP id 1;\r\n Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"received: from b\r\n\tby mx1.example.com (x)\r\nX-Received: by mx1.example.com\r\n"
        b"Received: from mx1.example.com by mx1.example.com.evil.example\r\n\r\nReceived: by mx1.example.com\r\n"
    )
    fields = FieldFinder(header_block(raw))
    hops = find_hops(fields, hostname="mx1.example.com")
    assert (hops.received, hops.ours) == (3, 2)
    assert find_hops(fields).ours == 0


def test_as_many_hops_are_counted_as_may_be_configured():
    """The highest limits.hops is seen to be passed, also where each hop left other fields that name what it
    received.
    """
    (highest,) = [rule.le for rule in Limits.model_fields["hops"].metadata if isinstance(rule, Le)]
    hop = (
        b"Received: from a.example (a.example [192.0.2.1]) by b.example with ESMTPS id 4fX1y2z3\r\n"
        b"\tfor <ada@customer.example>; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"X-Received: by 192.0.2.2 with SMTP id a1; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"Received-SPF: pass (domain of customer.example) client-ip=192.0.2.1;\r\n"
    )
    raw = hop * (highest + 1) + b"\r\n"
    assert len(raw) < HEAD_BYTES
    assert find_hops(FieldFinder(raw), most=highest + 1).received == highest + 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "<a@b>"),
        (b"A: 1\r\nmessage-id:\r\n <a@b>\r\n\r\n", "<a@b>"),
        (b"Message-Id: a@b\r\n\r\n", "<a@b>"),
        (b"Message-ID: <a@\r\n\tb>\r\n\r\n", "<a@b>"),
        (b"A: 1\rMessage-ID: <a@b>\rB: 2\r\r", "<a@b>"),
        (b"A: 1\r\r\nMessage-ID:\r\r\n <a@b>\r\r\n\r\r\n", "<a@b>"),
        (b"Message-ID:\r\n\r\n", None),
        (b"A: 1\r\n\r\nMessage-ID: <body@b>\r\n", None),
    ],
)
def test_message_id_is_read_at_smtp_time(raw, expected):
    """The first Message-ID of the header, in brackets; None when there is none."""
    assert find_message_id(FieldFinder(header_block(raw))) == expected


def test_identifiers_are_found_among_words():
    """RFC 5322 §4.5.4: phrases between are passed over, blanks inside taken out."""
    assert parse_identifiers("q0@x.example, q1@x.example") == ("<q0@x.example>", "<q1@x.example>")
    assert parse_identifiers("q0@x.example <q1@x.example>") == ("<q0@x.example>", "<q1@x.example>")
    for one in (
        '"a0@x.example"',
        "'a0@x.example'",
        "[a0@x.example]",
        "\u201ca0@x.example\u201d",
        "a0@x.example",
    ):
        for first, then in (
            (f"{one}, <a1@x.example>", 0),
            (f"<a1@x.example> {one}", 1),
            (f"{one},<a1@x.example>", 0),
        ):
            found = parse_identifiers(first)
            assert found == (("<a0@x.example>", "<a1@x.example>"), ("<a1@x.example>", "<a0@x.example>"))[then]
    assert parse_identifiers("Your message of Tuesday from ann@x.example") == ()
    assert parse_identifiers('Your mail of "x" <a@b><c @d> junk <>') == ("<a@b>", "<c@d>")
    assert parse_message_id("  ") is None


def test_references():
    """In-Reply-To and References are read, folded or not, each identifier once, the last twenty."""
    block = b"References: <1@x>\r\n <2@x>\r\nX-References: <9@x>\r\nin-reply-to: <2@x> (comment) <3@x>\r\n"
    assert find_references(FieldFinder(block)) == ("<1@x>", "<2@x>", "<3@x>")
    assert find_references(FieldFinder(b'References: "1@x", <2@x>\r\n')) == ("<1@x>", "<2@x>")
    many = b"References:" + b"".join(b" <%d@x>" % number for number in range(30)) + b"\r\n"
    assert find_references(FieldFinder(many)) == tuple(f"<{number}@x>" for number in range(10, 30))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon, 6 Jan 2025 10:59:57 +0100", "2025-01-06T10:59:57+01:00"),
        ("6 Jan 2025 10:59 GMT", "2025-01-06T10:59:00+00:00"),
        ("Wed, 11 Feb 98 11:51 CST", "1998-02-11T11:51:00-06:00"),
        ("Mon Jan  6 10:59:57 2025", "2025-01-06T10:59:57+00:00"),
        ("Mon Jan  6 10:59:57 CET 2025", "2025-01-06T10:59:57+00:00"),
        ("2025-01-06T10:59:57+01:00", "2025-01-06T10:59:57+01:00"),
        ("Monday, January 6, 2025 3:59 PM", "2025-01-06T15:59:00+00:00"),
        ("Mon, 6 Jan 2025 23:59:60 +0000 (UTC)", "2025-01-06T23:59:59+00:00"),
        ("6-Jan-2025 10:59:57 +0530", "2025-01-06T10:59:57+05:30"),
        ("Mon, 6 Jan 2025", "2025-01-06T00:00:00+00:00"),
        ("30 Feb 2025 10:00 +0000", None),
        ("1 Jan 0001 00:00:00 +2359", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_dates_are_aware_or_none(text, expected):
    """Each form that is seen, and nothing for what is no date."""
    read = parse_date(text)
    assert read == (datetime.fromisoformat(expected) if expected else None)
    assert read is None or read.tzinfo is not None
