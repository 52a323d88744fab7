"""The front of the daemon as an operator runs it: two receiver processes, every kind of listener, signals,
renewals.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl

import pytest
from harness import Daemon, free_port, until

pytestmark = pytest.mark.process

CONFIG = """
hostname = "mx.test.example"
data_dir = "{home}/spool"
[tls]
certificate = "{home}/server.pem"
key = "{home}/server.key"
[[listeners]]
bind = "127.0.0.1:{port}"
[[listeners]]
bind = "127.0.0.1:{proxy}"
proxy_protocol = ["127.0.0.0/8"]
[[listeners]]
bind = "127.0.0.1:{front}"
role = "trusted"
allow = ["0.0.0.0/0"]
xclient = ["127.0.0.0/8"]
[[listeners]]
bind = "[::1]:{port}"
[server]
receivers = 2
drain_seconds = 10
[spool]
min_free_bytes = 0
[s3]
bucket = "relay-sandbox"
[connect]
instance_id = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
[admin]
bind = "127.0.0.1:0"
[log]
format = "json"
level = "debug"
[[routes]]
match = ["support@example.com"]
"""
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<support@example.com>\r\nDATA\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class Front(Daemon):
    """The receiving half, with a certificate that may be renewed."""

    def __init__(self, home, papers):
        shutil.copy(papers.certificate, home / "server.pem")
        shutil.copy(papers.key, home / "server.key")
        ports = {"port": free_port(), "proxy": free_port(), "front": free_port()}
        super().__init__(home, env=dict(os.environ), config=CONFIG.format(home=home, **ports))
        self.port, self.proxy, self.front = ports["port"], ports["proxy"], ports["front"]
        self.args = ["--role", "receive"]
        self.home = home

    def pids(self):
        """Of each receiver, the newest."""
        started = [event for event in self.events if event["event"] == "child.started"]
        return {event["child"]: event["pid"] for event in started}


@pytest.fixture
def front(tmp_path, papers):
    with Front(tmp_path, papers).start() as running:
        yield running


@pytest.fixture(scope="module")
def module_front(tmp_path_factory, papers):
    """One for all tests after which it works as before; they ask for `shared`."""
    with Front(tmp_path_factory.mktemp("front"), papers).start() as running:
        yield running


@pytest.fixture
def shared(module_front):
    until(lambda: module_front.ask("readyz")[0] == 200)
    module_front.forget()
    return module_front


class Client:
    """A peer that reads line by line."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout=20)
        self.buffer = b""

    def line(self):
        while b"\r\n" not in self.buffer:
            more = self.sock.recv(65_536)
            if not more:
                return b""
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def until(self, begins):
        while not (line := self.line()).startswith(begins):
            assert line, f"closed before {begins!r}"
        return line

    def send(self, octets):
        self.sock.sendall(octets)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def names(front, papers, host="127.0.0.1"):
    """The names in the certificate that a new session is shown, the chain verified."""
    with Client(front.port, host) as client:
        client.send(b"EHLO c\r\nSTARTTLS\r\n")
        client.until(b"220 2.0.0")
        context = ssl.create_default_context(cafile=str(papers.ca))
        context.check_hostname = False
        with context.wrap_socket(client.sock) as secure:
            return {value for kind, value in secure.getpeercert()["subjectAltName"] if kind == "DNS"}


def shown(front, papers):
    """What several new sessions in a row are shown: both receivers get some of them."""
    found = set()
    for _ in range(12):
        found |= names(front, papers)
    return found


def test_certificate_is_renewed_without_a_signal(front, papers):
    """A half-written certificate changes nothing but the log, the whole one is shown by both receivers,
    sessions live.
    """
    whole = (front.home / "server.pem").read_bytes()
    with Client(front.port) as open_session:
        (front.home / "server.pem").write_bytes(whole[: len(whole) // 2])
        for child in front.pids():
            front.wait_for("certificate.refused", process=child)
        assert shown(front, papers) == {"mx.test.example"}
        front.process.send_signal(signal.SIGHUP)  # nor does a reload fall for it
        assert "one of them is damaged" in front.wait_for("config.refused")["why"][0]
        assert shown(front, papers) == {"mx.test.example"}
        certificate, key = papers.issue("renewed.test.example", "renewed")
        shutil.copy(key, front.home / "server.key")
        shutil.copy(certificate, front.home / "server.pem")
        until(lambda: shown(front, papers) == {"renewed.test.example"})
        assert names(front, papers, "::1") == {"renewed.test.example"}
        open_session.send(b"NOOP\r\n")
        open_session.until(b"250 2.0.0")
    assert front.stop() == 0


def test_health_check_of_a_balancer_is_quiet(shared):
    """PROXY LOCAL is greeted and says nothing in the log; PROXY names the client in the trace and in the
    log.
    """
    with Client(shared.proxy) as check:
        check.send(LOCAL)
        check.until(b"220 ")
        check.send(b"QUIT\r\n")
        check.until(b"221 ")
    with Client(shared.proxy):
        pass  # a look whether the port is open
    with Client(shared.proxy) as client:
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n" + BEGIN)
        client.until(b"354 ")
        client.send(b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n")
        client.until(b"221 ")
    assert shared.wait_for("transaction.accepted")["peer"] == "192.0.2.7"
    told = [event for event in shared.events if event["level"] != "debug"]
    assert not [event for event in told if event["event"].startswith(("session.", "proxy."))]


def test_front_end_speaks_for_another(shared):
    """XCLIENT from a listed host: the log and the limits know the client, not the front-end."""
    with Client(shared.front) as client:
        client.until(b"220 ")
        client.send(b"EHLO c\r\nXCLIENT ADDR=192.0.2.9 PORT=99\r\n")
        client.until(b"220 ")
        client.send(BEGIN)
        client.until(b"354 ")
        client.send(b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n")
        client.until(b"221 ")
    assert shared.wait_for("transaction.accepted")["peer"] == "192.0.2.9"


def test_a_receiver_that_crashes_takes_no_other_session_along(shared):
    """SIGKILL for one receiver in the middle of mails: the other's are accepted, and the next peers are
    served.
    """
    with contextlib.ExitStack() as stack:
        before = shared.pids()
        clients = []

        def served():
            clients.append(stack.enter_context(Client(shared.port)))
            clients[-1].send(BEGIN)
            clients[-1].until(b"354 ")
            return {event["process"] for event in shared.events if event["event"] == "session.opened"}

        until(lambda: served() == set(before), so="a session at each receiver")
        os.kill(before["receiver-0"], signal.SIGKILL)
        shared.wait_for("child.ended", child="receiver-0")
        alive = []
        for number, client in enumerate(clients):
            with contextlib.suppress(OSError, AssertionError):
                client.send(b"Subject: %d\r\n\r\nhello\r\n.\r\n" % number)
                alive.append(client.until(b"250 2.0.0 Ok: queued as "))
        assert 0 < len(alive) < len(clients)
    until(lambda: shared.pids()["receiver-0"] != before["receiver-0"])
    assert shared.pids()["receiver-1"] == before["receiver-1"]
    for _ in range(12):
        with Client(shared.port) as client:
            client.until(b"220 ")
    assert len([event for event in shared.events if event["event"] == "transaction.accepted"]) == len(alive)


def test_sigterm_waits_for_the_mail_in_progress(front):
    """The idle hear 421, the listeners close, a mail under way is finished and accepted, and the exit code is
    0.
    """
    with Client(front.port) as idle, Client(front.port) as busy:
        idle.until(b"220 ")
        busy.send(BEGIN)
        busy.until(b"354 ")
        front.process.terminate()
        assert idle.until(b"421").startswith(b"421 4.3.2 ")
        assert idle.line() == b""

        def closed():
            try:
                Client(front.port).sock.close()
            except ConnectionRefusedError:
                return True
            return False

        until(closed)
        busy.send(b"Subject: x\r\n\r\nthe last\r\n.\r\n")
        busy.until(b"250 2.0.0 Ok: queued as ")
        assert busy.line().startswith(b"421 4.3.2 ")
        assert busy.line() == b""
    assert front.process.wait(20) == 0
    assert front.wait_for("transaction.accepted")


def test_defaults_spare_this_machine(shared):
    """More sessions than one address may have by default: this machine's own may, as limits that nobody
    wrote down.
    """
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(shared.port)) for _ in range(60)]
        assert {client.line()[:4] for client in clients} == {b"220 "}
