"""The scanners on the wire: the mail they are given, the results that are stored, and their cost in time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import smtplib
import time
from types import SimpleNamespace

import pytest
from dns_server import dns_in_a_thread
from harness import until
from scanner_server import SPAM, VIRUS, scanners_in_a_thread
from serving import Serving, build_config

from relay.config.scan import Scanner as ScannerLimits
from relay.scan.model import ScannerKind, ScanResult, ScanWord
from relay.smtp.scanning import AskedScanner

HEADER = b"From: a@customer.example\r\nTo: support@example.com\r\nMessage-ID: <%d@customer.example>\r\n\r\n"
#: The time of a scanner that gives no verdict; others have theirs, however busy the machine is.
SECONDS = 1.0


@pytest.fixture
def scanners():
    """A clamd and an rspamd."""
    with scanners_in_a_thread() as server:
        yield server


def config_for(scanners, *, scan=None, **tables):
    """A configuration that asks both scanners."""
    seconds = 20.0 if scanners.manner == "good" else SECONDS
    asked = {
        "clamd": {"address": scanners.clamd, "seconds": seconds},
        "rspamd": {"url": scanners.rspamd, "seconds": seconds},
    }
    return build_config(**({"scan": asked | (scan or {})} | tables))


def send(serving, octets, *, index=0, recipients=("support@example.com",)):
    """Hand over one mail. Returns the code and the text of the reply to its data."""
    with smtplib.SMTP("127.0.0.1", serving.ports[index], timeout=30, local_hostname="c.example") as client:
        client.ehlo()
        client.mail("a@customer.example")
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(octets)
    return code, text.decode()


def build(number, text=b"Hello", size=0):
    """A mail; `text` stands at the end of at least `size` octets."""
    line = b"A line of no interest at all.\r\n"
    return HEADER % number + line * (size // len(line)) + text + b"\r\n"


@pytest.mark.parametrize("size", [500, 100_000, 3_000_000])
def test_both_scanners_get_the_whole_mail(scanners, size):
    """A mail of any size reaches both scanners as it came, without our Received line, and the results are
    stored with it.
    """
    with Serving(config_for(scanners)) as serving:
        octets = build(1, VIRUS + SPAM, size)
        assert send(serving, octets)[0] == 250
        (mail,) = serving.spool.mails
    assert scanners.mails == [octets] * 2
    head = scanners.heads[0].decode().split("\r\n")
    assert {
        "IP: 127.0.0.1",
        "Helo: c.example",
        "From: a@customer.example",
        "Rcpt: support@example.com",
    } <= set(head)
    assert f"Queue-Id: {mail.spool_id}" in head
    found = {name: value for name, value in mail.results.items() if not name.endswith("_detail")}
    assert found == {
        "relay_virus": "virus",
        "relay_virus_name": "Test.Virus",
        "relay_spam": "spam",
        "relay_spam_score": "7.50",
    }
    assert "TEST_SPAM (7.50)" in mail.results["relay_spam_detail"]


@pytest.mark.parametrize("role", ["mx", "trusted"])
def test_clean_mail_is_told(scanners, role):
    """Listeners of either role ask; one with `scan = false` asks nobody."""
    plain = {"bind": "127.0.0.1:0", "tls": "none", "role": role}
    with Serving(config_for(scanners, listeners=[plain, {**plain, "scan": False}])) as serving:
        assert send(serving, build(1))[0] == 250
        assert send(serving, build(2), index=1)[0] == 250
        asked, unasked = serving.spool.mails
    assert (asked.results["relay_virus"], asked.results["relay_spam"]) == ("clean", "clean")
    assert unasked.results == {}
    assert scanners.asked == 2


def test_rspamd_is_told_the_hop_that_is_judged(scanners):
    """Behind a mail server of ours rspamd gets the address and the name of the server before it."""
    plain = {"bind": "127.0.0.1:0", "tls": "none", "role": "trusted"}
    dns = {"servers": ["127.0.0.1:1"], "timeout_seconds": 0.2, "deadline_seconds": 0.2}
    identity = {"enabled": True, "trusted_relays": ["127.0.0.0/8"]}
    with Serving(config_for(scanners, listeners=[plain], dns=dns, identity=identity)) as serving:
        trace = b"Received: from mx.club.example (unknown [198.51.100.9]) by mx.ours; x\r\n"
        assert send(serving, trace + build(1))[0] == 250
        (mail,) = serving.spool.mails
    assert {"IP: 198.51.100.9", "Helo: mx.club.example"} <= set(scanners.heads[0].decode().split("\r\n"))
    assert mail.envelope.peer.address == "127.0.0.1"


def test_rspamd_is_told_what_was_found_of_the_origin(scanners):
    """The results of our checks reach rspamd with the mail. DNS that is silent keeps it from its verdict for
    a quarter of its time at most, and the mail is scanned without them.
    """
    zone = {("customer.example", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"']}
    told = []
    with dns_in_a_thread(zone) as server:
        plain = {"bind": "127.0.0.1:0", "tls": "none", "role": "mx"}
        dns = {"servers": [f"127.0.0.1:{server.port}"], "timeout_seconds": 20.0, "deadline_seconds": 20.0}
        config = config_for(
            scanners,
            listeners=[plain],
            dns=dns,
            identity={"enabled": True},
            scan={"rspamd": {"url": scanners.rspamd, "seconds": 4.0}},
        )
        for is_silent in (False, True):
            server.is_silent = is_silent
            with Serving(config) as serving:
                with concurrent.futures.ThreadPoolExecutor(1) as threads:
                    sent = threads.submit(send, serving, build(1))
                    until(lambda: len(scanners.heads) > len(told))
                    told.append(set(scanners.heads[-1].decode().split("\r\n")))
                    server.is_silent = False
                    assert sent.result(30)[0] == 250
                (mail,) = serving.spool.mails
                assert mail.results["relay_spam"] == "clean"
    expected = {'SPF: {"result": "pass"}', 'DKIM: {"result": "na"}', 'ARC: {"result": "na"}'}
    assert expected <= told[0]
    assert not [line for line in told[1] if line.startswith(("SPF:", "DKIM:", "DMARC:", "ARC:"))]


def test_policy_refuses_viruses_and_tags_spam(scanners):
    """The preset `protect` refuses a virus with 554 5.7.1 where every route has it, and holds it for one
    where another takes it.
    """
    routes = [{"match": ["support@example.com"], "policy": "protect"}, {"match": ["sales@example.com"]}]
    with Serving(config_for(scanners, routes=routes)) as serving:
        code, text = send(serving, build(1, VIRUS))
        assert (code, text.partition(" [")[0]) == (554, "5.7.1 A virus was found in this mail")
        assert send(serving, build(2, SPAM))[0] == 250
        assert (
            send(serving, build(3, VIRUS), recipients=("support@example.com", "sales@example.com"))[0] == 250
        )
        spam, virus = serving.spool.mails
    assert spam.holds == ()
    assert [(hold.route, hold.reason) for hold in virus.holds] == [("support@example.com", "policy.virus")]


MANNERS = ["silent", "deaf", "drip", "endless", "garbage", "closing"]


@pytest.mark.parametrize("manner", MANNERS)
def test_scanner_that_gives_no_verdict(scanners, manner):
    """A scanner that is silent, deaf, slow, endless, unclear or gone costs at most its time. The mail
    is accepted and told, or deferred where that is asked for, and no line of ours is ever broken.
    """
    scanners.manner = manner
    with Serving(config_for(scanners)) as serving:
        begun = time.monotonic()
        assert send(serving, build(1, size=200_000))[0] == 250
        assert time.monotonic() - begun < SECONDS + 5
        (mail,) = serving.spool.mails
        words = {mail.results["relay_virus"], mail.results["relay_spam"]}
        # clamd that closes in the middle of a mail has said that it is too large for it.
        assert words <= {"unavailable", "too_big"}
        assert "unavailable" in words
        assert all(value.isprintable() for value in mail.results.values())
    with Serving(config_for(scanners, scan={"on_unavailable": "defer"})) as serving:
        assert send(serving, build(1))[1].startswith("4.3.0 This mail could not be scanned")
        assert serving.spool.mails == []


def test_scanner_that_lies(scanners):
    """Names that try to end a line are quoted and cut, and an OK before the end of the mail is none."""
    with Serving(config_for(scanners)) as serving:
        scanners.manner = "evil"
        assert send(serving, build(1))[0] == 250
        scanners.manner = "early"
        assert send(serving, build(2, size=3_000_000))[0] == 250
        evil, early = serving.spool.mails
    assert (evil.results["relay_virus"], evil.results["relay_spam"]) == ("virus", "spam")
    assert all(value.isprintable() and len(value) < 20_000 for value in evil.results.values())
    assert evil.results["relay_virus_name"].startswith('"Evil\\"')
    assert early.results["relay_virus"] == "unavailable"


def test_scanner_that_hangs_is_left_alone(scanners):
    """After three mails without an answer a scanner is not asked, and mail goes on at once."""
    scanners.manner = "deaf"
    with Serving(config_for(scanners)) as serving:
        for number in range(3):
            assert send(serving, build(number))[0] == 250
        asked = scanners.asked
        begun = time.monotonic()
        assert send(serving, build(4))[0] == 250
        assert time.monotonic() - begun < SECONDS
        assert scanners.asked == asked == 6
        assert "was not asked" in serving.spool.mails[3].results["relay_virus_detail"]


def test_mails_take_turns(scanners):
    """With `concurrency = 2` a scanner has two mails at a time, and all of them get their results."""
    limits = {"concurrency": 2, "seconds": 20.0}
    scan = {"clamd": {"address": scanners.clamd, **limits}}
    with Serving(config_for(scanners, scan=scan | {"rspamd": {}})) as serving:
        with concurrent.futures.ThreadPoolExecutor(12) as threads:
            sent = [threads.submit(send, serving, build(number, size=300_000)) for number in range(24)]
            assert {each.result(60)[0] for each in sent} == {250}
        assert [mail.results["relay_virus"] for mail in serving.spool.mails] == ["clean"] * 24
    assert scanners.most <= 2


def test_mail_without_a_turn_is_not_scanned(scanners):
    """A mail that waits for its turn waits no longer than for the scanner, and is told apart from it."""
    scanners.manner = "deaf"
    scan = {"clamd": {"address": scanners.clamd, "seconds": SECONDS, "concurrency": 1}, "rspamd": {}}
    with Serving(config_for(scanners, scan=scan)) as serving:
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            begun = time.monotonic()
            sent = [threads.submit(send, serving, build(number)) for number in range(2)]
            assert [each.result(20)[0] for each in sent] == [250] * 2
            assert time.monotonic() - begun < SECONDS + 3
        details = sorted(mail.results["relay_virus_detail"] for mail in serving.spool.mails)
    assert [each.rpartition(" within ")[0] for each in details] == [
        "clamd did not answer",
        "clamd had no turn for it",
    ]


async def test_scanner_that_is_back_is_asked_again(monkeypatch):
    """A scanner that is away is asked about a mail of ours, at no mail's cost, until it answers; then mail is
    scanned again, and the first that gets no answer is enough to leave it alone once more.
    """
    monkeypatch.setattr("relay.smtp.scanning.PROBE_SECONDS", 0.001)
    told, probes = [], []

    def answer(*, is_there):
        word = ScanWord.CLEAN if is_there else ScanWord.UNAVAILABLE
        return ScanResult(kind=ScannerKind.VIRUS, word=word, reason="in words", answered=is_there)

    async def ask(offered, seconds):
        told.append(seconds)
        return answer(is_there=False)

    async def probe(seconds):
        probes.append(seconds)
        return answer(is_there=len(probes) % 3 == 0)

    scanner = AskedScanner("clamd", ScannerKind.VIRUS, ScannerLimits(), ask=ask, probe=probe)
    mail = SimpleNamespace(spool_id="0123456789ab")
    for away in ("", "", "in words"):
        await scanner.scan(mail)
        assert scanner.away == away
    assert "was not asked" in (await scanner.scan(mail)).reason
    assert len(told) == 3
    assert all(9 < seconds <= 10 for seconds in told)
    async with asyncio.timeout(10):
        while scanner.away:
            await asyncio.sleep(0.001)  # between two looks
    assert probes == [10.0] * 3
    await scanner.scan(mail)
    assert (scanner.away, len(told)) == ("in words", 4)
    scanner.retire()


def test_scanner_that_answers_a_probe_scans_again(scanners, monkeypatch):
    """A clamd and an rspamd that come back are asked about the next mail, without any mail in between."""
    monkeypatch.setattr("relay.smtp.scanning.PROBE_SECONDS", 0.05)
    scanners.manner = "deaf"
    with Serving(config_for(scanners)) as serving:
        for number in range(3):
            assert send(serving, build(number))[0] == 250
        assert set(serving.server.away) == {"clamd", "rspamd"}
        scanners.manner = "good"
        until(lambda: not serving.server.away)
        assert send(serving, build(4))[0] == 250
        assert serving.spool.mails[3].results["relay_virus"] == "clean"
