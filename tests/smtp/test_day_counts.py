"""What the edge counts for the report of a day: each mail that is in the spool is received once."""

from __future__ import annotations

import smtplib

import pytest
from harness import until
from serving import Serving, build_config

from relay import telemetry


@pytest.fixture(autouse=True)
def fresh():
    """Counts of other tests in this process are taken away."""
    telemetry.take_day_counts()


def connect(serving):
    """A session with the edge."""
    return smtplib.SMTP("127.0.0.1", serving.ports[0], timeout=20, local_hostname="c.test")


def send(client):
    """The code of the reply to a mail."""
    client.ehlo_or_helo_if_needed()
    client.mail("a@bounces.example")
    client.rcpt("support@example.com")
    return client.data("Message-ID: <1@x>\r\nFrom: b@Shop.example\r\n\r\nx")[0]


def test_late_commit_is_received_once():
    """A mail that was put off and is stored after all is received; the next try of its sender is a
    retransmission.
    """
    with Serving(build_config(limits={"commit_seconds": 0.3})) as serving, connect(serving) as client:
        serving.spool.fault = "hang"
        assert send(client) == 451
        serving.spool.release_now(serving.loop)
        until(lambda: serving.spool.mails)
        assert send(client) == 250
    counted = {(each.name, each.label): each.number for each in serving.spool.counts}
    counted.pop(("octets", ""))
    assert counted == {
        ("received", "shop.example"): 1,
        ("refused.mail", "451 4.4.5 Storing took too long, try again later"): 1,
        ("duplicate", ""): 1,
    }


def test_refused_recipients_and_senders_are_counted_by_reply():
    """A session whose recipients are all refused has no mail, and a refused MAIL is the sender's."""
    with (
        Serving(build_config()) as serving,
        connect(serving) as client,
    ):
        client.ehlo()
        client.docmd("MAIL FROM:nobody at all")
        client.mail("a@x.example")
        client.rcpt("nobody@example.com")
        client.rcpt("a@elsewhere.example")
        client.docmd("DATA")
        client.docmd("RSET")
    counted = {(each.name, each.label[:9]): each.number for each in serving.spool.counts}
    counted |= {(each.name, each.label[:9]): each.number for each in telemetry.take_day_counts()}
    assert counted == {
        ("refused.sender", "501 5.1.7"): 1,
        ("refused.recipient", "550 5.1.1"): 1,
        ("refused.recipient", "550 5.7.1"): 1,
    }


def test_sender_that_is_put_off_is_counted_by_reply():
    """A MAIL that gets a 4yz, for want of room or as one of too many, is in the report of its day; one that
    comes too early is a refusal, and a RCPT that is put off is the recipient's.
    """
    with (
        Serving(build_config(limits={"messages_per_minute": 2, "recipients_per_minute": 1})) as serving,
        connect(serving) as client,
    ):
        client.ehlo()
        serving.spool.has_room = False
        assert client.mail("a@x.example")[0] == 452
        serving.spool.has_room = True
        assert client.mail("a@x.example")[0] == 250
        client.rcpt("support@example.com")
        assert client.rcpt("sales@example.com")[0] == 451
        client.rset()
        assert client.mail("a@x.example")[0] == 450
    counted = {(each.name, each.label[:9]): each.number for each in serving.spool.counts}
    counted |= {(each.name, each.label[:9]): each.number for each in telemetry.take_day_counts()}
    assert counted == {
        ("refused.sender", "452 4.3.1"): 1,
        ("refused.sender", "450 4.7.1"): 1,
        ("refused.recipient", "451 4.7.1"): 1,
    }
