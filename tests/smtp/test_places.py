"""Who has a place when all are taken: silent sessions from many networks, on sockets of their own."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest
from harness import until
from serving import Serving, build_config

from relay.config.model import Limits
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import Limiter
from relay.smtp.overload import raise_file_limit
from relay.smtp.places import Places

MAIL = (
    b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nBDAT 1 LAST\r\nxQUIT\r\n"
)


def hear(sock: socket.socket) -> bytes:
    """Everything that the server says until it closes."""
    heard = b""
    while octets := sock.recv(4_096):
        heard += octets
    return heard


def serve(papers=None, *, tls: str = "none", **limits) -> Serving:
    listeners = [{"bind": "127.0.0.1:0", "tls": tls}]
    return Serving(build_config(papers, listeners=listeners, limits={"connections": 20, **limits}))


def crowd(stack: ExitStack, serving: Serving, count: int, words: bytes = b"") -> list[socket.socket]:
    """So many sessions from as many networks, which say these words and then nothing."""
    opened = []
    for number in range(count):
        sock = stack.enter_context(serving.connect(source=f"127.{1 + number // 200}.{1 + number % 200}.9"))
        assert sock.recv(100).startswith(b"220 ") or words
        sock.sendall(words)
        opened.append(sock)
    return opened


def test_the_idlest_makes_way():
    """A newcomer that finds no free place gets that of the session that was silent longest, and is served."""
    with serve() as serving, ExitStack() as stack:
        silent = crowd(stack, serving, 18)  # two of twenty are kept
        silent[0].sendall(b"NOOP\r\n")
        assert silent[0].recv(100).startswith(b"250 ")
        until(lambda: served(stack, serving, "127.99.1.1"))
        assert hear(silent[1]).startswith(b"421 4.3.2 Idle while others wait")
        silent[0].sendall(b"NOOP\r\n")
        assert silent[0].recv(100).startswith(b"250 ")
        assert serving.server.problem() == "all places for sessions are taken (limits.connections)"
        for sock in silent:
            sock.close()
        until(lambda: serving.server.problem() == "")


def served(stack: ExitStack, serving: Serving, source: str) -> bool:
    """Whether a newcomer is greeted."""
    sock = stack.enter_context(serving.connect(source=source))
    return sock.recv(100).startswith(b"220 ")


@pytest.mark.parametrize("words", [b"", b"EHLO", MAIL.partition(b"BDAT")[0] + b"DATA\r\nx"])
def test_whoever_is_silent_makes_way(words):
    """Before a command, within one, and in the data of a mail: silence is silence."""
    with serve() as serving, ExitStack() as stack:
        crowd(stack, serving, 18, words)
        until(lambda: served(stack, serving, "127.99.1.1"))


def test_a_silent_handshake_makes_way(papers):
    """So does a TLS handshake that does not go on."""
    with serve(papers, tls="implicit") as serving, ExitStack() as stack:
        for number in range(18):
            stack.enter_context(serving.connect(source=f"127.1.{1 + number}.9"))
        until(lambda: len(serving.server._server.sessions) == 18)
        until(lambda: is_open(stack, serving, "127.99.1.1"))


def is_open(stack: ExitStack, serving: Serving, source: str) -> bool:
    """Whether a newcomer at a port with TLS from the first octet is left to its handshake."""
    sock = stack.enter_context(serving.connect(source=source))
    sock.settimeout(0.1)
    try:
        return sock.recv(100) != b"" and False
    except TimeoutError:
        return True


def test_a_share_is_kept_for_who_delivered():
    """Strangers never take the last tenth: a network that delivered mail is served while they are
    sent away.
    """
    with serve() as serving, ExitStack() as stack:
        friend = stack.enter_context(serving.connect(source="127.77.1.1"))
        friend.sendall(MAIL)
        assert b"250 2.0.0 Ok: queued" in hear(friend)
        crowd(stack, serving, 18)
        strangers = [served(stack, serving, f"127.98.{number}.1") for number in range(3)]
        assert strangers == [False] * 3  # nobody is idle for long enough to make way
        assert served(stack, serving, "127.77.1.2")


def test_no_way_is_made_for_whom_has_too_many():
    """An address over its own limit costs nobody the place."""
    with serve(connections_per_address=1) as serving, ExitStack() as stack:
        silent = crowd(stack, serving, 18)
        until(lambda: serving.call(_all_idle(serving)))
        again = stack.enter_context(serving.connect(source="127.1.1.9"))
        assert b"421 4.7.0 Too many sessions from your address" in hear(again)
        for sock in silent:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)


async def _all_idle(serving: Serving) -> bool:
    now = serving.loop.time()
    return all(now - each.idle_since() > 1.0 for each in serving.server._server.sessions)


@pytest.mark.parametrize("words", [b"", b"EHLO c.example\r\n"])
def test_silence_is_borne_for_seconds_under_stress(words):
    """From four fifths on who says nothing is told 421 soon; below it, he has his five minutes."""
    with serve(stressed_command_seconds=0.3) as serving, ExitStack() as stack:
        calm = crowd(stack, serving, 15, words)
        until(lambda: serving.call(_all_idle(serving)))
        assert len(serving.server._server.sessions) == 15
        (last,) = crowd(stack, serving, 1)
        for sock in (*calm, last):
            assert b"421 4.4.2 " in hear(sock)


def test_a_handshake_is_borne_for_seconds_under_stress(papers):
    """A TLS handshake that began before the stress ends with it, too."""
    with serve(papers, tls="implicit", stressed_command_seconds=0.3) as serving, ExitStack() as stack:
        for number in range(16):
            stack.enter_context(serving.connect(source=f"127.1.{1 + number}.9"))
        until(lambda: len(serving.server._server.sessions) == 16)
        until(lambda: not serving.server._server.sessions)


@pytest.mark.slow
def test_two_thousand_silent_sessions_shut_nobody_out():
    """From eleven networks 2,000 sessions say nothing: a stranger is greeted within seconds, a known peer at
    once.
    """
    raise_file_limit()
    with serve(connections=2_000) as serving, ExitStack() as stack:
        friend = stack.enter_context(serving.connect(source="127.77.1.1"))
        friend.sendall(MAIL)
        assert b"250 2.0.0 Ok: queued" in hear(friend)
        for number in range(2_000):
            stack.enter_context(serving.connect(source=f"127.20.{number % 11}.{1 + number // 11}"))
        assert served(stack, serving, "127.77.1.1")
        began = time.monotonic()
        until(lambda: served(stack, serving, "127.99.1.1"))
        assert time.monotonic() - began < 5.0
        assert served(stack, serving, "127.77.1.1")
        assert serving.server.problem() != ""


def test_receivers_share_places_and_who_delivered(tmp_path):
    """Another receiver's sessions take places, too, and whose mail it accepted is known here, after a restart
    as well.
    """
    path, limits = tmp_path / "tally", Limits(connections=10)
    first, second = (Limiter(SharedCounters(path, index=index, processes=2)) for index in range(2))
    for number in range(8):
        first.enter(f"198.51.{number}.7", limits, trusted=False)
    places = Places(second)
    places.tick((), limits, now=1.0)
    assert (places.stressed, places.full) == (True, False)
    assert places.command_seconds(limits) == 10.0
    first.enter("198.51.100.7", limits, trusted=False)
    places.tick((), limits, now=2.0)
    assert places.full
    first.delivered("2001:db8:7::1", now=100.0)
    again = Limiter(SharedCounters(path, index=0, processes=2))
    for limiter in (second, again):
        assert limiter.has_delivered("2001:db8:7:ffff::2", now=101.0)
        assert not limiter.has_delivered("2001:db8:8::1", now=101.0)
        assert not limiter.has_delivered("2001:db8:7::1", now=100.0 + 86_401)
        assert not limiter.has_delivered("2001:db8:7::1", now=5.0)  # noted before the machine was started


class Seat:
    """A session that is silent since an instant, and that nothing may be asked once it has ended."""

    known = False

    def __init__(self, since: float) -> None:
        self.since = since
        self.ended = False

    def idle_since(self) -> float:
        assert not self.ended
        return self.since

    def hurry(self) -> None:
        """Do nothing."""

    def make_way(self) -> None:
        assert not self.ended
        self.ended = True


def test_a_session_that_has_ended_is_not_asked_to_make_way(tmp_path):
    """A session that ends between the look and the newcomer is passed over, and the next idlest makes way."""
    places = Places(Limiter(SharedCounters(tmp_path / "counters")))
    first, second, third = Seat(1.0), Seat(2.0), Seat(3.0)
    sessions = {first, second, third}
    assert places.make_room(sessions, known=False, now=100.0)
    sessions.discard(first)
    second.ended = True  # by itself: the peer has gone
    sessions.discard(second)
    assert places.make_room(sessions, known=False, now=100.0)
    assert third.ended
    sessions.discard(third)
    assert not places.make_room(sessions, known=False, now=100.0)
