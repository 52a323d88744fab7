"""Any stream of octets, in every state of a session, against a live server.

The invariant: every stream ends in well-formed replies or a close; no exception escapes; what the spool gets
is for
us; memory is bounded, in each session and in all; and the next session is unharmed.

FUZZ_EXAMPLES=20000 looks longer than the suite does (shared out to the states).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import resource
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from harness import until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving import Serving, build_config

from relay.smtp.connection import BUFFER_BYTES

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
#: What one read of a socket can bring on top of a full buffer.
MOST_BUFFERED = BUFFER_BYTES + 262_144
#: What the process may grow by in further hundreds of sessions, the mails that a spool keeps taken out of it:
#: one mail of the largest, with what an allocator does not give back. (A session that stayed would be of 100
#: KB and more.)
MOST_GROWTH = 16_000_000
REPLIES = re.compile(rb"(?:[2-5]\d\d(?:-[\x20-\x7e]*\r\n[2-5]\d\d)*(?: [\x20-\x7e]*)\r\n)*")
TLS_GO = b"220 2.0.0 Ready to start TLS\r\n"
LISTENERS = {
    "mx": {"bind": "127.0.0.1:0"},
    "trusted": {"bind": "127.0.0.1:0", "role": "trusted", "xclient": ["127.0.0.0/8"], "auth": "optional"},
    "lmtp": {"bind": "127.0.0.1:0", "protocol": "lmtp", "role": "trusted"},
    "proxy": {"bind": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/8"]},
    "implicit": {"bind": "127.0.0.1:0", "role": "trusted", "auth": "optional", "tls": "implicit"},
    "required": {"bind": "127.0.0.1:0", "tls": "required"},
}
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
SENDER = b"MAIL FROM:<a@b.example>\r\n"
BOTH = SENDER + b"RCPT TO:<support@example.com>\r\n"
HELLO = b"EHLO c.example\r\n"


@dataclass(frozen=True)
class Place:
    """A state of a session: where, and what was said before in clear and then under TLS (None: there is
    none).
    """

    listener: str
    clear: bytes = b""
    secure: bytes | None = None


STATES = {
    "greeted": Place("mx"),
    "hello": Place("mx", HELLO),
    "old hello": Place("mx", b"HELO c\r\n"),
    "sender": Place("mx", HELLO + SENDER),
    "recipient": Place("mx", HELLO + BOTH),
    "refused recipient": Place("mx", HELLO + SENDER + b"RCPT TO:<nobody@example.com>\r\n"),
    "data": Place("mx", HELLO + BOTH + b"DATA\r\n"),
    "data, in a line": Place("mx", HELLO + BOTH + b"DATA\r\nSubject: x\r\n\r\nabc"),
    "data, behind CRLF.": Place("mx", HELLO + BOTH + b"DATA\r\nx\r\n."),
    "data, in a file": Place("mx", HELLO + BOTH + b"DATA\r\n" + b"x" * 70 + b"\r\n" * 2_000),
    "data, refused": Place("mx", HELLO + BOTH + b"DATA\r\na\nb\r\n"),
    "data, trusted": Place("trusted", HELLO + BOTH + b"DATA\r\na\nb"),
    "chunk": Place("mx", HELLO + BOTH + b"BDAT 300\r\nabc"),
    "chunk, refused": Place("mx", HELLO + b"BDAT 300\r\nabc"),
    "last chunk": Place("mx", HELLO + BOTH + b"BDAT 40 LAST\r\nabc"),
    "chunk, huge": Place("mx", HELLO + BOTH + b"BDAT 100000\r\nabc"),
    "between chunks": Place("mx", HELLO + BOTH + b"BDAT 3\r\nabc"),
    "second mail": Place("mx", HELLO + BOTH + b"DATA\r\nx\r\n.\r\n"),
    "sloppy": Place("trusted", HELLO),
    "front-end": Place("trusted", b"XCLIENT ADDR=192.0.2.1\r\n"),
    "lmtp": Place("lmtp", b"LHLO c\r\n"),
    "lmtp data": Place("lmtp", b"LHLO c\r\n" + BOTH + b"RCPT TO:<sales@example.com>\r\nDATA\r\n"),
    "lmtp chunk": Place("lmtp", b"LHLO c\r\n" + BOTH + b"BDAT 40 LAST\r\nx"),
    "proxy": Place("proxy"),
    "proxy 1, in it": Place("proxy", b"PROXY TCP4 192.0."),
    "proxy 2, in it": Place("proxy", V2[:14]),
    "proxy 2, in its addresses": Place("proxy", V2[:20]),
    "behind proxy 1": Place("proxy", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    "behind proxy 2": Place("proxy", V2),
    "tls required": Place("required", HELLO),
    "handshake": Place("mx", HELLO + b"STARTTLS\r\n"),
    "handshake, implicit": Place("implicit"),
    "handshake, in a record": Place("implicit", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "behind starttls": Place("required", HELLO + b"STARTTLS\r\n", b""),
    "data under tls": Place("required", HELLO + b"STARTTLS\r\n", HELLO + BOTH + b"DATA\r\n"),
    "chunk under tls": Place("implicit", b"", HELLO + BOTH + b"BDAT 300\r\nabc"),
    "auth plain": Place("implicit", b"", HELLO + b"AUTH PLAIN\r\n"),
    "auth login": Place("implicit", b"", HELLO + b"AUTH LOGIN\r\n"),
    "auth password": Place("trusted", HELLO + b"STARTTLS\r\n", HELLO + b"AUTH LOGIN\r\ncHJpbnRlcg==\r\n"),
    "logged in": Place("implicit", b"", HELLO + b"AUTH PLAIN AHByaW50ZXIAczNjcmV0\r\n"),
}
TOKENS = (
    HELLO, b"HELO c\r\n", b"LHLO c\r\n", SENDER, b"MAIL FROM:<>", b" SIZE=10", b" SIZE=99999999999999999999",
        b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b" AUTH=<>", b"\r\n", BOTH[len(SENDER) :],
        b"RCPT TO:<nobody@example.com>\r\n", b"RCPT TO:<x@elsewhere.example>\r\n", b"DATA\r\n", b"BDAT 5\r\n",
        b"BDAT 0 LAST\r\n", b"BDAT 7 LAST\r\n", b"BDAT 99999999999\r\n", b"BDAT 5 LAST LAST\r\n", b"hello\r\n", b".\r\n",
        b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"..\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"VRFY x\r\n", b"HELP\r\n",
        b"AUTH PLAIN AGEAYg==\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"=\r\n", b"YQ==\r\n", b"czNjcmV0\r\n", b"STARTTLS\r\n",
        b"XCLIENT ADDR=192.0.2.1\r\n", b"XCLIENT NAME=[UNAVAILABLE] LOGIN=x\r\n", b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01", b"\x15\x03\x03\x00\x02\x02\x28", b"\0", b"\r", b"\n", b"x" * 3_000, b"NOOP\r\n" * 200,
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY UNKNOWN\r\n", V2, b"Received: x by mx.test.example\r\n" * 6,
        b"\xff\xfe", b"Message-ID: <a\r\n b>\r\n", b"x" * 70_000, b"A" * 13_000 + b"\r\n",
)  # fmt: skip
WORDS = st.sampled_from(TOKENS)
PIECES = st.lists(st.one_of(WORDS, WORDS, st.binary(max_size=40)), max_size=25)
#: A whole conversation, to be spoilt.
WHOLE = (
    HELLO + BOTH + b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n" + BOTH + b"BDAT 3\r\nabcBDAT 0 LAST\r\n"
    b"RSET\r\nNOOP\r\nMAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x+2B\r\n"
    b'RCPT TO:<"sup\\port"@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a@b\r\nVRFY x\r\nHELP\r\nQUIT\r\n'
)
SPOILT = st.lists(
    st.tuples(
        st.integers(0, len(WHOLE)), st.integers(0, 4), st.one_of(st.binary(max_size=4), st.sampled_from(
            [b"\r\n", b"\n", b"\r", b"\0", b".", b">", b"<", b" ", b"@", b"=", b'"', b"\\", b"\xff", b"\r\n.\r\n"]))
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def looks(few: int, *, share: int = 1) -> settings:
    """How often is looked: `few` times in the suite; FUZZ_EXAMPLES times, or a share of them, when that is
    said.
    """
    return settings(
        max_examples=EXAMPLES // share or few,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def resident() -> int:
    """Our resident memory in octets."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def serving(papers, request):
    """One server for all streams: what one of them breaks, the next would see."""
    config = build_config(
        papers,
        listeners=list(LISTENERS.values()),
        server={"users_file": str(papers.users)},
        # The loop shares its process with Hypothesis: how long it is kept waiting says nothing here.
        limits={"command_seconds": 5, "handshake_seconds": 1, "errors": 10, "loop_lag_seconds": 600},
        spool={"large_message_bytes": 1_024},
        max_message_bytes=65_536,
    )
    with Serving(config, loop=request.param) as serving:
        yield serving
        server = serving.server._server
        until(lambda: not server.sessions and not server.works)


@pytest.fixture(scope="module")
def context(papers):
    """What a client trusts."""
    return ssl.create_default_context(cafile=str(papers.ca))


def stream(random: Random) -> list[bytes]:
    """A stream drawn without Hypothesis, which remembers every one."""
    return [
        random.choice(TOKENS) if random.random() < 0.7 else random.randbytes(random.randrange(40))
        for _ in range(random.randrange(25))
    ]


def end(sock: socket.socket) -> None:
    """Say that no more comes, in clear and under TLS alike."""
    with socket.socket(fileno=os.dup(sock.fileno())) as same, contextlib.suppress(OSError):
        same.shutdown(socket.SHUT_WR)


def talk(sock: socket.socket, pieces: list[bytes]) -> bytes:
    """Send the pieces one by one, then no more; everything that was said."""
    got = b""
    try:
        for piece in pieces:
            if piece:
                sock.sendall(piece)
        end(sock)
        while more := sock.recv(65_536):
            got += more
    except OSError:
        pass  # the server has closed already; ssl.SSLError is one, too
    return got


def well_formed(got: bytes) -> bool:
    """Whole replies only; after STARTTLS was taken up, octets are the handshake's business."""
    return REPLIES.fullmatch(got.split(TLS_GO)[0]) is not None


def secure(sock: socket.socket, place: Place, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The connection under TLS."""
    if place.clear:
        sock.sendall(place.clear)
        got = b""
        while TLS_GO not in got:
            got += (more := sock.recv(65_536))
            if not more:
                raise ConnectionError(got)
    return context.wrap_socket(sock, server_hostname="mx.test.example")


def check_next(serving: Serving) -> None:
    """The next session sends a mail and gets it accepted; nobody holds more than he may."""
    sessions = [session for session in tuple(serving.server._server.sessions) if hasattr(session, "buffer")]
    assert all(len(session.buffer) <= MOST_BUFFERED for session in sessions)
    with serving.connect(0) as sock:
        got = talk(sock, [HELLO + BOTH + b"DATA\r\nx\r\n.\r\nQUIT\r\n"])
    assert got.endswith(b"221 2.0.0 Bye\r\n"), got
    assert b"\r\n250 2.0.0 Ok: queued as " in got
    assert serving.trouble == []
    if len(serving.spool.mails) > 200:
        serving.spool.mails.clear()
        serving.spool.files.clear()


def check(serving: Serving, place: Place, pieces: list[bytes], context: ssl.SSLContext) -> None:
    """The invariant, for one stream in one state."""
    before = len(serving.spool.mails)
    with serving.connect(list(LISTENERS).index(place.listener)) as sock:
        if place.secure is not None:
            with secure(sock, place, context) as secured:
                got = talk(secured, [place.secure, *pieces])
        else:
            got = talk(sock, [place.clear, *pieces])
            if place.listener == "implicit":
                got = b""  # a TLS alert, or nothing
    assert well_formed(got), got
    for mail in serving.spool.mails[before:]:
        assert mail.destinations
    check_next(serving)


@pytest.mark.parametrize("state", STATES)
@looks(8, share=len(STATES))
@given(pieces=PIECES)
def test_any_stream_in_any_state(serving, context, state, pieces):
    """Whatever is said, at whatever moment: whole replies or a close, and the next session works."""
    check(serving, STATES[state], pieces, context)


@looks(100)
@given(st.sampled_from(sorted(STATES)), PIECES)
@example("greeted", [b"EHLO c\r\nSTARTTLS\r\n", b"\xff" * 50])
@example("greeted", [b"NOOP\r\n" * 60, b"QUIT\r\n"])
@example("lmtp", [b"MAIL FROM:<>\r\nBDAT 7 LAST\r\nQUIT\r\n\r\n"])
def test_any_stream_is_answered_or_closed(serving, context, state, pieces):
    """The same, state and stream drawn together."""
    check(serving, STATES[state], pieces, context)


@looks(150)
@given(st.sampled_from(["mx", "trusted", "lmtp"]), SPOILT, st.lists(st.integers(0, len(WHOLE)), max_size=4))
def test_a_spoilt_conversation(serving, context, listener, spoilt, cuts):
    """An ordinary conversation with octets changed, dropped and put in, in pieces of any sizes."""
    whole = WHOLE.replace(b"EHLO", b"LHLO") if listener == "lmtp" else WHOLE
    for at, dropped, put in spoilt:
        whole = whole[:at] + put + whole[at + dropped :]
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    check(serving, Place(listener), pieces, context)


@looks(60)
@given(st.sampled_from(sorted(STATES)), PIECES)
def test_a_peer_that_is_gone_at_any_moment(serving, context, state, pieces):
    """A reset in the middle of anything hurts nobody else."""
    place = STATES[state]
    with serving.connect(list(LISTENERS).index(place.listener)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with contextlib.suppress(OSError):
            if place.secure is None:
                sock.sendall(place.clear)
                for piece in pieces:
                    sock.sendall(piece)
            else:
                with secure(sock, place, context) as secured:
                    for piece in [place.secure, *pieces]:
                        secured.sendall(piece)
    check_next(serving)


# The daemon has uvloop where it is installed, as here.
@pytest.mark.parametrize(
    "serving", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)], indirect=True
)
def test_memory_is_bounded(serving, context):
    """Hundreds of sessions in every state leave nothing behind in the process."""
    random = Random(1)
    held = []
    for _ in range(3):
        for _ in range(150):
            check(serving, STATES[random.choice(list(STATES))], stream(random), context)
        serving.spool.mails.clear()
        serving.spool.files.clear()
        # A password of the last sessions may still be looked at: 64 MiB for each.
        until(lambda: not serving.server._server.works)
        gc.collect()
        held.append(resident())
    assert held[-1] - held[0] < MOST_GROWTH
