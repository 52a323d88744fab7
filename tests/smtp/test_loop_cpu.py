"""How long the receiver's event loop works at one go: five milliseconds at most, whatever comes.

Measured is the processor time of the loop's own thread within one callback, so that a busy machine changes
nothing.
The loop is asyncio's own, whose callbacks can be looked at; on uvloop the same code runs, called from less
Python.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import random
import ssl
import threading
import time
from functools import cache

import pytest
from serving import ROUTES, Serving, build_config

from relay.spool.opening import open_intake

LIMIT = 0.005
#: What a callback of ours takes is there in each round; a collection of garbage is not.
ROUNDS = 8
CLEAR, TLS, TRUSTED, LOGIN = range(4)
#: Everybody else who wants to be served while one peer does its worst.
CROWD = 60

MAIL = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\n"
HEAD = b"Subject: x\r\n\r\n"
LONGEST_PATH = b'"' + b"\\a" * 1_950 + b'"@b.example'


@cache
def encoded():
    """25 MB of base64."""
    return base64.encodebytes(random.Random(1).randbytes(18_000_000)).replace(b"\n", b"\r\n")


def data(content, begin=MAIL):
    return begin + b"DATA\r\n" + content + b"\r\n.\r\nQUIT\r\n"


def field(name, value):
    return data(name + b": " + value + b"\r\n\r\n")


#: What is said, made when it is needed: some of it is large.
CASES = {
    "25 MB": (CLEAR, lambda: data(HEAD + encoded())),
    "25 MB under TLS": (TLS, lambda: data(HEAD + encoded())),
    "25 MB in one chunk": (
        CLEAR,
        lambda: MAIL + b"BDAT %d LAST\r\n" % len(HEAD + encoded()) + HEAD + encoded() + b"QUIT\r\n",
    ),
    "250 KB, kept in memory": (CLEAR, lambda: data(HEAD + encoded()[:260_000])),
    "lines of 1 MiB": (CLEAR, lambda: data(HEAD + (b"x" * 1_048_574 + b"\r\n") * 8)),
    "200 KB of dots": (CLEAR, lambda: data(HEAD + b"." * 200_000)),
    "200 KB of dots on lines": (CLEAR, lambda: data(HEAD + b"..\r\n" * 50_000)),
    "200 KB of empty lines": (CLEAR, lambda: data(HEAD + b"\r\n" * 100_000)),
    "200 KB of bare LF": (TRUSTED, lambda: data(HEAD + b"\n" * 200_000)),
    "4 MB of bare LF": (TRUSTED, lambda: data(HEAD + b"\n" * 4_000_000)),
    "1,000 recipients": (
        CLEAR,
        lambda: data(HEAD, MAIL + b"".join(b"RCPT TO:<u%d@help.example.com>\r\n" % n for n in range(999))),
    ),
    "NOOP without end": (CLEAR, lambda: b"NOOP\r\n" * 40_000 + b"QUIT\r\n"),
    "EHLO without end": (CLEAR, lambda: b"EHLO c.example\r\n" * 15_000 + b"QUIT\r\n"),
    "HELP without end": (CLEAR, lambda: b"HELP\r\n" * 15_000 + b"QUIT\r\n"),
    "MAIL and RSET": (CLEAR, lambda: b"EHLO c\r\n" + b"MAIL FROM:<a@b.example>\r\nRSET\r\n" * 7_000 + b"QUIT\r\n"),
    "errors": (CLEAR, lambda: b"X\r\n" * 40_000 + b"QUIT\r\n"),
    "chunks of one octet": (CLEAR, lambda: MAIL + b"BDAT 1\r\nx" * 15_000 + b"BDAT 0 LAST\r\nQUIT\r\n"),
    "400 mails at once": (CLEAR, lambda: (MAIL + b"BDAT 4 LAST\r\nx:y\n") * 400 + b"QUIT\r\n"),
    "paths of 4 KB": (CLEAR, lambda: b"EHLO c\r\n" + (b"MAIL FROM:<" + LONGEST_PATH + b">\r\n") * 60 + b"QUIT\r\n"),
    "source routes of 4 KB": (CLEAR, lambda: b"EHLO c\r\n" + (b"MAIL FROM:<" + b"@a," * 1_300 + b">\r\n") * 60 + b"QUIT\r\n"),
    "a header of 250 KB": (TRUSTED, lambda: data(b"X-A: a\r\n" * 30_000 + b"\r\n")),
    "a header of 1 MB": (CLEAR, lambda: data(b"X-A: a\r\n" * 130_000 + b"\r\n")),
    "8,000 Received": (CLEAR, lambda: data(b"Received: by mx.test.example\r\n" * 8_000 + b"\r\n")),
    "60,000 folds": (CLEAR, lambda: data(b"Received: a\r\n" + b" b\r\n" * 60_000 + b"\r\n")),
    "80,000 references": (CLEAR, lambda: field(b"References", b"<a>" * 80_000)),
    "80 fields of references": (CLEAR, lambda: data((b"References: " + b"<a>" * 990 + b"\r\n") * 80 + b"\r\n")),
    "a Message-ID of 240 KB": (CLEAR, lambda: field(b"Message-ID", b"<a" * 120_000)),
    "a Message-ID of encoded words": (CLEAR, lambda: field(b"Message-ID", b"=?utf-8?q?=41?= " * 14_000)),
    "passwords": (LOGIN, lambda: b"EHLO c\r\n" + b"AUTH PLAIN AHByaW50ZXIAeHh4\r\n" * 2 + b"QUIT\r\n"),
    "credentials of 12 KB": (LOGIN, lambda: b"EHLO c\r\n" + (b"AUTH PLAIN " + b"A" * 12_000 + b"\r\n") * 10 + b"QUIT\r\n"),
}  # fmt: skip


class Timed(Serving):
    """A server with a real spool, whose every callback is timed."""

    longest = 0.0

    async def _start(self):
        self.intake = open_intake(self.config)
        self.spool, fake = self.intake, self.spool
        await super()._start()
        self.spool = fake

    def __exit__(self, *details):
        self.call(self.server.drain(0.0))
        self.call(self.intake.close())
        super().__exit__(*details)


@pytest.fixture(scope="module")
def timed(papers, tmp_path_factory):
    """The server; `longest` is the processor time of the longest callback since it was last set to
    nothing.
    """
    certificate, key = papers.issue("mx.test.example", "cpu", rsa_bits=2_048)
    config = build_config(
        papers,
        data_dir=str(tmp_path_factory.mktemp("cpu") / "spool"),
        routes=ROUTES,
        listeners=[
            {"bind": "127.0.0.1:0"},
            {"bind": "127.0.0.1:0", "tls": "implicit"},
            {"bind": "127.0.0.1:0", "role": "trusted"},
            {"bind": "127.0.0.1:0", "role": "trusted", "tls": "implicit", "auth": "optional"},
        ],
        tls={"certificate": str(certificate), "key": str(key)},
        server={"users_file": str(papers.users)},
        limits={"recipients": 1_000, "idle_commands": 100_000, "errors": 100_000},
        spool={"min_free_bytes": 0, "min_free_inodes": 0},
    )
    server = Timed(config)
    run = asyncio.Handle._run

    def timing(handle):
        if handle._loop is not server.loop:
            return run(handle)
        before = time.thread_time()
        run(handle)
        server.longest = max(server.longest, time.thread_time() - before)
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timing)
        gc.collect()
        gc.freeze()  # what other tests have left is not the receiver's
        with server:
            yield server
        gc.unfreeze()


def say(timed, papers, listener, octets):
    """All of it, without waiting for an answer; everything that was answered."""
    sock = timed.connect(listener)
    if listener in (TLS, LOGIN):
        context = ssl.create_default_context(cafile=str(papers.ca))
        with context.wrap_socket(sock, server_hostname="mx.test.example") as secure:
            secure.sendall(octets)
            return b"".join(iter(lambda: secure.recv(65_536), b""))
    with sock:
        sending = threading.Thread(target=sock.sendall, args=(octets,))
        sending.start()
        got = b"".join(iter(lambda: sock.recv(65_536), b""))
        sending.join()
        return got


def best(timed, do):
    """The longest callback of the best round."""
    found = 1.0
    for _ in range(ROUNDS):
        timed.longest = 0.0
        do()
        found = min(found, timed.longest)
        if found < LIMIT:
            break
    return found


@pytest.mark.process
@pytest.mark.parametrize("name", CASES)
def test_nobody_else_waits(timed, papers, name):
    """One peer's worst is done in pieces of less than five milliseconds, and is answered to its end."""
    listener, make = CASES[name]
    octets = make()
    answers = []
    assert best(timed, lambda: answers.append(say(timed, papers, listener, octets))) < LIMIT
    assert answers[-1].endswith(b"221 2.0.0 Bye\r\n"), answers[-1][-200:]


@pytest.mark.parametrize("listener", [CLEAR, TLS])
def test_a_crowd_comes_in_one_by_one(timed, papers, listener):
    """Sixty peers at once, each with its handshake (RSA, which is the dearest): none waits for all the
    others.
    """

    def crowd():
        threads = [
            threading.Thread(target=say, args=(timed, papers, listener, b"QUIT\r\n")) for _ in range(CROWD)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert best(timed, crowd) < LIMIT
