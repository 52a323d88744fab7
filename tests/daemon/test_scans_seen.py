"""Scans from the wire to the agent: the real daemon, scanners on loopback, a sandbox."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import smtplib
import time

import pytest
from harness import CONFIG, Daemon, until
from scanner_server import SPAM, VIRUS, scanners_in_a_thread

pytestmark = pytest.mark.process

MAIL = b"From: jane@customer.example\r\nTo: support@example.com\r\nSubject: %b\r\nMessage-ID: <%b@c.example>\r\n\r\n%b\r\n"
SECONDS = 2.0


@pytest.fixture
def scanners():
    """A clamd and an rspamd."""
    with scanners_in_a_thread() as server:
        yield server


@contextlib.contextmanager
def scanning_daemon(box, home, scanners, policy='"protect"'):
    """A daemon that asks both scanners."""
    extra = (
        f'[scan.clamd]\naddress = "{scanners.clamd}"\nseconds = {SECONDS}\nconcurrency = 100\n'
        f'[scan.rspamd]\nurl = "{scanners.rspamd}"\nseconds = {SECONDS}\nconcurrency = 100'
    )
    rules = f'role = "trusted"\npolicy = {policy}'.replace("{", "{{").replace("}", "}}")
    config = CONFIG.replace('role = "trusted"', rules).format(
        data_dir=home / "spool", port="{port}", extra=extra, receivers=1, rate=100, burst=50
    )
    daemon = Daemon(home, env=box.environ(), config="")
    daemon.config_path.write_text(config.replace("{port}", str(daemon.port)))
    with daemon.start():
        yield daemon


def send(port, subject, text=b"Hello"):
    """Hand over one mail. Returns the code and the text of the reply to its data."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60, local_hostname="c.test") as client:
        client.ehlo()
        client.mail("jane@customer.example")
        client.rcpt("support@example.com")
        code, told = client.data(MAIL % (subject, subject, text))
    return code, told.decode()


def requests_by_subject(box):
    """The request of each contact, by its subject."""
    requests = (contact["request"] for contact in box.contacts())
    return {each["EmailMessage"]["RawMessage"]["Subject"]: each for each in requests}


def test_an_agent_sees_what_scanners_found(box, tmp_path, scanners):
    """Contact, log, metrics, `trace`, `queue show`, the export and `check` agree on a clean mail and on spam;
    a virus is refused at the wire.
    """
    with scanning_daemon(box, tmp_path, scanners) as daemon:
        assert send(daemon.port, b"clean")[0] == 250
        assert send(daemon.port, b"spam", SPAM)[0] == 250
        assert send(daemon.port, b"virus", VIRUS)[1].startswith("5.7.1 A virus was found")
        seen = until(lambda: len(found := requests_by_subject(box)) == 2 and found)
        headers = {name: seen[name]["EmailMessage"]["RawMessage"]["Headers"] for name in seen}
        verdicts = {
            name: (each["X_SES_VIRUS_VERDICT"], each["X_SES_SPAM_VERDICT"]) for name, each in headers.items()
        }
        assert verdicts == {"clean": ("PASS", "PASS"), "spam": ("PASS", "FAIL")}
        told = seen["spam"]["Attributes"]
        assert (told["relay_spam"], told["relay_spam_score"], told["relay_policy"]) == (
            "spam",
            "7.50",
            "spam",
        )
        assert "relay_policy" not in seen["clean"]["Attributes"]

        line = daemon.wait_for("transaction.accepted", message_id="<spam@c.example>")
        assert line["checks"] == {"virus": "clean", "spam": "spam"}
        refused = daemon.wait_for("transaction.rejected", message_id="<virus@c.example>")
        assert refused["checks"]["virus"] == "virus"
        story = daemon.run("trace", line["spool_id"]).stdout
        assert "spam=spam" in story
        assert told["relay_spam_detail"] in story
        shown = json.loads(daemon.run("queue", "show", line["spool_id"], "--json").stdout)
        assert (shown[0] if isinstance(shown, list) else shown)["results"]["relay_spam"] == "spam"
        copy = daemon.run("queue", "export", line["spool_id"], "--results").stdout
        assert "x-spam=fail" in copy
        metrics = daemon.ask("metrics")[1]
        assert 'relay_scans_total{process="receiver-0",result="virus",scanner="clamd"} 1.0' in metrics
        assert 'relay_scans_total{process="receiver-0",result="spam",scanner="rspamd"} 1.0' in metrics
        checked = daemon.run("check").stdout
        assert f"clamd {scanners.clamd}" in checked
        assert f"rspamd {scanners.rspamd}" in checked
        assert daemon.stop() == 0


def test_hostile_scanners_break_no_line(box, tmp_path, scanners):
    """Names with line ends, garbage, endless answers: each mail becomes a contact whose attributes are one
    line each, and each line of the log is whole.
    """
    manners = ("evil", "garbage", "endless", "closing", "good")
    with scanning_daemon(box, tmp_path, scanners, policy='"inform"') as daemon:
        for manner in manners:
            scanners.manner = manner
            assert send(daemon.port, manner.encode(), b"x" * 100)[0] == 250
        seen = until(lambda: len(found := requests_by_subject(box)) == len(manners) and found)
        words = {name: each["Attributes"]["relay_virus"] for name, each in seen.items()}
        # One that ends the connection in the middle of a mail and lives on is what clamd does over its limit.
        assert words.pop("closing") in {"unavailable", "too_big"}
        silent = dict.fromkeys(("garbage", "endless"), "unavailable")
        assert words == {"evil": "virus", "good": "clean", **silent}
        for request in seen.values():
            assert all(value.isprintable() for value in request["Attributes"].values())
            assert "X-Forged" not in json.dumps(
                request["EmailMessage"].get("RawMessage", {}).get("Headers", {})
            )
        assert all("X-Forged" not in event for event in daemon.events)
        assert daemon.stop() == 0


def test_scanners_that_hang_under_load(box, tmp_path, scanners):
    """Sixty sessions at once meet scanners that take nothing: each waits for the limit of its scanners, all
    get 250, none a 421, and the mail after them does not wait at all.
    """
    scanners.manner = "deaf"
    with scanning_daemon(box, tmp_path, scanners) as daemon:

        def deliver(number):
            began = time.monotonic()
            return send(daemon.port, b"m%d" % number)[0], time.monotonic() - began

        with concurrent.futures.ThreadPoolExecutor(60) as threads:
            told = list(threads.map(deliver, range(60)))
        assert [code for code, _ in told] == [250] * 60
        assert max(seconds for _, seconds in told) < SECONDS + 10
        assert {event["scanner"] for event in daemon.events if event["event"] == "scanner.away"} == {
            "clamd",
            "rspamd",
        }
        for scanner in ("clamd", "rspamd"):
            daemon.wait_for("alarm.raised", kind="scanner_away", route=scanner)
        metrics = daemon.ask("metrics")[1]
        assert 'relay_scanner_away{process="receiver-0",scanner="clamd"} 1.0' in metrics
        assert 'relay_sessions_refused_total{code="4.3.2",process="receiver-0"} 0.0' in metrics
        assert not [event for event in daemon.events if event["event"] in {"gate.closed", "session.refused"}]
        asked = scanners.asked
        code, seconds = deliver(60)
        assert (code, scanners.asked) == (250, asked)
        assert seconds < SECONDS
        until(lambda: len(box.contacts()) == 61)
        assert daemon.stop() == 0
