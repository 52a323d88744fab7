"""What /readyz says: 200 while mail can come in, else 503 and why, and 200 again by itself."""

from __future__ import annotations

import smtplib
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from harness import ROOT, Daemon, build_mail, send, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of


@pytest.fixture(scope="module")
def box():
    with running_sandbox(
        settings=settings_of(builtin_config(), requests_per_second=1_000.0, burst=1_000)
    ) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _clean(box):
    yield
    box.chaos({})
    box.clear()


def ask(daemon: Daemon, page: str) -> tuple[int, str]:
    """Status and text of a page of the admin."""
    bind = daemon.wait_for("admin.opened")["bind"]
    try:
        with urllib.request.urlopen(f"http://{bind}/{page}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def relay(daemon: Daemon, *words: str) -> None:
    line = [sys.executable, "-m", "relay", *words, "--config", str(daemon.config_path)]
    subprocess.run(line, env=daemon.env, cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_failed_write(box, tmp_path):
    """A receiver whose write failed sends peers away, and the load balancer is told to; both end with the trouble."""
    with Daemon(tmp_path, env=box.environ()).start(RELAY_FAULT_POINT="spool.put.ready:eio:1") as daemon:
        assert ask(daemon, "readyz") == (200, "ok\n")
        with pytest.raises(smtplib.SMTPDataError):
            send(daemon.port, build_mail("refused"))
        until(lambda: ask(daemon, "readyz") == (503, "receiver-0: a write to the spool failed\n"), seconds=4)
        assert 'relay_intake_closed{process="receiver-0"} 1.0' in ask(daemon, "metrics")[1]
        daemon.wait_for("intake.closed", why="a write to the spool failed")
        until(lambda: ask(daemon, "readyz")[0] == 200, seconds=10)
        send(daemon.port, build_mail("taken"))
        assert 'relay_intake_closed{process="receiver-0"} 0.0' in ask(daemon, "metrics")[1]
        assert daemon.stop() == 0


def test_pause(box, tmp_path):
    """An operator's pause of the intake is said for each receiver, and its end."""
    with Daemon(tmp_path, env=box.environ(), receivers=2).start() as daemon:
        relay(daemon, "pause", "intake")
        both = "receiver-0: the intake is paused\nreceiver-1: the intake is paused\n"
        until(lambda: ask(daemon, "readyz") == (503, both))
        relay(daemon, "resume", "intake")
        until(lambda: ask(daemon, "readyz") == (200, "ok\n"))
        assert daemon.stop() == 0


def test_no_room(box, tmp_path):
    """A quota that is reached keeps mail out until deliveries have made room."""
    box.chaos(connect={"error": 1.0})
    env = box.environ() | {"RELAY_SPOOL__MAX_ENTRIES": "1"}
    with Daemon(tmp_path, env=env).start() as daemon:
        send(daemon.port, build_mail("first"))
        until(lambda: ask(daemon, "readyz") == (503, "receiver-0: the spool has no room\n"))
        box.chaos({})
        until(lambda: ask(daemon, "readyz")[0] == 200)
        assert daemon.stop() == 0


def test_reason_ends_with_its_process(box, tmp_path):
    """A receiver that was paused and then killed is not up; the next one says again what it finds."""
    with Daemon(tmp_path, env=box.environ()).start() as daemon:
        relay(daemon, "pause", "intake")
        until(lambda: ask(daemon, "readyz")[0] == 503)
        pid = daemon.wait_for("child.started", child="receiver-0")["pid"]
        relay(daemon, "resume", "intake")
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        daemon.wait_for("child.ended", child="receiver-0")
        until(lambda: ask(daemon, "readyz") == (200, "ok\n"))
        assert daemon.stop() == 0
