"""Tests of `relay.smtp.listeners`, `station`, `protocol` and `wire` beyond what dialogs can say."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import json
import resource
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from fake_spool import FakeSpool
from harness import until
from serving import Serving, build_config

from relay import telemetry
from relay.smtp.sockets import BACKLOG, open_socket

BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
#: Where the classes come from of which a configuration is made.
MODULES = {name for name in sys.modules if name.partition(".")[0] in ("relay", "ssl", "_ssl")}


def greeted(serving: Serving, index: int = 0) -> socket.socket:
    sock = serving.connect(index)
    assert sock.recv(1_000).startswith(b"220 ")
    return sock


def replies_to(sock: socket.socket, octets: bytes, last: bytes) -> bytes:
    """Everything said until a line that begins like `last`, or the end."""
    sock.sendall(octets)
    got = b""
    while not any(line.startswith(last) for line in got.split(b"\r\n")[:-1]):
        more = sock.recv(65_536)
        if not more:
            break
        got += more
    return got


def resident() -> int:
    """Our resident memory in octets."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_sockets_are_bound_and_listening():
    """A listener's socket has its address, a free port when none was named, and does not block."""
    sock = open_socket("127.0.0.1:0")
    with sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        with pytest.raises(OSError, match="in use") as caught:
            open_socket(f"127.0.0.1:{sock.getsockname()[1]}")
        assert caught.value.errno == errno.EADDRINUSE
    assert BACKLOG == 1_024


def test_both_families_at_one_port():
    """An IPv6 listener leaves IPv4 alone: both can stand at one port."""
    first = open_socket("[::]:0")
    port = first.getsockname()[1]
    second = open_socket(f"0.0.0.0:{port}")
    first.close()
    second.close()


def test_reload_is_for_new_sessions():
    """New sessions have the new configuration, open ones keep theirs."""
    with Serving(build_config()) as serving, greeted(serving) as old:
        changed = build_config(hostname="new.test.example", max_message_bytes=70_000)

        async def reload() -> None:
            serving.server.reload(changed)

        serving.call(reload())
        assert b"SIZE 41943040" in replies_to(old, b"EHLO c\r\n", b"250 ")
        with serving.connect() as new:
            assert new.recv(1_000).startswith(b"220 new.test.example ")
            assert b"SIZE 70000" in replies_to(new, b"EHLO c\r\n", b"250 ")


def instances() -> Counter[str]:
    """The living objects of our classes and of ssl's, by class."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(f"{kind.__module__}.{kind.__name__}" for kind in kinds if kind.__module__ in MODULES)


@pytest.mark.slow
def test_reloads_leave_nothing_of_earlier_configurations(papers):
    """After reloads with sessions between them, only what the last configuration is made of is there."""
    asks = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nRCPT TO:<no@b.example>\r\nQUIT\r\n"
    counts = []
    others = instances()  # of servers that other tests share
    with Serving(build_config(papers)) as serving:
        for _ in range(4):

            async def reload() -> None:
                serving.server.reload(build_config(papers))

            serving.call(reload())
            with greeted(serving) as sock:
                assert b"250 2.1.5" in replies_to(sock, asks, b"221 ")
            until(lambda: not serving.server._server.sessions)
            counts.append(instances())
    assert (counts[-1] - others)["relay.smtp.settings.ListenerSettings"] <= 1
    assert not counts[-1] - counts[0]


def test_drain_twice_is_one_drain():
    """Stopping again waits for the same end, and nobody can connect any more."""
    with Serving(build_config()) as serving:
        serving.call(serving.server.drain(1))
        serving.call(serving.server.drain(1))
        with pytest.raises(ConnectionRefusedError):
            serving.connect()


def test_a_connection_that_comes_up_after_the_end_gets_421():
    """A connection that the kernel accepted before the listeners closed is told to come again, though the
    counters of sessions are gone.
    """
    with Serving(build_config()) as serving, socket.create_server(("127.0.0.1", 0)) as listening:
        serving.call(serving.server.drain(1))
        with socket.create_connection(listening.getsockname(), timeout=10) as peer:
            accepted, _ = listening.accept()

            async def come_up() -> None:
                make = serving.server._factory(0)
                await asyncio.get_running_loop().connect_accepted_socket(make, accepted)

            serving.call(come_up())
            assert peer.recv(1_000).startswith(b"421 ")


@pytest.mark.slow
def test_a_peer_that_does_not_read_stops_being_read():
    """Commands without end from a peer that reads no replies take no memory: it is left to wait."""
    config = build_config(limits={"idle_commands": 10**9, "errors": 10**9})
    with Serving(config) as serving, greeted(serving) as sock:
        before = resident()
        sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            sock.sendall(b"HELP\r\n" * 20_000_000)
        assert resident() - before < 20_000_000
        with greeted(serving) as other:
            assert replies_to(other, b"NOOP\r\n", b"250").startswith(b"250 ")


def test_a_peer_that_waits_in_vain_is_cut_off():
    """A peer that neither reads nor closes is gone a moment after its last words."""
    config = build_config(limits={"command_seconds": 0.3})
    with Serving(config) as serving, greeted(serving) as sock:
        assert sock.recv(1_000).startswith(b"421 4.4.2 ")
        server = serving.server._server
        until(lambda: not server.sessions)


def test_a_slow_and_honest_sender_lives():
    """A sender over the least rate is given the time it needs, beyond the first allowance."""
    config = build_config(limits={"data_seconds": 0.6, "min_bytes_per_second": 1_000})
    with Serving(config) as serving, greeted(serving) as sock:
        assert b"354" in replies_to(sock, BEGIN, b"354")
        waiter = threading.Event()
        for _ in range(10):
            sock.sendall(b"x" * 998 + b"\r\n")
            waiter.wait(0.15)  # the sender's own slowness is the subject
        assert replies_to(sock, b".\r\n", b"2").startswith(b"250 2.0.0")


def test_lingering_lets_the_last_words_arrive():
    """A peer that goes on sending after it was hung up on still reads why."""
    config = build_config(max_message_bytes=65_536)
    with Serving(config) as serving, greeted(serving) as sock:
        assert b"354" in replies_to(sock, BEGIN, b"354")
        sock.sendall(b"0123456789abcd\r\n" * 20_000)
        got = b""
        while more := sock.recv(65_536):
            got += more
        assert got.startswith(b"552 5.3.4 ")


def test_a_peer_that_leaves_while_the_disk_is_slow():
    """A mail whose end has come is committed, though its blocks were not written and the peer is gone."""
    config = build_config(spool={"large_message_bytes": 1_024})
    with Serving(config) as serving:
        serving.spool.disk.clear()
        with greeted(serving) as sock:
            replies_to(sock, BEGIN, b"354")
            sock.sendall(b"0123456789abcd\r\n" * 200)
            until(lambda: serving.spool.files)
            sock.sendall(b".\r\n")
            server = serving.server._server
            until(lambda: any(session.committing for session in server.sessions))
        serving.spool.disk.set()
        until(lambda: len(serving.spool.mails) == 1)
        assert serving.spool.body() == b"0123456789abcd\r\n" * 200


def test_a_slow_disk_is_a_451_and_leaves_nothing():
    """A mail whose blocks are not written in time is put off, and its file removed."""
    config = build_config(spool={"large_message_bytes": 1_024}, limits={"commit_seconds": 0.3})
    with Serving(config) as serving, greeted(serving) as sock:
        serving.spool.disk.clear()
        replies_to(sock, BEGIN, b"354")
        sock.sendall(b"0123456789abcd\r\n" * 200)
        until(lambda: serving.spool.files)
        assert replies_to(sock, b".\r\n", b"4").startswith(b"451 4.4.5 ")
        serving.spool.disk.set()
        until(lambda: serving.spool.files[0].discarded)
        assert serving.spool.mails == []


def test_a_slow_disk_is_not_the_peers_fault():
    """While we do not read because of the disk, the peer's time does not run."""
    config = build_config(
        spool={"large_message_bytes": 1_024}, limits={"data_seconds": 0.3, "command_seconds": 0.3}
    )
    with Serving(config) as serving, greeted(serving) as sock:
        serving.spool.disk.clear()
        replies_to(sock, BEGIN, b"354")
        sender = threading.Thread(target=sock.sendall, args=(b"0123456789abcd\r\n" * 1_000_000,))
        sender.start()
        sender.join(1.0)
        assert sender.is_alive()  # three times as long as any peer may be silent
        serving.spool.disk.set()
        sender.join(20)
        assert replies_to(sock, b".\r\n", b"2").startswith(b"250 2.0.0 ")


class Discarding(FakeSpool):
    """A spool that keeps no octets."""

    def open_file(self, spool_id):
        file = super().open_file(spool_id)
        file.write = lambda octets: None
        return file


@pytest.mark.slow
def test_memory_does_not_grow_with_the_mail():
    """Eight sessions sending 16 MB each at once take a few megabytes, not 128."""
    with Serving(build_config(), spool=Discarding()) as serving:
        before = resident()
        peak = before
        block = b"0123456789abcd\r\n" * 65_536
        done = []

        def send() -> None:
            with greeted(serving) as sock:
                replies_to(sock, BEGIN, b"354")
                for _ in range(16):
                    sock.sendall(block)
                done.append(replies_to(sock, b".\r\n", b"2"))

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, resident())
            threads[0].join(0.01)
        assert [reply[:9] for reply in done] == [b"250 2.0.0"] * 8
        assert peak - before < 40_000_000


def test_no_task_is_left_behind():
    """After sessions of every end, nothing of them is left in the station."""
    with Serving(build_config()) as serving:
        for octets in (b"", b"QUIT\r\n", BEGIN, BEGIN + b"x\r\n.\r\n", b"GET / HTTP/1.0\r\n"):
            with greeted(serving) as sock:
                sock.sendall(octets)
        server = serving.server._server
        until(lambda: not server.sessions and not server.works)


def test_a_bug_in_a_session_is_a_421(monkeypatch):
    """An exception of ours in the middle of a session hangs up with 421, tells nothing, and the next is
    served.
    """
    from relay.smtp.session import Session

    with Serving(build_config()) as serving:
        command = Session.command

        def fail(self, line, *, now):
            if line == b"NOOP":
                raise RuntimeError("password=secret")
            return command(self, line, now=now)

        monkeypatch.setattr(Session, "command", fail)
        with greeted(serving) as sock:
            assert (
                replies_to(sock, b"NOOP\r\n", b"4")
                == b"421 4.3.0 Local trouble, closing, try again later\r\n"
            )
        with greeted(serving) as sock:
            assert replies_to(sock, b"HELP\r\n", b"2").startswith(b"214 ")


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO c\r\nMAIL FROM:<a@b.example> SIZE=99999999999\r\n",
        b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.com>\r\n",
        b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nBDAT 5\r\nhello",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"GET / HTTP/1.0\r\n",
        BEGIN + b"a\rb\r\n.\r\n",
    ],
)
def test_the_id_of_a_refusal_is_in_the_log(octets, monkeypatch):
    """Whoever asks why he was refused has an id, and the log at its usual level has that id with
    the reply.
    """
    log = io.StringIO()
    with Serving(build_config()) as serving:
        monkeypatch.setattr(sys, "stderr", log)
        telemetry.configure("json", "info")
        with greeted(serving) as sock:
            got = replies_to(sock, octets, b"5")
        refusal = next(line for line in got.decode().split("\r\n") if line.startswith("5"))
        text, _, reference = refusal.rstrip("]").rpartition(" [")
        lines = until(lambda: [line for line in log.getvalue().splitlines() if f'"{reference}"' in line])
    assert {json.loads(line)["reply"] for line in lines} == {text}


def test_a_refused_command_is_logged_as_it_was_written(monkeypatch):
    """The log has the command that was refused: MAIL and RCPT with the path, of others no argument, which may
    be a secret.
    """
    log = io.StringIO()
    with Serving(build_config()) as serving:
        monkeypatch.setattr(sys, "stderr", log)
        telemetry.configure("json", "info")
        with greeted(serving) as sock:
            replies_to(
                sock, b"EHLO c\r\nMAIL FROM:<a b@c.example>\r\nAUTH PLAIN c2VjcmV0\r\nQUIT\r\n", b"221"
            )
        lines = until(
            lambda: (
                len(found := [line for line in log.getvalue().splitlines() if "command.ref" in line]) > 1
                and found
            )
        )
    assert [json.loads(line)["said"] for line in lines] == ["MAIL FROM:<a b@c.example>", "AUTH"]


def test_refused_transaction_is_logged_with_its_protocol(monkeypatch):
    """RFC 6531 §4.3: where all recipients were refused, the line says SMTPUTF8 as it does of a mail that was
    taken.
    """
    log = io.StringIO()
    with Serving(build_config()) as serving:
        monkeypatch.setattr(sys, "stderr", log)
        telemetry.configure("json", "info")
        with greeted(serving) as sock:
            octets = b"EHLO c\r\nMAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<nobody@example.com>\r\nRSET\r\nQUIT\r\n"
            replies_to(sock, octets, b"221")
        line = until(lambda: [line for line in log.getvalue().splitlines() if "transaction." in line])[0]
    assert json.loads(line)["protocol"] == "UTF8SMTP"


def test_an_ipv4_peer_at_a_dual_stack_socket_is_one():
    """A socket that systemd opened for both families shows IPv4 peers mapped: allow, envelope and trace know
    them plainly.
    """
    config = build_config(listeners=[{"bind": "[::]:0", "tls": "none", "allow": ["127.0.0.0/8"]}])
    serving = Serving(config)
    serving.sockets[0][0].close()
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    both.setblocking(False)
    serving.sockets, serving.ports = {0: [both]}, [both.getsockname()[1]]
    with serving, socket.create_connection(("127.0.0.1", serving.ports[0]), timeout=10) as sock:
        assert sock.recv(1_000).startswith(b"220 ")
        assert b"250 2.0.0" in replies_to(sock, BEGIN + b"x\r\n.\r\n", b"250 2.0.0")
        (mail,) = serving.spool.mails
        assert mail.envelope.peer.address == "127.0.0.1"
        assert b"from c.example ([127.0.0.1])" in mail.raw


def test_an_upstream_with_a_dead_recipient_in_each_mail_loses_none():
    """A mail server that passes on 60 mails within a minute, each to one good and one dead address, in the
    way of Postfix.
    """
    config = build_config(listeners=[{"bind": "127.0.0.1:0", "tls": "none"}])
    with Serving(config) as serving:
        for _ in range(3):
            with serving.connect(source="127.0.0.2") as sock, sock.makefile("rb") as lines:
                lines.readline()
                sock.sendall(b"EHLO upstream.example\r\n")
                while lines.readline()[3:4] == b"-":
                    pass
                for _ in range(20):
                    sock.sendall(
                        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<gone@example.com>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
                    )
                    assert [lines.readline()[:3] for _ in range(4)] == [b"250", b"550", b"250", b"354"]
                    sock.sendall(b"x\r\n.\r\n")
                    assert lines.readline().startswith(b"250 2.0.0 ")
        assert len(serving.spool.mails) == 60
