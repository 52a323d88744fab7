"""Any stream of octets against a live server.

The invariant: every stream ends in well-formed replies or a close; no exception escapes; what the spool gets is
whole and for us; and the next session is unharmed.
"""

from __future__ import annotations

import re
import socket
import ssl

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving import Serving, build_config

REPLIES = re.compile(rb"(?:[2-5]\d\d(?:-[\x20-\x7e]*\r\n[2-5]\d\d)*(?: [\x20-\x7e]*)\r\n)*")
WORDS = st.sampled_from(
    [
        b"EHLO c.example\r\n", b"HELO c\r\n", b"LHLO c\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<>",
        b" SIZE=10", b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b"\r\n", b"RCPT TO:<support@example.com>\r\n",
        b"RCPT TO:<nobody@example.com>\r\n", b"RCPT TO:<x@elsewhere.example>\r\n", b"DATA\r\n", b"BDAT 5\r\n",
        b"BDAT 0 LAST\r\n", b"BDAT 7 LAST\r\n", b"BDAT 99999999999\r\n", b"hello\r\n", b".\r\n", b"\r\n.\r\n", b"\n.\n",
        b"..\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"VRFY x\r\n", b"HELP\r\n", b"AUTH PLAIN AGEAYg==\r\n",
        b"AUTH LOGIN\r\n", b"*\r\n", b"YQ==\r\n", b"STARTTLS\r\n", b"XCLIENT ADDR=192.0.2.1\r\n", b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01", b"\0", b"\r", b"\n", b"x" * 3_000, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), b"Received: x by mx.test.example\r\n" * 6, b"\xff\xfe",
    ]
)  # fmt: skip
STREAMS = st.lists(st.one_of(WORDS, WORDS, st.binary(max_size=40)), max_size=25)
LISTENERS = [
    {"bind": "127.0.0.1:0"},
    {"bind": "127.0.0.1:0", "role": "trusted", "xclient": ["127.0.0.0/8"]},
    {"bind": "127.0.0.1:0", "protocol": "lmtp", "role": "trusted"},
    {"bind": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/8"]},
    {"bind": "127.0.0.1:0", "role": "trusted", "auth": "optional", "tls": "implicit"},
]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def serving(papers, request):
    """One server for all streams: what one of them breaks, the next would see."""
    config = build_config(
        papers,
        listeners=LISTENERS,
        server={"users_file": str(papers.users)},
        limits={"command_seconds": 5, "handshake_seconds": 1, "errors": 10},
        spool={"large_message_bytes": 1_024},
        max_message_bytes=65_536,
    )
    with Serving(config, loop=request.param) as serving:
        yield serving


def talk(sock: socket.socket, pieces: list[bytes]) -> bytes:
    """Send the pieces one by one, then no more; everything that was said."""
    got = b""
    try:
        for piece in pieces:
            sock.sendall(piece)
        if not isinstance(sock, ssl.SSLSocket):
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.settimeout(0.3)
        while more := sock.recv(65_536):
            got += more
    except (OSError, ssl.SSLError):
        pass  # the server has closed already, or says nothing more
    return got


def well_formed(got: bytes) -> bool:
    """Whole replies only; after STARTTLS was taken up, octets are the handshake's business."""
    clear = got.split(b"220 2.0.0 Ready to start TLS\r\n")[0]
    return REPLIES.fullmatch(clear) is not None


def check_next(serving: Serving) -> None:
    """The next session sends a mail and gets it accepted."""
    with serving.connect(0) as sock:
        got = talk(
            sock,
            [
                b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
            ],
        )
    assert got.endswith(b"221 2.0.0 Bye\r\n"), got
    assert b"\r\n250 2.0.0 Ok: queued as " in got
    assert serving.trouble == []


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 3), STREAMS)
@example(0, [b"EHLO c\r\nSTARTTLS\r\n", b"\xff" * 50])
@example(2, [b"LHLO c\r\nMAIL FROM:<>\r\nBDAT 7 LAST\r\nQUIT\r\n\r\n"])
def test_any_stream_is_answered_or_closed(serving, index, pieces):
    """Whatever is said in clear, at any listener: whole replies or a close, and the next session works."""
    before = len(serving.spool.mails)
    with serving.connect(index) as sock:
        got = talk(sock, pieces)
    assert well_formed(got), got
    for mail in serving.spool.mails[before:]:
        assert mail.destinations
    check_next(serving)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STREAMS)
def test_any_stream_under_tls(serving, papers, pieces):
    """The same under TLS."""
    context = ssl.create_default_context(cafile=str(papers.ca))
    with serving.connect(4) as sock, context.wrap_socket(sock, server_hostname="mx.test.example") as secure:
        got = talk(secure, [piece for piece in pieces if piece])
    whole = got[: got.rfind(b"\r\n") + 2] if b"\r\n" in got else b""
    assert REPLIES.fullmatch(whole), got
    check_next(serving)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STREAMS, st.integers(0, 3))
def test_a_peer_that_is_gone_at_any_moment(serving, pieces, index):
    """A reset in the middle of anything hurts nobody else."""
    with serving.connect(index) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            for piece in pieces:
                sock.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
    check_next(serving)
