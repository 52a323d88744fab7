"""Client certificates that verify, that do not, and that are not there, on live connections of both loops."""

from __future__ import annotations

import json
import ssl

import pytest
from certificates import Papers
from serving import Serving, build_config

from relay import telemetry

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def shown(papers, tmp_path_factory):
    """The certificates that a client may show: the login or the reason why it is none, and the files."""
    strangers = Papers(tmp_path_factory.mktemp("strangers"))
    return {
        "ours": (papers.client_certificate, papers.client_key),
        "self-signed": (papers.unknown_certificate, papers.unknown_key),
        "of another authority": (strangers.client_certificate, strangers.client_key),
        "expired": papers.issue("old.test.example", "expired", days=-2),
        "none": None,
    }


REASONS = {
    "ours": "",
    "self-signed": "depth zero self signed cert",
    "of another authority": "cert signature failure",  # it calls itself as ours does
    "expired": "cert has expired",
    "none": "",
}


@pytest.fixture
def reasons(capsys):
    """The reasons that the log has for an event, in a function."""

    def look(event):
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [line["reason"] for line in lines if line["event"] == event]

    yield look
    with capsys.disabled():  # the stream of this test is closed after it
        telemetry.configure("json", "info")


def config_for(papers, *, auth="optional", tls="implicit", role="trusted", **more):
    files = {"certificate": papers.certificate, "key": papers.key, "client_ca": papers.ca}
    return build_config(
        papers,
        listeners=[{"bind": "127.0.0.1:0", "role": role, "tls": tls, "auth": auth}],
        server={"users_file": str(papers.users)},
        tls={name: str(path) for name, path in files.items()} | more,
    )


def hand_over(serving, context, *, tls="implicit", octets=1_000):
    """Send a mail of so many octets. Returns the reply to it, and the login that was noted."""
    before = len(serving.spool.mails)
    with serving.connect() as sock:
        if tls != "implicit":
            for line in (b"", b"EHLO c.example\r\n", b"STARTTLS\r\n"):
                sock.sendall(line)
                sock.recv(4_096)
        with context.wrap_socket(sock, server_hostname="mx.test.example") as secure:
            talk = secure.makefile("rwb")
            if tls == "implicit":
                assert talk.readline().startswith(b"220 ")
            talk.write(
                b"HELO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
            )
            talk.flush()
            replies = [talk.readline() for _ in range(4)]
            if not replies[1].startswith(b"250"):
                return replies[1], None
            line = b"x" * 70 + b"\r\n"
            talk.write(line * (octets // len(line)) + b".\r\n")
            talk.flush()
            reply = talk.readline()
            talk.write(b"QUIT\r\n")
            talk.flush()
            assert talk.readline().startswith(b"221 ")
            assert talk.read() == b""
    assert len(serving.spool.mails) == before + 1
    return reply, serving.spool.mails[-1].envelope.peer.login


def client(papers, shown=None, *, version=None):
    context = ssl.create_default_context(cafile=str(papers.ca))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(*shown)
    return context


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("loop", "tls"), [("asyncio", "starttls"), ("uvloop", "starttls"), ("uvloop", "implicit")]
)
def test_certificate_is_a_login_or_nothing(papers, shown, kind, version, loop, tls, reasons):
    """Where a login is optional, each client hands over its mail under TLS: with the login of a certificate
    that verifies, and else without one, for a reason that the log tells.
    """
    with Serving(config_for(papers, tls=tls), loop=loop) as serving:
        telemetry.configure("json", "info")
        reply, login = hand_over(serving, client(papers, shown[kind], version=version), tls=tls)
    assert reply.startswith(b"250 ")
    assert login == ("legacy.test.example" if kind == "ours" else None)
    assert reasons("client.unverified") == [REASONS[kind]] * (REASONS[kind] != "")


@pytest.mark.parametrize("kind", ["self-signed", "of another authority", "expired"])
def test_certificate_that_does_not_verify_ends_the_handshake_where_a_login_is_required(papers, shown, kind):
    """The client learns from the alert why it cannot log in."""
    with Serving(config_for(papers, auth="required")) as serving:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            hand_over(serving, client(papers, shown[kind]))
        assert hand_over(serving, client(papers, shown["ours"]))[1] == "legacy.test.example"
        assert hand_over(serving, client(papers))[0].startswith(b"530 ")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_large_mail_comes_whole(papers, shown, loop):
    """Many records that come at once are read to the last one, and the end of the session is said by both."""
    with Serving(config_for(papers), loop=loop) as serving:
        reply, _ = hand_over(serving, client(papers, shown["self-signed"]), octets=3_000_000)
        assert reply.startswith(b"250 ")
        assert len(serving.spool.body()) == 3_000_000 // 72 * 72


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_session_is_not_resumed(papers, shown, loop):
    """A client that comes again with its ticket shows its certificate again, and is judged anew."""
    context = client(papers, shown["ours"], version=ssl.TLSVersion.TLSv1_2)
    with Serving(config_for(papers), loop=loop) as serving:
        session = None
        for _ in range(2):
            with serving.connect() as sock:
                secure = context.wrap_socket(sock, server_hostname="mx.test.example", session=session)
                with secure:
                    assert secure.recv(4) == b"220 "
                    assert not secure.session_reused
                    session = secure.session


def test_each_name_has_its_certificate(papers, shown):
    """The name in SNI chooses the certificate, and the client's own is looked at there, too."""
    certificate, key = papers.issue("second.test.example", "second-optional")
    more = [{"certificate": str(certificate), "key": str(key), "names": ["second.test.example"]}]
    for kind, verified in (("ours", True), ("self-signed", False)):
        with Serving(config_for(papers, more=more)) as serving, serving.connect() as sock:
            context = client(papers, shown[kind])
            with context.wrap_socket(sock, server_hostname="second.test.example") as secure:
                secure.sendall(
                    b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n.\r\n"
                )
                talk = secure.makefile("rb")
                assert [talk.readline()[:3] for _ in range(6)] == [
                    b"220",
                    b"250",
                    b"250",
                    b"250",
                    b"354",
                    b"250",
                ]
                talk.close()
        assert (serving.spool.mails[-1].envelope.peer.login is not None) is verified


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("octets", "reason"),
    [(b"GET / HTTP/1.0\r\n\r\n", "http request"), (b"\x16\x03\x01\x00\x05hello", "")],
)
def test_garbage_for_a_handshake_is_told(papers, loop, octets, reason, reasons):
    """Octets that are no handshake end the connection, and the log has OpenSSL's reason."""
    with Serving(config_for(papers), loop=loop) as serving:
        telemetry.configure("json", "info")
        with serving.connect() as sock:
            sock.sendall(octets)
            while sock.recv(4_096):
                pass
    (told,) = reasons("handshake.failed")
    assert told
    assert reason in told


def test_peer_with_old_ciphers_alone_is_told(papers, reasons):
    """A handshake without a common cipher fails with the alert for the peer, and the words for the log."""
    context = client(papers, version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES128-SHA")
    with Serving(config_for(papers)) as serving:
        telemetry.configure("json", "info")
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            hand_over(serving, context)
    assert reasons("handshake.failed") == ["no shared cipher"]


@pytest.mark.parametrize("auth", ["optional", "required"], ids=["pyOpenSSL", "ssl"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_peer_that_does_not_know_our_authority_is_told(papers, auth, loop, reasons):
    """A peer that refuses our certificate says so in an alert, and the log has its words."""
    context = ssl.create_default_context()  # of this machine's authorities, to which ours does not belong
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Serving(config_for(papers, auth=auth), loop=loop) as serving:
        telemetry.configure("json", "info")
        with pytest.raises(ssl.SSLCertVerificationError):
            hand_over(serving, context)
    (told,) = reasons("handshake.failed")
    assert told.endswith("alert unknown ca")
