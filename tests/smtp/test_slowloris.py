"""Peers that take their time in every phase of a session: each is gone when its time is over, and frees its
place.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time

import pytest
from harness import until
from serving import Serving, build_config

from relay.telemetry import metrics

#: Seconds for a command, a handshake, a window of data; and for a whole session.
BRIEF, WHOLE = 1.0, 4.0
#: Seconds that a busy machine, the tick of the deadlines and our last words (two seconds) may take on top.
SLACK = 8.0
LIMITS = {
    "command_seconds": BRIEF,
    "handshake_seconds": BRIEF,
    "session_seconds": WHOLE,
    "data_seconds": BRIEF,
    "transfer_seconds": WHOLE,
    "connections_per_address": 1_000,
    "connections_per_network": 1_000,
    "messages_per_minute": 10_000,
    "idle_commands": 1_000_000,
    "errors": 1_000_000,
}
HELLO = b"EHLO c.example\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<support@example.com>\r\n"
#: Which listener, what is said at once, what is said drop by drop for ever, and whether answers are read.
PHASES: dict[str, tuple[int, bytes, bytes, bool]] = {
    "silence": (0, b"", b"", True),
    "silence that reads nothing": (0, b"", b"", False),
    "a command in drops": (0, b"", b"EHLO " + b"x" * 10_000, True),
    "a blank line in drops": (0, HELLO, b"\r" * 10_000, True),
    "silence in a transaction": (0, HELLO + MAIL + RCPT, b"", True),
    "a recipient in drops": (0, HELLO + MAIL, b"RCPT TO:<" + b"x" * 10_000, True),
    "commands one after the other": (0, HELLO, b"NOOP\r\n" * 2_000, True),
    "transactions without a mail": (0, HELLO, (MAIL + b"RSET\r\n") * 500, True),
    "data in drops": (0, HELLO + MAIL + RCPT + b"DATA\r\n", b"x" * 10_000, True),
    "data of one dot": (0, HELLO + MAIL + RCPT + b"DATA\r\n", b"\r\n.", True),
    "a chunk in drops": (0, HELLO + MAIL + RCPT + b"BDAT 100000\r\n", b"x" * 10_000, True),
    "chunks of one octet": (0, HELLO + MAIL + RCPT, b"BDAT 1\r\nx" * 1_000, True),
    "silence between chunks": (0, HELLO + MAIL + RCPT + b"BDAT 1\r\nx", b"", True),
    "answers that nobody reads": (0, HELLO, b"HELP\r\n" * 60_000, False),
    "silence after STARTTLS": (0, HELLO + b"STARTTLS\r\n", b"", True),
    "a handshake in drops": (0, HELLO + b"STARTTLS\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 9_000, True),
    "silence at a listener of TLS": (1, b"", b"", True),
    "a hello of TLS in drops": (1, b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 9_000, True),
    "silence where a proxy speaks": (2, b"", b"", True),
    "a proxy's line in drops": (2, b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 " + b"x" * 9_000, True),
    "a proxy's octets in drops": (2, b"", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + b"x" * 9_000, True),
    "silence behind a proxy": (2, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"", True),
    "silence of a login": (3, HELLO + b"AUTH PLAIN\r\n", b"", True),
    "a login in drops": (3, HELLO + b"AUTH LOGIN\r\n", base64.b64encode(b"x" * 9_000), True),
}  # fmt: skip


def attack(sock: socket.socket, phase: str, over: threading.Event) -> None:
    """Do as the phase says until the server closes, or all is over."""
    listener, at_once, drops, reads = PHASES[phase]
    # One large drop for those that never read, so that the server's buffers fill.
    step = len(drops) if not reads else 1 if b"\r\n" not in drops else 7
    if listener == 3:
        sock = within_tls(sock)
    with contextlib.suppress(OSError), sock:  # a reset by the server is an end, too
        sock.sendall(at_once)
        sock.settimeout(0.1)
        at = 0
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                piece, at = drops[at : at + step], at + step
                sock.sendall(piece)
            if not reads:
                over.wait(0.1)
                continue
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                if not sock.recv(65_536):
                    return


def within_tls(sock: socket.socket) -> ssl.SSLSocket:
    """The same connection for TLS, whose handshake comes with its first octets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock, do_handshake_on_connect=False)


def open_sessions() -> float:
    """The sessions that this process counts as open."""
    return metrics.SESSIONS._value.get()


@pytest.fixture(scope="module")
def serving(papers):
    """A server with a listener of each kind."""
    listeners = [
        {"bind": "127.0.0.1:0", "tls": "starttls"},
        {"bind": "127.0.0.1:0", "tls": "implicit"},
        {"bind": "127.0.0.1:0", "tls": "none", "proxy_protocol": ["127.0.0.0/8"]},
        {
            "bind": "127.0.0.1:0", "tls": "implicit", "role": "trusted", "auth": "optional", "allow": ["127.0.0.0/8"],
        },
    ]  # fmt: skip
    config = build_config(
        papers, listeners=listeners, limits=LIMITS, server={"users_file": str(papers.users)}
    )
    with Serving(config) as served:
        yield served


@pytest.mark.slow
def test_nobody_stays_for_long_in_any_phase(serving):
    """All kinds of slow peers at once: each is ended when its time is over, and none of them has sent
    a mail.
    """
    over = threading.Event()
    before = open_sessions()  # a server of another module may have ended in the middle of one
    threads = {
        phase: threading.Thread(target=attack, args=(serving.connect(PHASES[phase][0]), phase, over))
        for phase in PHASES
    }
    for thread in threads.values():
        thread.start()
    begun = time.monotonic()
    until(lambda: open_sessions() > before and time.monotonic() - begun > BRIEF / 2, seconds=SLACK)
    with contextlib.suppress(AssertionError):
        until(lambda: open_sessions() == before, seconds=WHOLE + SLACK)
    left, running = (
        open_sessions() - before,
        [phase for phase, thread in threads.items() if thread.is_alive() and PHASES[phase][3]],
    )
    over.set()
    for thread in threads.values():
        thread.join()
    assert (left, running) == (0, [])
    assert serving.spool.mails == []
