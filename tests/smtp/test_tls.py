"""Tests of `relay.smtp.tls`, and of TLS on live connections."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
import warnings

import pytest
from harness import until
from serving import Serving, build_config

from relay.config.listener import Tls
from relay.smtp.tls import Certificates


def copied(papers, folder) -> Tls:
    """Files of their own, to be changed."""
    for source, name in ((papers.certificate, "c.pem"), (papers.key, "k.pem")):
        shutil.copy(source, folder / name)
    return Tls(certificate=folder / "c.pem", key=folder / "k.pem")


def renew(papers, tls: Tls, name: str) -> None:
    """A new certificate in place of the old."""
    certificate, key = papers.issue(name, name)
    shutil.copy(key, tls.key)
    shutil.copy(certificate, tls.certificate)


def peer_names(serving: Serving, papers) -> set[str]:
    """The names in the certificate that a new session is shown."""
    context = ssl.create_default_context(cafile=str(papers.ca))
    context.check_hostname = False
    with serving.connect() as sock, context.wrap_socket(sock) as secure:
        return {value for kind, value in secure.getpeercert()["subjectAltName"] if kind == "DNS"}


def test_a_changed_certificate_is_read(papers, tmp_path):
    """A renewed certificate is in force for new handshakes; an unchanged one is not read again."""
    tls = copied(papers, tmp_path)
    certificates = Certificates(tls, ask_client=False)
    before = certificates.context
    assert not certificates.refresh()
    renew(papers, tls, "renewed.test.example")
    assert certificates.refresh()
    assert certificates.context is not before


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB", b"rubbish"])
def test_a_half_written_certificate_keeps_the_old(papers, tmp_path, content):
    """What cannot be read whole keeps the one before, and the whole one is taken when it is there."""
    tls = copied(papers, tmp_path)
    certificates = Certificates(tls, ask_client=False)
    before = certificates.context
    whole = tls.certificate.read_bytes()
    tls.certificate.write_bytes(content)
    assert not certificates.refresh()
    assert certificates.context is before
    tls.certificate.unlink()
    assert not certificates.refresh()
    tls.certificate.write_bytes(whole)
    os.utime(tls.certificate, ns=(5, 5))
    assert certificates.refresh()


def test_a_key_of_another_keeps_the_old(papers, tmp_path):
    """A key that does not fit its certificate, as between two writes of a renewal, changes nothing."""
    tls = copied(papers, tmp_path)
    certificates = Certificates(tls, ask_client=False)
    before = certificates.context
    _, key = papers.issue("other.test.example", "other")
    shutil.copy(key, tls.key)
    assert not certificates.refresh()
    assert certificates.context is before


def test_no_certificate_to_begin_with(tmp_path):
    """Without any readable certificate there is no context, and STARTTLS will say 454."""
    tls = Tls(certificate=tmp_path / "none", key=tmp_path / "none")
    assert Certificates(tls, ask_client=False).context is None
    with Serving(
        build_config(listeners=[{"bind": "127.0.0.1:0"}], tls={"certificate": "/nowhere", "key": "/nowhere"})
    ) as serving, serving.connect() as sock:  # fmt: skip
        talk = sock.makefile("rwb")
        talk.readline()
        talk.write(b"STARTTLS\r\n")
        talk.flush()
        assert talk.readline() == b"454 4.7.0 TLS not available now\r\n"
        talk.close()


def test_certificate_changes_under_a_running_server(papers, tmp_path):
    """A server that is running shows the renewed certificate, without a restart."""
    tls = copied(papers, tmp_path)
    config = build_config(
        listeners=[{"bind": "127.0.0.1:0", "tls": "implicit"}],
        tls={"certificate": str(tls.certificate), "key": str(tls.key)},
    )
    with Serving(config) as serving:
        assert peer_names(serving, papers) == {"mx.test.example"}
        renew(papers, tls, "renewed.test.example")
        until(lambda: peer_names(serving, papers) == {"renewed.test.example"})


@pytest.mark.parametrize(
    ("version", "works"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_only_modern_protocols(papers, version, works):
    """RFC 8996: TLS 1.2 and newer, nothing older."""
    config = build_config(papers, listeners=[{"bind": "127.0.0.1:0", "tls": "implicit"}])
    context = ssl.create_default_context(cafile=str(papers.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with Serving(config) as serving, serving.connect() as sock:
        if not works:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                context.wrap_socket(sock, server_hostname="mx.test.example")
            return
        with context.wrap_socket(sock, server_hostname="mx.test.example") as secure:
            assert secure.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")
            cipher = secure.cipher()
            assert cipher is not None
            assert "GCM" in cipher[0] or "CHACHA" in cipher[0]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_much_behind_the_handshake_is_read_on(papers, loop):
    """A peer whose whole mail comes with the last word of its handshake is answered to the end, not left
    waiting.
    """
    config = build_config(papers, listeners=[{"bind": "127.0.0.1:0", "tls": "starttls"}])
    begin = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\n"
    body = b"x" * 70 + b"\r\n"
    octets = begin + b"BDAT %d LAST\r\n" % (len(body) * 6_000) + body * 6_000 + b"QUIT\r\n"
    context = ssl.create_default_context(cafile=str(papers.ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="mx.test.example")
    with Serving(config, loop=loop) as serving:
        serving.sockets[0][0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock = serving.connect()
        sock.sendall(b"EHLO c\r\nSTARTTLS\r\n")
        until(lambda: sock.recv(65_536).endswith(b"220 2.0.0 Ready to start TLS\r\n"))
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65_536))
        client.write(octets)
        barrier = threading.Barrier(2, timeout=10)
        serving.soon(
            lambda: (barrier.wait(), barrier.wait())
        )  # the loop sees nothing before all of it is there
        barrier.wait()
        sock.sendall(outgoing.read())
        barrier.wait()
        got = b""
        while not got.endswith(b"221 2.0.0 Bye\r\n"):
            try:
                got += client.read(65_536)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65_536))
        sock.close()
    assert b"250 2.0.0 Ok: queued as " in got


def agreed(papers, *, listener=None, offered="", name="mx.test.example", at_most=None, **tls):
    """The cipher and the DNS names of the certificate on which a peer that offers these ciphers agrees."""
    config = build_config(
        papers,
        listeners=[{"bind": "127.0.0.1:0", "tls": "implicit"} | (listener or {})],
        tls={"certificate": str(papers.certificate), "key": str(papers.key)} | tls,
    )
    context = ssl.create_default_context(cafile=str(papers.ca))
    context.check_hostname = False
    context.maximum_version = at_most or ssl.TLSVersion.TLSv1_2
    if offered:
        context.set_ciphers(offered)
    with Serving(config) as serving, serving.connect() as sock:
        if config.listeners[0].tls == "starttls":
            sock.recv(1_000)
            sock.sendall(b"STARTTLS\r\n")
            sock.recv(1_000)
        with context.wrap_socket(sock, server_hostname=name) as secure:
            names = {value for kind, value in secure.getpeercert()["subjectAltName"] if kind == "DNS"}
            return secure.cipher()[0], names


#: A cipher that our own list does not have.
OLD = "ECDHE-ECDSA-AES128-SHA"


def pair(issued) -> dict[str, str]:
    """A certificate and its key, as the configuration names them."""
    return {"certificate": str(issued[0]), "key": str(issued[1])}


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256"])
def test_old_ciphers_of_opportunistic_peers(papers, cipher):
    """Where a peer would send in clear otherwise, ECDHE with CBC and RSA with GCM are agreed on, but only as
    the last choice; a listener that insists on TLS refuses them.
    """
    rsa = pair(papers.issue("mx.test.example", "old", rsa_bits=2_048))
    opportunistic = {"tls": "starttls"}
    assert agreed(papers, listener=opportunistic, offered=cipher, **rsa)[0] == cipher
    better = f"{cipher}:ECDHE-RSA-AES128-GCM-SHA256"
    assert agreed(papers, listener=opportunistic, offered=better, **rsa)[0] == "ECDHE-RSA-AES128-GCM-SHA256"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        agreed(papers, offered=cipher, **rsa)


def test_an_operator_chooses_ciphers_and_version(papers):
    """`tls.ciphers` stands in place of our list, and `tls.minimum` can ask for TLS 1.3."""
    assert agreed(papers, ciphers="ECDHE+AES", offered=OLD)[0] == OLD
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        agreed(papers, minimum="1.3")
    assert agreed(papers, minimum="1.3", at_most=ssl.TLSVersion.TLSv1_3)[0].startswith("TLS_")


def test_certificates_with_keys_of_two_kinds(papers):
    """A peer that knows only RSA gets the RSA certificate, all others the elliptic one."""
    more = [pair(papers.issue("rsa.test.example", "beside", rsa_bits=2_048))]
    assert agreed(papers, offered="ECDHE-RSA-AES128-GCM-SHA256", more=more)[1] == {"rsa.test.example"}
    assert agreed(papers, offered="ECDHE-ECDSA-AES128-GCM-SHA256", more=more)[1] == {"mx.test.example"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mx2.test.example", "second.test.example"), ("MX2.test.example", "second.test.example"),
        ("mx.test.example", "mx.test.example"), ("other.test.example", "mx.test.example"), (None, "mx.test.example"),
    ],
)  # fmt: skip
def test_a_certificate_by_the_name_that_is_asked_for(papers, name, shown):
    """The name in SNI chooses the certificate; any other name, and none, gets the first."""
    more = [pair(papers.issue("second.test.example", "second")) | {"names": ["mx2.test.example"]}]
    assert agreed(papers, name=name, more=more)[1] == {shown}
