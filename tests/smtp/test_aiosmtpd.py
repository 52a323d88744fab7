"""The claims of docs/smtp.md about aiosmtpd's own server, tried: when one is mended, the page changes."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import tracemalloc
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from harness import free_port, until

PAGE = (Path(__file__).parents[2] / "docs" / "smtp.md").read_text(encoding="utf-8")
BEGIN = (b"EHLO c.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:<x@example.com>", b"DATA")


class Handler:
    """A handler that fails, or waits, as the mail asks it to."""

    def __init__(self):
        self.waits = threading.Event()
        self.cancelled = threading.Event()

    async def handle_DATA(self, server, session, envelope):
        if b"fail" in envelope.content:
            raise RuntimeError("dsn=secret")
        try:
            self.waits.set()
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
def stock(papers):
    """Aiosmtpd's server as it comes, with a certificate and a limit of 1 MB."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    made = Controller(
        Handler(), hostname="127.0.0.1", port=free_port(), data_size_limit=1_000_000, tls_context=context
    )
    made.start()
    yield made
    made.stop()


class Client:
    """A client that says a line and reads the reply to it."""

    def __init__(self, stock):
        self.sock = socket.create_connection((stock.hostname, stock.port), timeout=10)
        self.file = self.sock.makefile("rb")
        self.read()

    def read(self):
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines).decode()

    def say(self, line, end=b"\r\n"):
        self.sock.sendall(line + end)
        return self.read()

    def begin(self):
        return [self.say(line) for line in BEGIN]


@pytest.fixture
def client(stock):
    """A client that has read the greeting."""
    made = Client(stock)
    yield made
    made.file.close()
    made.sock.close()


def test_exception_goes_to_the_peer(stock, client):
    """An exception of a handler is a 500 that says its text."""
    client.begin()
    assert client.say(b"fail\r\n.") == "500 Error: (RuntimeError) dsn=secret\r\n"


def test_half_close_cancels_the_handler(stock, client):
    """A peer that closes its half of the connection cancels the handler of its mail."""
    client.begin()
    client.sock.sendall(b"wait\r\n.\r\n")
    assert stock.handler.waits.wait(10)
    client.sock.shutdown(socket.SHUT_WR)
    assert stock.handler.cancelled.wait(10)


def test_line_without_an_end_is_kept(stock, client):
    """Four times the limit of a mail is kept in memory while one line has no end, and nothing is said."""
    client.begin()
    tracemalloc.start()
    try:
        for _ in range(4):
            client.sock.sendall(b"x" * 1_000_000)
        until(lambda: tracemalloc.get_traced_memory()[0] >= 3_900_000, so="3.9 MB kept")
    finally:
        tracemalloc.stop()
    client.sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)


def test_long_line_is_refused(stock, client):
    """A line over 1,001 octets is refused for good."""
    client.begin()
    assert client.say(b"x" * 1_002 + b"\r\n.").startswith("500 Line too long")


def test_auth_is_announced_after_starttls(stock, client, papers):
    """AUTH is announced under TLS although nobody can log in."""
    assert "AUTH" not in client.say(b"EHLO c.example")
    client.say(b"STARTTLS")
    context = ssl.create_default_context(cafile=str(papers.ca))
    context.check_hostname = False
    client.file.close()
    client.sock = context.wrap_socket(client.sock)
    client.file = client.sock.makefile("rb")
    assert "AUTH LOGIN PLAIN" in client.say(b"EHLO c.example")


def test_nul_and_bare_line_ends_are_taken(stock, client):
    """NUL in a recipient is taken, and so is a command that ends in LF alone."""
    assert client.say(b"NOOP", end=b"\n") == "250 OK\r\n"
    client.say(BEGIN[0])
    client.say(BEGIN[1])
    assert client.say(b"RCPT TO:<x\x00y@example.com>") == "250 OK\r\n"


def test_extensions_that_are_missing(stock, client):
    """Parameters of DSN are refused, and the extensions that the page names are not announced."""
    hello = client.say(BEGIN[0])
    missing = re.findall(r"has no (PIPELINING[A-Z, ]+CHUNKING)", PAGE)
    assert missing
    assert [name for name in missing[0].split(", ") if name in hello] == []
    assert client.say(b"MAIL FROM:<a@b.example> RET=HDRS").startswith("555")
    client.say(BEGIN[1])
    assert client.say(b"RCPT TO:<x@example.com> NOTIFY=NEVER").startswith("555")


def test_limits_of_commands_are_shared(stock, client):
    """The limits on the length of commands are one table for all sessions."""
    client.say(b"EHLO c.example")
    assert "command_size_limits" in vars(SMTP)
    assert SMTP.command_size_limits["MAIL"] > SMTP.command_size_limit
