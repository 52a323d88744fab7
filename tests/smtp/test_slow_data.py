"""The rate of a mail's data, as a peer on a socket meets it."""

from __future__ import annotations

import select
import socket
import time

import pytest
from serving import Serving, build_config

#: A window of half a second, over which 4,000 octets a second are 2,000.
LIMITS = {"data_seconds": 0.5, "min_bytes_per_second": 4_000}
HELLO = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\n"
LINE = b"x" * 78 + b"\r\n"
LATEST = 10.0  # seconds: what was saved up by a burst would last for a minute


def serve(**limits) -> Serving:
    return Serving(build_config(limits={**LIMITS, **limits}))


def said_within(sock: socket.socket, pause: float) -> bytes:
    """What the server says within a pause of the client."""
    return sock.recv(4_096) if select.select([sock], [], [], pause)[0] else b""


def begin(serving: Serving, command: bytes) -> socket.socket:
    """A session in which a mail's data may come."""
    sock = serving.connect()
    sock.sendall(HELLO + command)
    wanted = 5 if command == b"DATA\r\n" else 4
    heard = b""
    while sum(line[3:4] == b" " for line in heard.split(b"\r\n")) < wanted:
        heard += sock.recv(4_096)
    return sock


def trickle(sock: socket.socket, drop: bytes, pause: float) -> tuple[bytes, float]:
    """Send a drop after each pause until the server has a last word; it, and the seconds until then."""
    began = time.monotonic()
    heard = b""
    while b"421" not in heard and time.monotonic() - began < LATEST:
        sock.sendall(drop)
        heard += said_within(sock, pause)
    return heard, time.monotonic() - began


@pytest.mark.parametrize(
    ("command", "drop"), [(b"DATA\r\n", b"x"), (b"BDAT 9000000\r\n", b"x"), (b"", b"BDAT 1\r\nx")]
)
@pytest.mark.slow
def test_a_burst_buys_no_hours(command, drop):
    """Who sends fast and then octet by octet is told 421 after the window, in DATA, in a chunk and from chunk
    to chunk.
    """
    burst = LINE * 3_000  # a minute's worth
    if not command:
        burst = b"BDAT %d\r\n%b" % (len(burst), burst)
    with serve() as serving, begin(serving, command) as sock:
        sock.sendall(burst)
        heard, seconds = trickle(sock, drop, 0.05)
        assert b"421 4.4.2 " in heard
        assert 0.4 < seconds < LATEST
        assert serving.spool.mails == []


@pytest.mark.parametrize("command", [b"DATA\r\n", b"BDAT 9000000\r\n"])
def test_no_mail_takes_for_ever(command):
    """A sender of any steady rate is told 421 when the time for one mail is over."""
    with serve(transfer_seconds=1.0) as serving, begin(serving, command) as sock:
        heard, seconds = trickle(sock, LINE * 10, 0.02)
        assert b"421 4.4.2 " in heard
        assert 0.9 < seconds < LATEST


@pytest.mark.parametrize("rate", [4_000, 0])
def test_who_is_steady_is_heard_to_the_end(rate):
    """At the least rate a mail may take many windows; where there is none, so may a mail of a few octets."""
    drop = LINE * 8 if rate else b"x\r\n"
    with serve(min_bytes_per_second=rate, data_seconds=1.0) as serving, begin(serving, b"DATA\r\n") as sock:
        for _ in range(25):
            sock.sendall(drop)
            assert said_within(sock, 0.1) == b""
        sock.sendall(b".\r\n")
        assert sock.recv(100).startswith(b"250 2.0.0 ")
