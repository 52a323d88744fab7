"""Tests of `relay.tail` and `relay.smtp.tap`: a real receiver on loopback, and readers of its sessions."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import stat
from contextlib import ExitStack, suppress

import pytest
from harness import until
from serving import Serving, build_config

from relay.tail import client as client_module
from relay.tail import server as server_module
from relay.tail.client import open_tail
from relay.tail.event import Direction
from relay.tail.wanted import Wanted, build_wanted, encode

BODY = b"Subject: hello\r\n\r\nsecret content\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\nDATA\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    return request.param


@pytest.fixture
def serving(tmp_path, loop, papers):
    with Serving(build_config(papers), loop=loop, tail=tmp_path / "tail") as server:
        yield server


def speak(serving, *steps, source=None, secure=False):
    """A session: each step is sent, and answered. Returns what was said to it."""
    said = []
    with ExitStack() as stack:
        sock = stack.enter_context(serving.connect(source=source))
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = stack.enter_context(context.wrap_socket(sock))
        said.append(sock.recv(4_096))
        for step in steps:
            sock.sendall(step)
            said.append(sock.recv(4_096))
    return said


def send_mail(serving, recipient=b"support@example.com", **options):
    return speak(serving, b"EHLO c.example\r\n", MAIL % recipient, BODY + b".\r\n", b"QUIT\r\n", **options)


async def in_thread(function, *args, **options):
    return await asyncio.to_thread(function, *args, **options)


async def take(tail, until_closed=1, seconds=20.0):
    """The events up to the end of so many sessions."""
    got = []
    async with asyncio.timeout(seconds):
        async for event in tail:
            got.append(event)
            if sum(each.direction is Direction.CLOSED for each in got) == until_closed:
                break
    return got


def lines(events):
    return [(str(event.direction), event.line) for event in events]


async def test_a_session_is_told_from_its_beginning_to_its_end(serving, tmp_path):
    """Verbs, replies, the octets of the mail as a number, the end; each with peer, listener and time."""
    async with open_tail(tmp_path) as tail:
        assert tail.receivers == {"receiver-0"}
        said = await in_thread(send_mail, serving)
        events = await take(tail)
    assert [line for way, line in lines(events) if way == "in"] == [
        "EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<support@example.com>", "DATA", "QUIT",
    ]  # fmt: skip
    assert [line for way, line in lines(events) if way == "out"] == b"".join(said).decode().splitlines()
    assert lines(events)[0] == ("opened", "")
    assert ("content", f"[{len(BODY) + 3} octets]") in lines(events)
    assert lines(events)[-1] == ("closed", "2.0.0")
    assert b"secret" not in repr(events).encode()
    assert {event.peer for event in events} == {"127.0.0.1"}
    assert {event.listener for event in events} == {"127.0.0.1:0"}
    assert len({event.session for event in events}) == 1
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_without_readers_there_is_no_transcript(serving, tmp_path):
    """A session has no transcript before a reader comes and after the last has gone, one with two has one."""
    server = serving.server._server
    with serving.connect() as sock:
        await in_thread(sock.recv, 4_096)
        (admission,) = server.sessions
        connection = admission._guest.connection
        assert connection.transcript is None
        assert server.tap is None
        async with open_tail(tmp_path) as first:
            async with open_tail(tmp_path):
                kept = connection.transcript
                assert kept is not None
            await in_thread(sock.sendall, b"NOOP\r\n")
            await in_thread(sock.recv, 4_096)
            assert connection.transcript is kept
            got = [await anext(first) for _ in range(3)]
            assert lines(got) == [
                ("opened", "began before this transcript"), ("in", "NOOP"), ("out", "250 2.0.0 OK"),
            ]  # fmt: skip
            assert got[0].at < got[1].at
        await in_thread(until, lambda: server.tap is None)
        assert connection.transcript is None


async def test_secrets_are_left_out(tmp_path, papers):
    """Passwords are not in a transcript: in AUTH, in the answers to its challenges, in a line that comes when
    AUTH was not meant, in lines too long; nor is the argument of a command that has none.
    """
    word = base64.b64encode(b"\0ann\0hunter2").rstrip(b"=")
    users = tmp_path / "users"
    users.write_text("")
    config = build_config(
        papers,
        listeners=[{"bind": "127.0.0.1:0", "role": "trusted", "tls": "implicit", "auth": "optional"}],
        server={"users_file": str(users)},
    )
    with Serving(config, tail=tmp_path / "tail") as serving:
        async with open_tail(tmp_path) as tail:
            steps = [
                b"EHLO c.example\r\n", b"AUTH PLAIN " + word + b"\r\n", b"AUTH PLAIN\r\n", word + b"\r\n",
                b"AUTH LOGIN\r\n", b"*\r\n", word + b"\r\n", b"NOOP " + word + b"\r\n",
                b"AUTH PLAIN " + word * 1_000 + b"\r\n", b"PASS hunter2\r\n",
            ]  # fmt: skip
            await in_thread(speak, serving, *steps, secure=True)
            events = await take(tail)
    heard = [line for way, line in lines(events) if way == "in"]
    assert heard[0] == "EHLO c.example"
    assert heard[1:4] == [f"AUTH PLAIN [{len(word)} octets]", "AUTH PLAIN", f"[{len(word)} octets]"]
    assert "*" in heard
    assert f"NOOP [{len(word)} octets]" in heard
    assert len(heard) == len(steps)
    assert not [line for _, line in lines(events) if word.decode()[:6] in line or "hunter" in line]


async def test_tls_is_told(serving, tmp_path, papers):
    """The handshake is an event with protocol and cipher, and from then on each event has them."""

    def secure():
        with serving.connect() as sock:
            sock.recv(4_096)
            sock.sendall(b"EHLO c.example\r\n")
            sock.recv(4_096)
            sock.sendall(b"STARTTLS\r\n")
            sock.recv(4_096)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(sock) as secured:
                secured.sendall(b"QUIT\r\n")
                while secured.recv(4_096):
                    pass

    async with open_tail(tmp_path) as tail:
        await in_thread(secure)
        events = await take(tail)
    (at,) = [number for number, event in enumerate(events) if event.direction is Direction.TLS]
    assert events[at].line.startswith("TLSv1.3 ")
    assert {event.tls for event in events[:at]} == {""}
    assert {event.tls for event in events[at:]} == {events[at].line}


async def test_a_recipient_shows_its_session_from_the_beginning(serving, tmp_path):
    """A reader for a recipient is told of a session from its RCPT on, and then from its first line; of
    others, and of what they remember, nothing is left.
    """
    some = build_wanted(recipients=["SALES@example.com", "@nowhere.example"])
    async with open_tail(tmp_path, some) as tail, open_tail(tmp_path) as everything:
        await in_thread(send_mail, serving)
        await in_thread(send_mail, serving, b"sales@example.com")
        await in_thread(
            speak, serving, b"EHLO c.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<x@nowhere.example>\r\n"
        )
        events = await take(tail, until_closed=2)
        whole = await take(everything, until_closed=3)
    first, second, third = dict.fromkeys(event.session for event in whole)
    assert events == [event for event in whole if event.session != first]
    assert [line for way, line in lines(events) if way == "in"][2] == "RCPT TO:<sales@example.com>"
    assert [event.session for event in events if event.direction is Direction.OPENED] == [second, third]


async def test_a_recipient_of_before_is_found(serving, tmp_path):
    """A session that had its RCPT before anybody listened is shown to who asks for this recipient."""
    with serving.connect() as sock:
        for step in (b"EHLO c.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<sales@example.com>\r\n"):
            await in_thread(sock.recv, 4_096)
            await in_thread(sock.sendall, step)
        await in_thread(sock.recv, 4_096)
        async with open_tail(tmp_path, build_wanted(recipients=["sales@example.com"])) as tail:
            await in_thread(sock.sendall, b"QUIT\r\n")
            events = await take(tail)
    assert lines(events)[:2] == [("opened", "began before this transcript"), ("in", "QUIT")]


async def test_a_peer_is_chosen_by_its_network(serving, tmp_path):
    """A reader for a network is told of its peers alone."""
    async with open_tail(tmp_path, build_wanted(peers=["127.0.0.2/32"])) as tail:
        await in_thread(send_mail, serving)
        await in_thread(send_mail, serving, source="127.0.0.2")
        events = await take(tail)
    assert {event.peer for event in events} == {"127.0.0.2"}


async def test_a_slow_reader_misses_events_and_no_session_waits(serving, tmp_path, monkeypatch):
    """A reader that does not read is left behind: sessions go on, and what it missed is counted and told."""
    monkeypatch.setattr(server_module, "WAITING_BYTES", 4_096)
    sock = client_module.connect(tmp_path / "tail" / "receiver-0")
    sock.setblocking(True)
    sock.settimeout(20)
    sock.sendall(encode(Wanted()))
    assert sock.recv(1) == b"\n"
    (reader,) = serving.server._tail._readers
    noops = [b"NOOP\r\n" * 20] * 20
    while not reader._missed:
        await in_thread(speak, serving, *noops)
    assert (await in_thread(send_mail, serving))[-1] == b"221 2.0.0 Bye\r\n"
    octets = b""
    while b'"missed"' not in octets:
        octets += await in_thread(sock.recv, 65_536)
    sock.close()
    assert b"events left out: they came faster than they were read" in octets


async def test_a_reader_goes_on_after_a_restart(tmp_path, monkeypatch):
    """A receiver that begins anew is found, over the socket that a dead one left; so is one that begins after
    its reader.
    """
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.02)
    async with open_tail(tmp_path) as tail:
        assert tail.receivers == set()
        for _ in range(2):
            with Serving(build_config(), tail=tmp_path / "tail") as serving:
                await in_thread(until, lambda: tail.receivers == {"receiver-0"})
                await in_thread(send_mail, serving)
                assert lines(await take(tail))[-1] == ("closed", "2.0.0")
            (tmp_path / "tail" / "receiver-0").unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as dead, suppress(OSError):
                dead.bind(str(tmp_path / "tail" / "receiver-0"))
            await in_thread(until, lambda: not tail.receivers)


async def test_the_socket_is_its_owners(serving, tmp_path, monkeypatch):
    """Nobody else may enter the folder or the socket, and who gets there all the same is sent away."""
    path = tmp_path / "tail" / "receiver-0"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server_module.may_read(os.geteuid())
    assert server_module.may_read(0)
    assert not server_module.may_read(os.geteuid() + 1)
    monkeypatch.setattr(server_module, "read_user", lambda _: os.geteuid() + 1)
    async with open_tail(tmp_path) as tail:
        assert tail.receivers == set()
    assert serving.server._server.tap is None


async def test_readers_are_limited_and_told_so(serving, tmp_path, monkeypatch):
    """One reader too many is told why it is told no more."""
    monkeypatch.setattr(server_module, "READERS", 1)
    async with open_tail(tmp_path), open_tail(tmp_path) as second:
        event = await anext(second)
    assert lines([event]) == [("missed", "1 readers listen to this receiver already; end one of them")]


@pytest.mark.parametrize("line", [b"\n", b"{\n", b'{"peers":["x"]}\n', b"x" * 20_000])
async def test_who_asks_for_nothing_is_sent_away(serving, tmp_path, line):
    """A connection whose first line is no question, or has no end, is closed."""
    sock = client_module.connect(tmp_path / "tail" / "receiver-0")
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    writer.write(line)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_a_long_path_has_its_socket(tmp_path):
    """A folder whose name is longer than the address of a socket may be has transcripts, too."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with Serving(build_config(), tail=folder / "tail") as serving:
        async with open_tail(folder) as tail:
            await in_thread(send_mail, serving)
            assert await take(tail)


async def test_memory_for_recipients_is_bounded(serving, tmp_path, monkeypatch):
    """What a session says before its RCPT is remembered up to a limit; the rest is told as left out, and its
    room is free when the session has ended.
    """
    monkeypatch.setattr("relay.smtp.tap.SESSION_BYTES", 2_000)
    async with open_tail(tmp_path, build_wanted(recipients=["@example.com"])) as tail:
        await in_thread(
            speak,
            serving,
            b"EHLO c.example\r\n",
            *[b"NOOP\r\n"] * 20,
            b"MAIL FROM:<>\r\nRCPT TO:<support@example.com>\r\n",
            b"QUIT\r\n",
        )
        events = await take(tail)
        tap = serving.server._server.tap
        await in_thread(until, lambda: tap.remembered == 0)
    (missed,) = [event for event in events if event.direction is Direction.MISSED]
    assert missed.line.endswith("left out: they were too many to remember")
    assert missed.session == events[0].session
    assert len(events) < 30
