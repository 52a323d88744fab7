"""The origin of mail from the wire to the agent: the real daemon, a DNS server on loopback, a sandbox."""

from __future__ import annotations

import concurrent.futures
import contextlib
import smtplib
import time

import pytest
from auth.signing import NAME, record, rsa_key, sign
from dns_server import dns_in_a_thread
from harness import CONFIG, Daemon, until

pytestmark = pytest.mark.process

KEY = rsa_key()
ZONE = {
    (NAME, "TXT"): [f'"{record(KEY).decode()}"'],
    ("_dmarc.bank.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("_dmarc.club.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("club.example", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
}
MAIL = (
    b"From: The Bank <service@bank.example>\r\nTo: support@example.com\r\nSubject: %b\r\n"
    b"Message-ID: <%b@bank.example>\r\n\r\nYour account.\r\n"
)


def attributes_by_subject(box):
    """The attributes of each contact, by its subject."""
    return {
        contact["request"]["EmailMessage"]["RawMessage"]["Subject"]: contact["request"]["Attributes"]
        for contact in box.contacts()
    }


POLICY = '{ "dmarc.reject" = "tag", "spf.fail" = "hold" }'


@contextlib.contextmanager
def checking_daemon(box, home, more=""):
    """A daemon with a listener of role mx, which asks a DNS server that knows the bank and the club; and
    that server.
    """
    with dns_in_a_thread(ZONE) as dns:
        extra = f'[identity]\nenabled = true\n[dns]\nservers = ["127.0.0.1:{dns.port}"]\n{more}'
        rules = f'role = "mx"\npolicy = {POLICY}'
        config = CONFIG.replace('role = "trusted"', rules.replace("{", "{{").replace("}", "}}")).format(
            data_dir=home / "spool", port="{port}", extra=extra, receivers=1, rate=100, burst=50
        )
        daemon = Daemon(home, env=box.environ() | {"RELAY_IDENTITY__ENABLED": "true"}, config="")
        daemon.config_path.write_text(config.replace("{port}", str(daemon.port)))
        with daemon.start():
            yield daemon, dns


def send(port, sender, octets, *, source="127.0.0.1"):
    """Hand over one mail from an address of loopback."""
    with smtplib.SMTP(
        "127.0.0.1", port, timeout=30, local_hostname="c.test", source_address=(source, 0)
    ) as client:
        client.sendmail(sender, ["support@example.com"], octets)


def test_an_agent_sees_who_really_sent_a_mail(box, tmp_path):
    """Contact, log, metrics, `trace` and `queue show` agree on a verified mail and on a spoofed one."""
    with checking_daemon(box, tmp_path) as (daemon, _):
        send(daemon.port, "service@bank.example", sign(MAIL % (b"good", b"good"), KEY))
        send(daemon.port, "thief@evil.example", MAIL % (b"bad", b"bad"))
        seen = until(lambda: len(found := attributes_by_subject(box)) == 2 and found)
        assert seen["good"]["relay_identity"] == "verified: bank.example signed this"
        assert (seen["good"]["relay_dkim"], seen["good"]["relay_dmarc"]) == ("pass", "pass")
        assert (seen["bad"]["relay_dmarc"], seen["bad"]["relay_policy"]) == ("fail", "dmarc.reject")
        assert "relay_policy" not in seen["good"]
        assert seen["bad"]["relay_identity"].startswith("not verified: ")
        ids = {}
        for subject in ("good", "bad"):
            line = daemon.wait_for("transaction.accepted", message_id=f"<{subject}@bank.example>")
            assert line["checks"]["dmarc"] == seen[subject]["relay_dmarc"]
            ids[subject] = line["spool_id"]
        told = daemon.run("trace", ids["good"]).stdout
        assert seen["good"]["relay_identity"] in told
        assert f"dkim: {seen['good']['relay_dkim_detail']}" in told
        told = daemon.run("queue", "show", ids["bad"]).stdout
        assert seen["bad"]["relay_identity"] in told
        assert seen["bad"]["relay_dmarc_detail"] in told
        metrics = daemon.ask("metrics")[1]
        for word in ("pass", "fail"):
            assert f'{{check="dmarc",process="receiver-0",result="{word}"}} 1.0' in metrics

        # Whoever sends the club's octets first, from elsewhere, does not swallow the club's own mail.
        octets = (MAIL % (b"club", b"club")).replace(b"service@bank", b"chair@club")
        for source in ("127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.2"):
            send(daemon.port, "chair@club.example", octets, source=source)
        until(lambda: len(box.contacts()) == 3)
        held = daemon.wait_for("delivery.attempted", outcome="held")
        assert held["reason"] == "policy.spf.fail"
        # A person's word ends it: what was released is judged no more.
        assert daemon.run("queue", "release", held["spool_id"]).returncode == 0
        until(lambda: len(box.contacts()) == 4)
        found = [each["request"]["Attributes"]["relay_dmarc"] for each in box.contacts()[2:]]
        assert sorted(found) == ["fail", "pass"]
        assert daemon.stop() == 0


DEADLINE = 4.0


def test_dns_that_never_answers_under_load(box, tmp_path):
    """Forty sessions at once meet DNS that takes questions and answers none: each waits for the deadline at
    most, all get 250 with `temperror`, none a 421. Later mail does not wait at all, a person is told, and
    mail is verified again once the DNS answers.
    """
    more = f"timeout_seconds = {DEADLINE}\ndeadline_seconds = {DEADLINE}"
    with checking_daemon(box, tmp_path, more) as (daemon, dns):
        dns.is_silent = True

        def deliver(number):
            began = time.monotonic()
            octets = sign(MAIL % (b"m%d" % number, b"m%d" % number), KEY)
            send(daemon.port, "service@bank.example", octets)
            return time.monotonic() - began

        with concurrent.futures.ThreadPoolExecutor(40) as threads:
            waited = list(threads.map(deliver, range(40)))
        # A share of the machine for forty sessions beside the deadline, which is what each of them waits for.
        assert max(waited) < DEADLINE + 10
        daemon.wait_for("alarm.raised", kind="dns_away")
        assert deliver(40) < DEADLINE / 2
        metrics = daemon.ask("metrics")[1]
        assert 'relay_dns_away{process="receiver-0"} 1.0' in metrics
        assert 'relay_sessions_refused_total{code="4.3.2",process="receiver-0"} 0.0' in metrics
        assert not [event for event in daemon.events if event["event"] in {"gate.closed", "session.refused"}]

        dns.is_silent = False
        daemon.wait_for("dns.back")
        deliver(41)
        seen = until(lambda: len(found := attributes_by_subject(box)) == 42 and found)
        words = {seen[f"m{number}"]["relay_dmarc"] for number in range(41)}
        assert (words, seen["m41"]["relay_dmarc"]) == ({"temperror"}, "pass")
        assert seen["m40"]["relay_identity"].startswith("not verified: ")
        assert daemon.stop() == 0
