"""What `swaks`, the tool that mail engineers try a server with, can do with us."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest
from serving import Serving, build_config

pytestmark = pytest.mark.needs("swaks", "swaks")

#: What an option needs of Perl, by the words of `swaks --support`, and the Debian package that has it.
PERL = {
    "TLS": ("--tls", "libnet-ssleay-perl"),
    "Basic AUTH": ("--auth", "libmime-base64-perl"),
    "IPv6": ("-6", "libio-socket-inet6-perl"),
}
LISTENERS = {
    "mx": {"bind": "127.0.0.1:0"},
    "ipv6": {"bind": "[::1]:0"},
    "implicit": {"bind": "127.0.0.1:0", "tls": "implicit"},
    "auth": {"bind": "127.0.0.1:0", "role": "trusted", "auth": "required"},
    "lmtp": {"bind": "127.0.0.1:0", "role": "trusted", "protocol": "lmtp"},
    "proxy": {"bind": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/8"]},
    "xclient": {
        "bind": "127.0.0.1:0",
        "role": "trusted",
        "allow": ["0.0.0.0/0", "::/0"],
        "xclient": ["127.0.0.0/8"],
    },
}
V1 = "--proxy-version 1 --proxy-source-port 4711 --proxy-dest-port 25"
V2 = "--proxy-version 2 --proxy-source-port 4711 --proxy-dest-port 25"
ALICE = "--auth-user printer --auth-password s3cret"


@functools.cache
def support():
    return subprocess.run(["swaks", "--support"], capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def serving(papers):
    """A listener of every kind, on the loop that the daemon runs on."""
    config = build_config(
        papers,
        listeners=list(LISTENERS.values()),
        limits={"handshake_seconds": 2},
        server={"users_file": str(papers.users)},
        tls={"certificate": str(papers.certificate), "key": str(papers.key), "client_ca": str(papers.ca)},
    )
    with Serving(config, loop="uvloop") as running:
        yield running


def swaks(serving, papers, listener, options, to="support@example.com"):
    """Exit code and transcript of one call."""
    for word, (option, package) in PERL.items():
        if option in options and f"=== {word} supported" not in support():
            pytest.skip(f"swaks cannot do {word} here; install the Debian package {package}")
    names = {"ca": papers.ca, "certificate": papers.client_certificate, "key": papers.client_key}
    port = serving.ports[list(LISTENERS).index(listener)]
    host = "::1" if listener == "ipv6" else "127.0.0.1"
    done = subprocess.run(
        [str(shutil.which("swaks")), "--server", host, "--port", str(port), "--from", "kim@customer.example",
         "--to", to, "--helo", "client.test", "--timeout", "20", *options.format(**names).split()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("listener", "options", "peer"),
    [
        ("mx", "", {"protocol": "ESMTP", "tls": None, "helo": "client.test", "address": "127.0.0.1"}),
        ("mx", "--protocol SMTP", {"protocol": "SMTP"}),
        ("mx", "--pipeline", {"protocol": "ESMTP"}),
        ("ipv6", "-6 --pipeline", {"protocol": "ESMTP", "address": "::1"}),
        ("mx", "--tls --tls-verify --tls-ca-path {ca}", {"protocol": "ESMTPS"}),
        ("mx", "--tls --tls-protocol tlsv1_2 --pipeline", {"protocol": "ESMTPS"}),
        ("mx", "--tls --tls-protocol tlsv1_3", {"protocol": "ESMTPS"}),
        ("implicit", "--tls-on-connect --tls-verify --tls-ca-path {ca}", {"protocol": "ESMTPS"}),
        ("auth", f"--tls --auth PLAIN {ALICE}", {"protocol": "ESMTPSA", "login": "printer"}),
        ("auth", f"--tls --auth LOGIN {ALICE} --pipeline", {"protocol": "ESMTPSA", "login": "printer"}),
        ("auth", "--tls --tls-cert {certificate} --tls-key {key}", {"login": "legacy.test.example"}),
        ("lmtp", "--protocol LMTP", {"protocol": "LMTP"}),
        ("lmtp", "--protocol LMTP --tls --pipeline", {"protocol": "LMTPS"}),
        ("proxy", f"{V1} --proxy-family TCP4 --proxy-source 192.0.2.7 --proxy-dest 192.0.2.1",
         {"address": "192.0.2.7", "port": 4711}),
        ("proxy", f"{V1} --proxy-family TCP6 --proxy-source 2001:db8::7 --proxy-dest 2001:db8::1",
         {"address": "2001:db8::7", "port": 4711}),
        ("proxy", f"{V2} --proxy-family AF_INET --proxy-source 192.0.2.7 --proxy-dest 192.0.2.1",
         {"address": "192.0.2.7", "port": 4711}),
        ("proxy", f"{V2} --proxy-family AF_INET6 --proxy-source 2001:db8::7 --proxy-dest 2001:db8::1 --tls",
         {"address": "2001:db8::7", "port": 4711, "protocol": "ESMTPS"}),
        ("xclient", "--xclient-addr 192.0.2.9 --xclient-name far.example", {"address": "192.0.2.9"}),
        ("xclient", "--xclient-addr IPV6:2001:db8::9 --pipeline", {"address": "2001:db8::9"}),
    ],
)  # fmt: skip
def test_swaks_gets_its_mail_in(serving, papers, listener, options, peer):
    """The mail is accepted, and the envelope says who it came from and how."""
    before = len(serving.spool.mails)
    code, said = swaks(
        serving, papers, listener, f"{options} --header Message-Id:<{before}@customer.example>"
    )
    assert code == 0, said
    (mail,) = serving.spool.mails[before:]
    assert {name: getattr(mail.envelope.peer, name) for name in peer} == peer
    assert (mail.envelope.peer.tls or "").startswith("TLSv1.") == ("--tls" in options)
    assert f"Ok: queued as {mail.spool_id}" in said


@pytest.mark.parametrize(
    ("listener", "options", "said"),
    [
        ("auth", "--tls --auth PLAIN --auth-user printer --auth-password wrong", "535 5.7.8"),
        ("auth", f"--auth PLAIN {ALICE}", "Host did not advertise authentication"),
        ("auth", "", "530 5.7.0"),
        ("proxy", "", "421 4.3.0"),
        ("mx", "--xclient-addr 192.0.2.9", "Host did not advertise XCLIENT"),
        ("mx", "--to nobody@example.com", "550 5.1.1"),
        ("mx", "--to x@elsewhere.example --pipeline", "550 5.7.1"),
        ("implicit", "--tls-on-connect --tls-protocol tlsv1_1", "TLS startup failed"),
    ],
)
def test_swaks_is_refused(serving, papers, listener, options, said):
    """What is not to be has a reply that says so, and no mail."""
    before = len(serving.spool.mails)
    code, told = swaks(serving, papers, listener, options)
    assert code != 0
    assert said in told
    assert len(serving.spool.mails) == before


def test_swaks_over_lmtp_hears_of_each(serving, papers):
    """Two recipients are two replies; with one refused at RCPT, one."""
    before = len(serving.spool.mails)
    _, said = swaks(serving, papers, "lmtp", "--protocol LMTP", to="support@example.com,sales@example.com")
    assert said.count("Ok: queued as ") == 2
    _, said = swaks(
        serving,
        papers,
        "lmtp",
        f"--protocol LMTP --header Message-Id:<{before}@customer.example>",
        to="support@example.com,nobody@elsewhere.example",
    )
    assert said.count("Ok: queued as ") == 1
    assert "550 5.7.1 Not our domain; we do not relay [" in said
    assert len(serving.spool.mails) == before + 2
