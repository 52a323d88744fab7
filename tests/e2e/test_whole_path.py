"""Mail in, contact out: a real daemon, a real S3 protocol, and a Connect that enforces the service's
limits.
"""

from __future__ import annotations

import json
import shutil
import smtplib
import subprocess

import pytest
from harness import ROOT, Daemon, Senders, build_mail, send, sha256, subjects, until

pytestmark = pytest.mark.process

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def module_daemon(module_box, tmp_path_factory):
    """One daemon for all tests that only send; they ask for `daemon`, which has logged nothing yet."""
    with Daemon(tmp_path_factory.mktemp("daemon"), env=module_box.environ()).start() as running:
        yield running


@pytest.fixture
def daemon(module_daemon, box):
    module_daemon.forget()
    return module_daemon


def contacts(box, count, *, seconds=30.0):
    """The contacts, once there are so many and their files were fetched."""

    def look():
        found = box.contacts()
        fetched = all(file["sha256"] for contact in found for file in contact["attachments"])
        return found if len(found) >= count and fetched else None

    return until(look, seconds=seconds, so=f"{count} contacts")


def test_mail_becomes_a_contact(box, daemon):
    """A mail with a file arrives as one contact: subject, body, sender, and the file octet for octet."""
    mail = build_mail(1, attachment=PDF)
    mail["Cc"] = "Bob <bob@other.example>"
    send(daemon.port, mail)
    (contact,) = contacts(box, 1)
    request = contact["request"]
    raw = request["EmailMessage"]["RawMessage"]
    assert raw["Subject"] == "Mail 1"
    assert raw["Body"].strip() == "This is the text of mail 1."
    assert raw["Headers"]["MESSAGE_ID"] == mail["Message-ID"]
    assert request["FromEmailAddress"] == {
        "EmailAddress": "ada@customer.example",
        "DisplayName": "Ada Customer",
    }
    assert request["DestinationEmailAddress"] == "support@example.com"
    assert request["AdditionalRecipients"] == {
        "CcAddresses": [{"EmailAddress": "bob@other.example", "DisplayName": "Bob"}]
    }
    assert [(file["name"], file["sha256"]) for file in contact["attachments"]] == [
        ("file 1.pdf", sha256(PDF))
    ]


def test_mail_that_defeats_the_relay_is_a_contact_at_once(box, tmp_path):
    """A fault of ours in understanding: the first attempt brings the words and the original, and an alarm is
    raised.
    """
    mail = build_mail(3, attachment=PDF)
    fault = {"RELAY_FAULT_POINT": "delivery.understand:raise", "RELAY_ALARMS__EVERY_SECONDS": "0.2"}
    with Daemon(tmp_path, env=box.environ()).start(**fault) as running:
        send(running.port, mail)
        (contact,) = contacts(box, 1)
        running.wait_for("alarm.raised")
        running.wait_for("delivery.attempted")  # logged after the answer, which the alarm may overtake
        lines = list(running.events)
    assert "This is the text of mail 3." in contact["request"]["EmailMessage"]["RawMessage"]["Body"]
    assert [file["name"] for file in contact["attachments"]] == ["original.txt"]
    (attempt,) = [line for line in lines if line["event"] == "delivery.attempted"]
    assert (attempt["rung"], attempt["attempt"], attempt["outcome"]) == ("original", 1, "done")
    assert "message.not_understood" in attempt["adaptations"]
    assert [line["kind"] for line in lines if line["event"] == "alarm.raised"] == ["not_understood"]
    (told,) = [line for line in lines if line["event"] == "fault.caught"]
    assert "UnexpectedError" in told["exception"]


OPERATORS = """
import asyncio, time

class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if envelope.mail_from == "slow@customer.example":
            time.sleep(1.2)

    async def handle_DATA(self, server, session, envelope):
        if b"forbidden" in envelope.content:
            return "550 5.7.1 We do not want this"
        await asyncio.sleep(0)
        envelope.attributes["customer"] = f"{session.host_name}/{envelope.mail_from}"
"""


def test_handler_of_the_operator(box, tmp_path):
    """A handler's attribute is the contact's, its refusal the reply; one that holds everybody up is named
    in the log.
    """
    (tmp_path / "operators_handler.py").write_text(OPERATORS)
    extra = '[[hooks]]\nhandler = "operators_handler:Handler"\n'
    with Daemon(tmp_path, env=box.environ(), extra=extra) as made:
        running = made.start(PYTHONPATH=f"{ROOT}:{tmp_path}")
        send(running.port, build_mail(6))
        (contact,) = contacts(box, 1)
        with smtplib.SMTP("127.0.0.1", running.port, local_hostname="c.example") as smtp:
            with pytest.raises(smtplib.SMTPDataError, match="We do not want this"):
                smtp.sendmail(
                    "a@customer.example", ["support@example.com"], "Subject: x\r\n\r\nforbidden\r\n"
                )
            smtp.sendmail("slow@customer.example", ["support@example.com"], "Subject: Slow\r\n\r\nx\r\n")
        blocked = running.wait_for("hook.blocked")
        refused = running.wait_for("hook.refused")
    attributes = contact["request"]["Attributes"]
    assert attributes["customer"].endswith("/ada@customer.example")
    assert attributes["relay_envelope_from"] == "ada@customer.example"
    assert (blocked["hook"], blocked["command"]) == ("operators_handler:Handler", "RCPT")
    assert blocked["seconds"] >= 1.2
    assert refused["reply"] == "550 5.7.1 We do not want this"


def test_log_has_one_line_a_transaction_and_one_a_delivery(box, daemon):
    """Spool id, Message-ID, destination and contact id stand in the two lines, the subject in neither."""
    mail = build_mail(2)
    send(daemon.port, mail)
    (contact,) = contacts(box, 1)
    accepted = daemon.wait_for("transaction.accepted", message_id=mail["Message-ID"])
    delivered = daemon.wait_for("delivery.attempted", message_id=mail["Message-ID"])
    assert accepted["spool_id"] == delivered["spool_id"]
    assert accepted["spool_id"] in accepted["reply"]
    assert accepted["destinations"] == [delivered["destination"]] == ["support@example.com"]
    assert delivered["contact_id"] == contact["contact_id"]
    assert delivered["outcome"] == "done"
    assert not [line for line in daemon.events if "Mail 2" in json.dumps(line)]


def test_two_routes_make_two_contacts(box, daemon):
    """One mail for two routes is two contacts; neither lists the other as a recipient."""
    send(
        daemon.port,
        build_mail(3, to="support@example.com, sales@example.com"),
        ["support@example.com", "sales@example.com"],
    )
    found = contacts(box, 2)
    assert sorted(contact["request"]["DestinationEmailAddress"] for contact in found) == [
        "sales@example.com",
        "support@example.com",
    ]
    assert not [contact for contact in found if "AdditionalRecipients" in contact["request"]]


def test_two_recipients_of_one_destination_make_one_contact(box, daemon):
    """Two forward-paths of the same route are one contact that names both."""
    send(daemon.port, build_mail(4), ["support@example.com", "help@example.com"])
    (contact,) = contacts(box, 1)
    assert "help@example.com" in contact["request"]["Attributes"]["relay_envelope_to"]


def test_same_mail_again_is_the_same_contact(box, daemon):
    """A sender that lost our 250 and sends again makes no second contact, and hears the first spool id."""
    mail = build_mail(5)
    send(daemon.port, mail)
    contacts(box, 1)
    send(daemon.port, mail)
    again = daemon.wait_for("transaction.accepted", duplicate=True)
    first = daemon.wait_for("transaction.accepted", message_id=mail["Message-ID"])
    assert again["spool_id"] == first["spool_id"]
    assert subjects(box.contacts()) == ["Mail 5"]


def test_s3_that_is_away_delays_and_loses_nothing(box, daemon):
    """While S3 refuses connections mail is accepted at once; when it is back, everything arrives."""
    box.chaos(s3={"refuse": 1})
    for number in range(5):
        send(daemon.port, build_mail(f"s{number}", attachment=PDF))
    daemon.wait_for("delivery.attempted", outcome="deferred")
    assert box.contacts() == []
    box.chaos({})
    found = contacts(box, 5)
    assert sorted(subjects(found)) == sorted(f"Mail s{number}" for number in range(5))
    assert {file["sha256"] for contact in found for file in contact["attachments"]} == {sha256(PDF)}


def test_sigterm_under_load_loses_nothing(box, tmp_path):
    """SIGTERM while mail flows: exit 0, and after the next start every 250 is one contact."""
    daemon = Daemon(tmp_path, env=box.environ(), receivers=2).start()
    senders = Senders(
        daemon.port,
        count=4,
        make=lambda number: build_mail(number, attachment=PDF),
        arrived=lambda: len(box.book),
    ).start()
    until(lambda: len(senders.acknowledged) > 20)
    assert daemon.stop() == 0
    with daemon.start():
        senders.finish()
        until(lambda: len(box.contacts()) >= len(senders.acknowledged), seconds=60)
        assert sorted(subjects(box.contacts())) == sorted(senders.acknowledged)


def test_health_and_metrics(daemon):
    """The admin address answers that we live and are ready, and counts what each process did."""
    samples = (
        'relay_transactions_total{disposition="accept",process="receiver-0"}',
        'relay_deliveries_total{outcome="done",process="deliverer"}',
    )

    def counts():
        _, text = daemon.ask("metrics")
        return [
            sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(each))
            for each in samples
        ]

    before = counts()
    send(daemon.port, build_mail("m"))
    daemon.wait_for("delivery.attempted", outcome="done")
    assert daemon.ask("livez") == daemon.ask("readyz") == (200, "ok\n")
    assert counts() == [count + 1 for count in before]


@pytest.mark.skipif(not shutil.which("swaks"), reason="needs the Debian package swaks")
def test_swaks(box, daemon, tmp_path):
    """Swaks with two attachments, one of a non-ASCII name, and two recipients on two routes."""
    first, second = tmp_path / "report.pdf", tmp_path / "Übersicht.docx"
    first.write_bytes(PDF)
    second.write_bytes(b"PK\x03\x04" + bytes(500))
    subprocess.run(
        [
            "swaks",
            "--server",
            f"127.0.0.1:{daemon.port}",
            "--to",
            "support@example.com,sales@example.com",
            "--from",
            "kim@customer.example",
            "--h-Cc",
            "Bo <bo@other.example>",
            "--h-Subject",
            "From swaks",
            "--attach",
            f"@{first}",
            "--attach",
            f"@{second}",
            "--body",
            "Hello from swaks",
        ],
        check=True,
        capture_output=True,
    )
    found = contacts(box, 2)
    assert {contact["request"]["DestinationEmailAddress"] for contact in found} == {
        "support@example.com",
        "sales@example.com",
    }
    for contact in found:
        assert {file["sha256"] for file in contact["attachments"]} == {
            sha256(first.read_bytes()),
            sha256(second.read_bytes()),
        }
        assert (
            contact["request"]["AdditionalRecipients"]["CcAddresses"][0]["EmailAddress"] == "bo@other.example"
        )


@pytest.mark.skipif(not shutil.which("curl"), reason="needs the Debian package curl")
def test_curl(box, daemon, tmp_path):
    """Curl's smtp:// hands over a file as it is."""
    path = tmp_path / "mail.eml"
    path.write_bytes(build_mail("by curl", attachment=PDF).as_bytes())  # lines end in LF, as files here do
    subprocess.run(
        [
            "curl",
            "-sS",
            f"smtp://127.0.0.1:{daemon.port}/client.test",
            "--mail-from",
            "a@customer.example",
            "--mail-rcpt",
            "support@example.com",
            "--upload-file",
            str(path),
        ],
        check=True,
        capture_output=True,
    )
    (contact,) = contacts(box, 1)
    assert subjects([contact]) == ["Mail by curl"]
    assert contact["attachments"][0]["sha256"] == sha256(PDF)


def test_connect_that_throttles_and_loses_replies_gets_everything_once(box, daemon):
    """Half of all calls throttled, one reply in five lost: each mail is one contact all the same.

    The last test of this daemon, whose pace is slow afterwards.
    """
    box.chaos(connect={"throttle": 0.5, "lose_reply": 0.2, "error": 0.1})
    for number in range(12):
        send(daemon.port, build_mail(f"c{number}", attachment=PDF))
    until(lambda: len(box.contacts()) >= 12, seconds=60)
    until(lambda: len([e for e in daemon.events if e.get("outcome") == "done"]) >= 12, seconds=60)
    assert sorted(subjects(box.contacts())) == sorted(f"Mail c{number}" for number in range(12))
