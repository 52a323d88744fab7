"""`relay tail` beside a daemon: every receiver, over its restart and over a reload."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import smtplib
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from harness import ROOT, Daemon, until

from relay.cli import main
from relay.cli.tail import Transcript
from relay.tail import client
from relay.tail.client import open_tail
from relay.tail.event import Direction, SessionEvent
from relay.tail.wanted import build_wanted

RECEIVERS = {"receiver-0", "receiver-1"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """The receiving half."""
    daemon = Daemon(tmp_path_factory.mktemp("tail"), env=dict(os.environ), receivers=2)
    daemon.args = ["--role", "receive"]
    with daemon.start() as running:
        yield running


def converse(daemon, recipient="support@example.com"):
    """A session with one recipient. Returns its replies."""
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        return [client.ehlo(), client.mail("a@b.example"), client.rcpt(recipient), client.rset()]


@pytest.mark.process
def test_sessions_of_all_receivers_are_shown(daemon):
    """The command prints a line for each event of each session, for a person or as JSON, and only of those
    that are wanted; stopped by a person, it ends well.
    """
    line = [sys.executable, "-m", "relay", "tail", "--config", str(daemon.config_path)]
    tails = [
        subprocess.Popen(
            [*line, *more],
            env=daemon.env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has them ignore it, and all that they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
        )
        for more in ((), ("--json", "--rcpt", "@elsewhere.example", "--peer", "127.0.0.0/8"))
    ]
    for tail in tails:
        assert tail.stderr.readline() == "relay: listens to receiver-0, receiver-1\n"
    for _ in range(8):
        converse(daemon)
    converse(daemon, "x@elsewhere.example")
    shown: list[list[str]] = [[], []]

    def read(number, ends):
        for each in tails[number].stdout:
            shown[number].append(each)
            if sum("closed" in one for one in shown[number]) == ends:
                return

    readers = [threading.Thread(target=read, args=(0, 9)), threading.Thread(target=read, args=(1, 1))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    for tail in tails:
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 0
        assert tail.stderr.read() == ""
        tail.stdout.close()
        tail.stderr.close()
    text = "".join(shown[0])
    assert text.count(" C: rcpt TO:<support@example.com>") == 8
    assert f" -- 127.0.0.1 at 127.0.0.1:{daemon.port}\n" in text
    assert " S: 250 2.1.5 OK (+0." in text
    records = [json.loads(each) for each in shown[1]]
    assert len({record["session"] for record in records}) == 1
    assert (records[0]["direction"], records[0]["peer"]) == ("opened", "127.0.0.1")
    assert [record["line"] for record in records if record["direction"] == "in"][:3] == [
        "ehlo client.test", "mail FROM:<a@b.example>", "rcpt TO:<x@elsewhere.example>",
    ]  # fmt: skip


@pytest.mark.process
async def test_a_reader_goes_on_over_restart_and_reload(daemon):
    """A receiver that was killed and started again tells its sessions to a reader that was there before; a
    reload of the configuration interrupts nothing.
    """
    wanted = build_wanted(recipients=["late@example.com"])
    async with open_tail(daemon.data_dir, wanted) as tail:
        assert tail.receivers == RECEIVERS
        old = daemon.wait_for("child.started", child="receiver-0")["pid"]
        daemon._events.clear()
        os.kill(old, signal.SIGKILL)
        new = (await asyncio.to_thread(daemon.wait_for, "child.started", child="receiver-0"))["pid"]
        await asyncio.to_thread(until, lambda: tail.receivers == RECEIVERS)
        daemon.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(daemon.wait_for, "config.reloaded")
        async with asyncio.timeout(30):
            while True:  # either receiver may take a session
                await asyncio.to_thread(converse, daemon, "late@example.com")
                event = await anext(tail)
                while event.direction is not Direction.OPENED:
                    event = await anext(tail)
                if event.session.startswith(f"{new}."):
                    break


@pytest.mark.process
def test_whom_it_is_for_is_said(daemon, monkeypatch):
    """A user who may not enter the folder is told whose the transcripts are."""

    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(client, "find_sockets", refuse)
    result = CliRunner().invoke(main, ["tail", "--config", str(daemon.config_path)])
    assert result.exit_code == 1
    assert result.stderr == f"relay: {daemon.data_dir}/tail: transcripts are for root and the daemon's user\n"


def test_lines_for_a_person():
    """A reply has the time since what came before it, the end that of the session; controls are escaped."""
    transcript = Transcript()

    def show(direction, line, seconds=0.0, session="1.2", **more):
        at = datetime(2026, 11, 29, 14, 0, 1, 23_456, tzinfo=UTC)
        return transcript.show(
            SessionEvent(session=session, at=at, direction=direction, line=line, seconds=seconds, **more)
        )

    assert show(Direction.OPENED, "", peer="192.0.2.7", listener="0.0.0.0:25") == (
        "14:00:01.023Z 1.2 -- 192.0.2.7 at 0.0.0.0:25"
    )
    assert show(Direction.IN, "EHLO \x1b[2J", 1.0) == "14:00:01.023Z 1.2 C: EHLO \\x1b[2J"
    assert show(Direction.OUT, "250 OK", 1.25) == "14:00:01.023Z 1.2 S: 250 OK (+0.250 s)"
    assert show(Direction.TLS, "TLSv1.3 X", 1.5) == "14:00:01.023Z 1.2 -- tls TLSv1.3 X"
    assert show(Direction.CONTENT, "[3 octets]", 2.0) == "14:00:01.023Z 1.2 C: [3 octets]"
    assert show(Direction.CLOSED, "2.0.0", 2.5) == "14:00:01.023Z 1.2 -- closed 2.0.0 after 2.500 s"
    assert show(Direction.MISSED, "7 events", session="") == "14:00:01.023Z !! 7 events"
    assert transcript._last == {}


@pytest.mark.parametrize(
    "words", [("--peer", "here"), ("--peer", "10.0.0.1/8"), ("--rcpt", "ann"), ("--rcpt", "")]
)
def test_what_names_nobody_is_refused(words):
    """A peer is a network or an address, a recipient an address or a domain."""
    result = CliRunner().invoke(main, ["tail", *words])
    assert result.exit_code == 2
    assert "neither" in result.stderr
