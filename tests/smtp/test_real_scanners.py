"""Tests with other people's scanners: a clamd with a signature database of one line, and an rspamd without a
network.
"""

from __future__ import annotations

import asyncio
import smtplib
import subprocess
from contextlib import contextmanager
from email.message import EmailMessage

import pytest
from dns_server import dns_in_a_thread
from harness import free_port, until
from serving import Serving, build_config

from relay.scan.clamd import ping_clamd
from relay.scan.rspamd import ping_rspamd

pytestmark = [
    pytest.mark.needs("clamd", "clamav-daemon"),
    pytest.mark.needs("rspamd", "rspamd"),
    pytest.mark.process,
]
#: Cut in two, so that no scanner takes this file for a virus. EICAR's test file, and rspamd's test for spam.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + rb"-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" + "-ANTI-UBE-TEST-EMAIL*C.34X"
MAX_BYTES = 1_048_576
#: Rules of the names to which rspamd's own module http_headers has conditions, and that module.
RULES = """
for _, name in ipairs({'DKIM_CHECK', 'SPF_CHECK', 'DMARC_CALLBACK'}) do
  rspamd_config:register_symbol({name = name, type = 'callback', callback = function() end})
end
for _, name in ipairs({'R_SPF_ALLOW', 'R_SPF_FAIL', 'R_DKIM_NA', 'DMARC_NA'}) do
  rspamd_config:set_metric_symbol({name = name, score = 0.1})
  rspamd_config:register_symbol({name = name, type = 'virtual', parent = -1})
end
dofile('/usr/share/rspamd/plugins/http_headers.lua')
"""


@contextmanager
def running(command, log, answers):
    """A program in the foreground, until the end of the block, once it answers."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process,
    ):
        try:
            until(
                lambda: process.poll() is not None or asyncio.run(answers()),
                seconds=50,
                so=f"{command[0]} answers",
            )
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    """The socket of a clamd that knows one virus, and takes a megabyte."""
    home = tmp_path_factory.mktemp("clamd")
    (home / "db").mkdir()
    (home / "db" / "test.ndb").write_text(f"Eicar-Signature:0:*:{EICAR.hex()}\n")
    (home / "clamd.conf").write_text(
        f"DatabaseDirectory {home}/db\nLocalSocket {home}/socket\nForeground yes\nTemporaryDirectory {home}\n"
        f"StreamMaxLength {MAX_BYTES}\nMaxThreads 4\n"
    )
    address = f"{home}/socket"
    command = ["clamd", "--config-file", str(home / "clamd.conf")]
    with running(command, home / "log", lambda: ping_clamd(address, seconds=1)):
        yield address


@pytest.fixture(scope="module")
def rspamd(tmp_path_factory):
    """The URL of an rspamd that takes the results of others' checks, has no rules else, and asks nobody."""
    home, port = tmp_path_factory.mktemp("rspamd"), free_port()
    home.chmod(0o755)
    (home / "tld").write_text("example\n")
    (home / "rules.lua").write_text(RULES)
    (home / "rspamd.conf").write_text(
        f'options {{ pidfile = "{home}/pid"; temp_dir = "{home}"; url_tld = "{home}/tld"; filters = "";\n'
        f'  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }} }}\n'
        f'logging {{ type = "console"; level = "warning"; }}\n'
        f'worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}\n'
        f'lua = "{home}/rules.lua";\n'
        f'metric {{ actions {{ reject = 15; "add header" = 6; }} }}\n'
    )
    url = f"http://127.0.0.1:{port}"
    # As root it wants to be told that this is meant.
    command = ["rspamd", "-f", "-i", "-c", str(home / "rspamd.conf")]
    with running(command, home / "log", lambda: ping_rspamd(url, seconds=1)):
        yield url


@pytest.fixture(scope="module")
def serving(clamd, rspamd):
    """A listener that asks both, and a route that refuses what they find."""
    config = build_config(
        scan={"clamd": {"address": clamd, "seconds": 60.0}, "rspamd": {"url": rspamd, "seconds": 60.0}},
        routes=[
            {"match": ["support@example.com"]},
            {"match": ["sales@example.com"], "policy": {"virus": "reject", "spam": "reject"}},
        ],
    )
    with Serving(config) as running_server:
        yield running_server


def send(serving, octets, recipient):
    """Hand over one mail. Returns the reply to its data, and the results that were stored."""
    serving.spool.mails.clear()
    with smtplib.SMTP("127.0.0.1", serving.ports[0], timeout=120) as client:
        client.ehlo()
        client.mail("jane@customer.example")
        client.rcpt(recipient)
        code, text = client.data(octets)
    results = serving.spool.mails[0].results if serving.spool.mails else {}
    return code, text.decode().partition(" [")[0], results


def build(text="Hello", file=b"", number=[0]):  # noqa: B006 - counts the mails, so that none is a duplicate
    number[0] += 1
    message = EmailMessage()
    message["From"] = "jane@customer.example"
    message["To"] = "support@example.com"
    message["Subject"] = "A question"
    message["Message-ID"] = f"<{number[0]}@customer.example>"
    message.set_content(text)
    if file:
        message.add_attachment(file, maintype="application", subtype="octet-stream", filename="a.bin")
    return message.as_bytes()


@pytest.mark.parametrize("size", [0, 300_000])
def test_clean_mail_passes(serving, size):
    """Both scanners find nothing in an ordinary mail, small or large."""
    code, _, results = send(serving, build(file=b"\1" * size), "sales@example.com")
    assert (code, results["relay_virus"], results["relay_spam"]) == (250, "clean", "clean")


def test_virus_in_an_attachment(serving):
    """A clamd finds EICAR's test file in an attachment: it is told, and refused where the policy says so."""
    _, _, results = send(serving, build(file=EICAR), "support@example.com")
    assert results["relay_virus"] == "virus"
    assert results["relay_virus_name"].startswith("Eicar-Signature")
    code, text, _ = send(serving, build(file=EICAR), "sales@example.com")
    assert (code, text) == (554, "5.7.1 A virus was found in this mail")


def test_spam(serving):
    """An rspamd takes GTUBE for spam: it is told with its name, and refused where the policy says so."""
    _, _, results = send(serving, build(GTUBE), "support@example.com")
    assert (results["relay_spam"], results["relay_virus"]) == ("spam", "clean")
    assert "GTUBE" in results["relay_spam_detail"]
    code, text, _ = send(serving, build(GTUBE), "sales@example.com")
    assert (code, text) == (554, "5.7.1 Taken for spam")


@pytest.mark.parametrize(("record", "symbol"), [("+all", "R_SPF_ALLOW"), ("-all", "R_SPF_FAIL")])
def test_rspamd_takes_the_results_of_our_checks(rspamd, record, symbol):
    """An rspamd with its module http_headers has the symbols of our results, and needs no DNS for them."""
    with dns_in_a_thread({("customer.example", "TXT"): [f'"v=spf1 {record}"']}) as dns:
        config = build_config(
            scan={"rspamd": {"url": rspamd, "seconds": 60.0}},
            identity={"enabled": True},
            dns={"servers": [f"127.0.0.1:{dns.port}"], "deadline_seconds": 10.0},
            listeners=[{"bind": "127.0.0.1:0", "tls": "none", "role": "mx"}],
        )
        with Serving(config) as running_server:
            _, _, results = send(running_server, build(), "support@example.com")
    assert f"{symbol} (0.10)" in results["relay_spam_detail"]


def test_mail_over_the_stream_limit(serving):
    """What is larger than StreamMaxLength is `too_big` at once, and is taken."""
    code, _, results = send(serving, build(file=bytes(range(256)) * 40_000), "sales@example.com")
    assert (code, results["relay_virus"], results["relay_spam"]) == (250, "too_big", "clean")
