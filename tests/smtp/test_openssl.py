"""What `openssl s_client` can agree upon with us, behind STARTTLS and where TLS begins with the
first octet.
"""

from __future__ import annotations

import subprocess

import pytest
from serving import Serving, build_config

pytestmark = pytest.mark.needs("openssl", "openssl")

# Whatever the client's own distribution forbids is allowed here: it is the server that has to refuse.
ANYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


@pytest.fixture(scope="module", params=[("elliptic", "asyncio"), ("rsa", "uvloop")], ids="-".join)
def serving(papers, request):
    """One listener with STARTTLS, one with TLS from the first octet, a certificate and a loop of
    either kind.
    """
    kind, loop = request.param
    certificate, key = papers.issue(
        "mx.test.example", f"openssl-{kind}", rsa_bits=2_048 if kind == "rsa" else 0
    )
    config = build_config(
        papers,
        listeners=[{"bind": "127.0.0.1:0", "tls": "starttls"}, {"bind": "127.0.0.1:0", "tls": "implicit"}],
        tls={"certificate": str(certificate), "key": str(key)},
    )
    with Serving(config, loop=loop) as running:
        yield running


@pytest.fixture(params=["starttls", "implicit"])
def command(serving, papers, request):
    """How `s_client` is called for one of the listeners."""
    index = ["starttls", "implicit"].index(request.param)
    words = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{serving.ports[index]}",
        "-CAfile",
        str(papers.ca),
    ]
    return [*words, "-servername", "mx.test.example", *(["-starttls", "smtp"] if index == 0 else [])]


@pytest.fixture
def s_client(command):
    """Everything that a client with these options says, and that we say to it."""

    def run(*options, given="QUIT\r\n"):
        done = subprocess.run(
            [*command, *options], input=given, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_protocols_are_refused(s_client, option):
    """RFC 8996: TLS 1.0 and 1.1 get the alert that says why, whatever ciphers are offered."""
    said = s_client(option, "-cipher", ANYTHING)
    assert "alert protocol version" in said
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize(("option", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_new_protocols_are_taken(s_client, option, name):
    """TLS 1.2 and 1.3: forward secrecy, authenticated encryption, our certificate, no compression, and a
    session.
    """
    said = s_client(option, "-quiet") + s_client(option)
    assert "221 2.0.0 Bye" in said
    assert f"New, {name}, Cipher is " in said
    assert "Verification: OK" in said
    assert "Compression: NONE" in said
    assert "Server Temp Key: " in said  # of this session only: forward secrecy
    cipher = said.partition(f"New, {name}, Cipher is ")[2].partition("\n")[0]
    assert "GCM" in cipher or "CHACHA20" in cipher


#: Taken last where TLS is a choice: a peer that has nothing better would else send its mail in clear.
OLD = [
    "kRSA",  # no forward secrecy
    "AES128-GCM-SHA256:AES256-GCM-SHA384",
    "ECDHE+SHA1:ECDHE+SHA256:ECDHE+SHA384",  # CBC
]
WEAK = [
    "kDHE",  # a group that somebody chose long ago
    "kRSA+SHA1:kRSA+SHA256",  # CBC without forward secrecy
    "AESCCM:AESCCM8",
    "aNULL",
    "eNULL",
    "CAMELLIA:ARIA",
]


@pytest.mark.parametrize("ciphers", [*OLD, *WEAK])
def test_weak_ciphers_are_refused(s_client, command, ciphers):
    """RFC 9325 §4.2: with TLS 1.2 there is forward secrecy and authenticated encryption, or no session."""
    if ciphers in OLD and "-starttls" in command:
        pytest.skip("TLS is a choice of the peer's here: see test_old_ciphers_keep_mail_from_going_in_clear")
    said = s_client("-tls1_2", "-cipher", f"{ciphers}:!AESGCM+ECDHE:!CHACHA20+ECDHE:@SECLEVEL=0")
    assert "alert handshake failure" in said
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize("ciphers", OLD)
def test_old_ciphers_keep_mail_from_going_in_clear(serving, papers, ciphers):
    """Behind STARTTLS the best of the old ciphers is agreed upon, where the certificate allows it."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{serving.ports[0]}", "-CAfile", str(papers.ca)]
    words += ["-servername", "mx.test.example", "-starttls", "smtp", "-tls1_2"]
    words += ["-cipher", f"{ciphers}:!AESGCM+ECDHE:!CHACHA20+ECDHE:@SECLEVEL=0"]
    done = subprocess.run(words, input="QUIT\r\n", capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout + done.stderr
    elliptic = "elliptic" in str(serving.config.tls.certificate)
    assert ("Cipher is (NONE)" in said) == (elliptic and "ECDHE" not in ciphers)


def test_renegotiation_is_refused(command):
    """A client cannot make us do handshake after handshake (CVE-2011-1473); TLS 1.3 has none."""
    with subprocess.Popen(
        [*command, "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"NOOP\r\n")
        client.stdin.flush()
        while (line := client.stdout.readline()) != b"250 2.0.0 OK\r\n":
            assert line, "no answer to NOOP"
        client.stdin.write(b"R\n")  # a line of its own: s_client's own command
        client.stdin.flush()
        said = client.communicate(timeout=30)[0]
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said
