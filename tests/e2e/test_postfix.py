"""A real Postfix, as a company runs it, hands its mail on to the relay."""

from __future__ import annotations

import smtplib
from contextlib import ExitStack
from email.message import EmailMessage

import pytest
from harness import Daemon, build_mail, free_port, sha256, subjects, until

from bench.postfix import Postfix, missing

pytestmark = [pytest.mark.system, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@pytest.fixture
def postfix(home, daemon):
    """A Postfix that sends everything to the relay."""
    with Postfix(
        home / "postfix",
        port=free_port(),
        relayhost=f"[127.0.0.1]:{daemon.port}",
        minimal_backoff_time="1s",
        maximal_backoff_time="2s",
        queue_run_delay="1s",
    ) as running:
        yield running


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ()).start() as running:
        yield running


def test_postfix_forwards(box, daemon, postfix):
    """A mail given to Postfix arrives as a contact, its file whole, and Postfix logs our spool id."""
    file = b"%PDF-1.7\n" + bytes(range(256)) * 100
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.send_message(build_mail("by Postfix", attachment=file), to_addrs=["support@example.com"])
    until(
        lambda: [f for c in box.contacts() for f in c["attachments"] if f["sha256"]],
        so="a contact with its file",
    )
    (contact,) = box.contacts()
    assert subjects([contact]) == ["Mail by Postfix"]
    assert contact["attachments"][0]["sha256"] == sha256(file)
    accepted = daemon.wait_for("transaction.accepted")
    assert accepted["helo"] == "legacy.test"
    until(lambda: f"queued as {accepted['spool_id']}" in postfix.log())


def test_postfix_keeps_its_mail_while_the_relay_is_away(box, daemon, postfix):
    """Mail that comes while the relay is dead waits in Postfix, and is one contact each when it is back."""
    daemon.kill()
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        for number in range(5):
            client.send_message(build_mail(number), to_addrs=["support@example.com"])
    until(lambda: "Connection refused" in postfix.log())
    daemon.start()
    until(lambda: len(box.contacts()) >= 5)
    assert sorted(subjects(box.contacts())) == [f"Mail {number}" for number in range(5)]


@pytest.fixture
def start(box, tmp_path, home, secured):
    """A daemon, with a certificate when that is wanted, and a Postfix with these parameters that knows its
    port.
    """
    with ExitStack() as stack:

        def starting(*, listener="", tls="required", **parameters):
            daemon = stack.enter_context(Daemon(tmp_path, env=box.environ()))
            secured(daemon, tls=tls, listener=listener).start()
            words = {name: value.format(port=daemon.port) for name, value in parameters.items()}
            return daemon, stack.enter_context(Postfix(home / "postfix", port=free_port(), **words))

        yield starting


def test_postfix_forwards_over_starttls(box, start, papers):
    """Postfix that sends nothing in clear, and only to the name in our certificate: 8-bit, dots, large,
    SMTPUTF8.
    """
    daemon, postfix = start(
        relayhost="[127.0.0.1]:{port}",
        smtp_tls_security_level="secure",
        smtp_tls_CAfile=str(papers.ca),
        smtp_tls_secure_cert_match="mx.test.example",
        smtp_tls_loglevel="1",
    )
    dots = build_mail("of dots")
    dots.set_content(".\n..\n" * 20_000 + "\n.end\n", cte="7bit")
    file = b"%PDF-1.7\n" + bytes(range(256)) * 12_000
    umlauts = EmailMessage()
    umlauts["From"], umlauts["To"] = "jürgen@kunde.example", "grüße@example.com"
    umlauts["Subject"] = "Mail aus Köln"
    umlauts.set_content("Wir warten auf das Paket für Köln.\n", cte="8bit")
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.send_message(dots, to_addrs=["support@example.com"])
        client.send_message(build_mail("of some size", attachment=file), to_addrs=["support@example.com"])
        client.send_message(umlauts)
    found = {contact["request"]["EmailMessage"]["RawMessage"]["Subject"]: contact for contact in box.wait(3)}
    assert sorted(found) == ["Mail aus Köln", "Mail of dots", "Mail of some size"]
    body = found["Mail of dots"]["request"]["EmailMessage"]["RawMessage"]["Body"]
    assert body.split() == dots.get_content().split()
    assert found["Mail of some size"]["attachments"][0]["sha256"] == sha256(file)
    assert found["Mail aus Köln"]["request"]["Attributes"]["relay_envelope_to"] == "grüße@example.com"
    assert found["Mail aus Köln"]["request"]["Attributes"]["relay_envelope_from"] == "jürgen@kunde.example"
    assert {contact["request"]["Attributes"]["relay_tls"][:8] for contact in found.values()} == {"TLSv1.3 "}
    until(lambda: postfix.log().count("status=sent (250 2.0.0 Ok: queued as ") == 3)
    assert "Verified TLS connection established to 127.0.0.1" in postfix.log()
    assert {event["protocol"] for event in daemon.events if event["event"] == "transaction.accepted"} == {
        "ESMTPS",
        "UTF8SMTPS",
    }


def test_postfix_forwards_over_lmtp(box, start):
    """Postfix's LMTP client hears of each recipient: two have the mail, the third is refused and
    goes back.
    """
    daemon, postfix = start(
        tls="none", listener='protocol = "lmtp"\n', default_transport="lmtp:inet:127.0.0.1:{port}"
    )
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.send_message(
            build_mail("for three"),
            from_addr="",
            to_addrs=["support@example.com", "sales@example.com", "nobody@elsewhere.example"],
        )
    assert {contact["request"]["DestinationEmailAddress"] for contact in box.wait(2)} == {
        "support@example.com",
        "sales@example.com",
    }
    spool_id = daemon.wait_for("transaction.accepted")["spool_id"]
    until(
        lambda: postfix.log().count(f"status=sent (250 2.0.0 Ok: queued as {spool_id})") == 2,
        so=postfix.log(),
    )
    until(lambda: "to=<nobody@elsewhere.example>" in postfix.log())
    assert "status=bounced" in postfix.log()
    assert "550 5.7.1 Not our domain; we do not relay [" in postfix.log()


@pytest.mark.parametrize("protocol", ["lmtp", "smtp"])
def test_postfix_names_the_client_of_each_mail(box, start, protocol):
    """With the documented set-up, the agent sees the client that gave the mail to Postfix, not Postfix."""
    daemon, postfix = start(
        tls="none",
        listener=f'protocol = "{protocol}"\nxforward = ["127.0.0.1"]\n',
        default_transport=f"{protocol}:[127.0.0.1]:{{port}}"
        if protocol == "smtp"
        else "lmtp:inet:127.0.0.1:{port}",
        **{f"{protocol}_send_xforward_command": "yes"},
    )
    with smtplib.SMTP(
        "127.0.0.1",
        postfix.port,
        local_hostname="branch.example",
        source_address=("127.0.0.7", 0),
        timeout=20,
    ) as client:
        client.send_message(build_mail("from a branch"), to_addrs=["support@example.com"])
    (contact,) = box.wait(1)
    told = contact["request"]["Attributes"]
    assert (told["relay_peer"].split()[0], told["relay_helo"]) == ("127.0.0.7", "branch.example"), told
    assert daemon.wait_for("transaction.accepted")["helo"] == "branch.example"
