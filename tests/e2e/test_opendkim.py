"""A real Postfix with opendkim signs, NSD has the key and the policies, and the relay says who sent the mail.

The reverse-path's domain lets nobody send, so that only the signature can speak for the author.
"""

from __future__ import annotations

import smtplib
import subprocess
from contextlib import ExitStack

import pytest
from harness import CONFIG, Daemon, build_mail, free_port, until
from nsd import answers, nsd

from bench.opendkim import OpenDkim
from bench.postfix import Postfix, missing

pytestmark = [
    pytest.mark.needs("opendkim", "opendkim"),
    pytest.mark.needs("opendkim-genkey", "opendkim-tools"),
    pytest.mark.needs("nsd", "nsd"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.process,
]

ZONE = """$ORIGIN example.
$TTL 300
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
bank TXT "v=spf1 -all"
_dmarc.bank TXT "v=DMARC1; p=reject"
$ORIGIN bank.example.
"""
#: The tables of a forwarder: a reverse-path of its own, as SRS has it, and changes of what is marked.
FORWARDER = {
    "sender_canonical_maps": r"/^(.*)@bank\.example$/ SRS0=hash=ts=bank.example=$1@club.example",
    "body_checks": "/^a line to be changed$/ REPLACE a line of the forwarder",
    "header_checks": r"/^Subject: (.*\[list\].*)$/ REPLACE Subject: [members] $1",
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """The private key of the bank, and the port of the NSD that has the public one."""
    home = tmp_path_factory.mktemp("bank")
    subprocess.run(
        ["opendkim-genkey", "-D", str(home), "-d", "bank.example", "-s", "s1", "-b", "2048"], check=True
    )
    with nsd(home, {"example": ZONE + (home / "s1.txt").read_text()}) as port:
        yield home / "s1.private", port


@pytest.fixture
def daemon(box, bank, tmp_path):
    """A daemon that checks the origin of mail by that NSD."""
    dns = f'[identity]\nenabled = true\n[dns]\nservers = ["127.0.0.1:{bank[1]}"]'
    words = {"data_dir": tmp_path / "spool", "port": "{port}", "extra": dns, "receivers": 1}
    config = CONFIG.replace('role = "trusted"', 'role = "mx"').format(**words, rate=100, burst=50)
    daemon = Daemon(tmp_path, env=box.environ() | {"RELAY_IDENTITY__ENABLED": "true"}, config=config)
    daemon.config_path.write_text(config.replace("{port}", str(daemon.port)))
    with daemon.start() as running:
        yield running


@pytest.fixture
def chain(home, bank, daemon):
    """Two Postfixes: the bank's, which signs and hands mail for support on to the relay, and that of a
    forwarder, which has the mail for sales.
    """
    with ExitStack() as stack:
        signer = stack.enter_context(
            OpenDkim(
                home / "opendkim",
                port=free_port(),
                mode="s",
                Domain="bank.example",
                Selector="s1",
                KeyFile=str(bank[0]),
                Canonicalization="relaxed/simple",
            )
        )
        until(lambda: answers(int(signer.milter.rpartition(":")[2])), so=signer.log())
        relay = f"[127.0.0.1]:{daemon.port}"
        for name, table in FORWARDER.items():
            (home / name).write_text(f"{table}\n")
        tables = {name: f"regexp:{home / name}" for name in FORWARDER}
        forwarder = stack.enter_context(
            Postfix(
                home / "forwarder",
                port=free_port(),
                relayhost=relay,
                sender_canonical_classes="envelope_sender",
                **tables,
            )
        )
        (home / "transport").write_text(f"sales@example.com smtp:[127.0.0.1]:{forwarder.port}\n")
        first = stack.enter_context(
            Postfix(
                home / "postfix",
                port=free_port(),
                relayhost=relay,
                transport_maps=f"texthash:{home}/transport",
                smtpd_milters=signer.milter,
                milter_default_action="tempfail",
            )
        )
        yield first, forwarder


def build(subject, text, to):
    """A mail of the bank."""
    mail = build_mail(subject, to=to)
    mail.replace_header("From", "The Bank <service@bank.example>")
    mail.set_content(text)
    return mail


def test_mail_that_opendkim_signed(box, daemon, chain):
    """Mail signed by Postfix and opendkim is verified, straight and through a forwarder with a reverse-path
    of its own. Where the forwarder changed a line of the body or the subject, the signature fails, and the
    agent is told that nothing shows who sent it.
    """
    sent = {
        "straight": ("A question", "support@example.com"),
        "forwarded": ("A question", "sales@example.com"),
        "with a changed body": ("a line to be changed", "sales@example.com"),
        "with a changed header [list]": ("A question", "sales@example.com"),
    }
    with smtplib.SMTP("127.0.0.1", chain[0].port, timeout=20) as client:
        for subject, (text, to) in sent.items():
            client.send_message(
                build(subject, f"Dear agents,\n{text}\n\n", to), from_addr="service@bank.example"
            )
    until(lambda: len(box.contacts()) == len(sent), so=[each.log()[-2_000:] for each in chain])
    requests = [contact["request"] for contact in box.contacts()]
    by_subject = {each["EmailMessage"]["RawMessage"]["Subject"]: each["Attributes"] for each in requests}
    told = {
        subject: (found["relay_dkim"], found["relay_dmarc"], found["relay_spf"], found["relay_identity"])
        for subject, found in by_subject.items()
    }
    verified = "verified: bank.example signed this"
    spoofed = "not verified: the domain asks to reject such mail"
    assert told == {
        "Mail straight": ("pass", "pass", "fail", verified),
        "Mail forwarded": ("pass", "pass", "none", verified),
        "Mail with a changed body": ("fail", "fail", "none", spoofed),
        "[members] Mail with a changed header [list]": ("fail", "fail", "none", spoofed),
    }
    assert "s1" in by_subject["Mail straight"]["relay_dkim_detail"]
    assert by_subject["Mail forwarded"]["relay_envelope_from"].startswith("SRS0=")
    assert "body" in by_subject["Mail with a changed body"]["relay_dkim_detail"]
