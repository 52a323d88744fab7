"""Our own trace header, and what the trusted listener adds to a mail."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st

from relay.envelope import Envelope, ForwardPath, Peer
from relay.message.headers import FieldFinder
from relay.smtp.received import build_missing, build_received

NOW = datetime(2026, 11, 23, 12, 0, 30, 999, tzinfo=UTC)


def envelope(*paths: str, utf8=False, **peer) -> Envelope:
    return Envelope(
        reverse_path="a@b.example",
        forward_paths=tuple(ForwardPath(address=path) for path in paths),
        peer=Peer(**({"address": "192.0.2.1", "port": 1, "helo": "c.example", "protocol": "ESMTPS"} | peer)),
        received_at=NOW,
        smtputf8=utf8,
    )


def received(of: Envelope) -> str:
    return build_received(of, hostname="mx.example", spool_id="S1").decode()


def test_received_of_a_single_recipient():
    """RFC 5321 §4.4: from, by, with, id, for and the date, in their order."""
    assert received(envelope("x@y.example", tls="TLSv1.3 AES")) == (
        "Received: from c.example ([192.0.2.1])\r\n"
        "\tby mx.example with ESMTPS id S1 (TLSv1.3 AES) for <x@y.example>;\r\n"
        "\tMon, 23 Nov 2026 12:00:30 +0000\r\n"
    )


def test_received_of_several_recipients_names_none():
    """RFC 5321 §7.2: Bcc stays blind."""
    assert " for " not in received(envelope("x@y.example", "z@y.example"))


def test_received_of_one_recipient_named_twice():
    """One recipient named twice is one recipient."""
    assert "for <x@y.example>;" in received(envelope("x@y.example", "x@y.example"))


def test_received_keeps_non_ascii_out_of_an_ascii_mail():
    """RFC 6531 §3.7.3: a non-ASCII recipient is named only in an internationalised mail."""
    assert "for" not in received(envelope("käse@y.example"))
    assert "for <käse@y.example>" in received(envelope("käse@y.example", utf8=True))


@given(st.text(max_size=300), st.text(max_size=40))
def test_received_is_one_field_whatever_the_peer_says(helo, address):
    """Header values never contain a line end or a field that the peer wrote."""
    text = received(envelope("x@y.example", helo=helo or None, address=address))
    parsed = message_from_bytes(text.encode() + b"\r\nbody", policy=policy.compat32)
    assert parsed.keys() == ["Received"]
    assert text.count("\r\n") == 3
    assert text.isascii()


def test_missing_fields_are_built():
    """What a legacy system left out is added and named; what is there is not."""
    fields, repairs = build_missing(
        FieldFinder(b"Subject: x\r\n"), message_id=None, hostname="mx.example", spool_id="S1", now=NOW
    )
    assert fields == b"Message-ID: <S1@mx.example>\r\nDate: Mon, 23 Nov 2026 12:00:30 +0000\r\n"
    assert repairs == ("message-id", "date")
    dated = FieldFinder(b"DATE: x\r\n")
    assert build_missing(dated, message_id="<1@x>", hostname="h", spool_id="S", now=NOW) == (b"", ())
