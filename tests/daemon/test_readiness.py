"""What /readyz says: 200 while mail can come in, else 503 and why, and 200 again by itself."""

from __future__ import annotations

import os
import signal
import smtplib

import pytest
from harness import Daemon, build_mail, send, until

pytestmark = pytest.mark.process


def test_failed_write(box, tmp_path):
    """A receiver whose write failed sends peers away, and the load balancer is told to; both end with the
    trouble.
    """
    with Daemon(tmp_path, env=box.environ()).start(RELAY_FAULT_POINT="spool.put.ready:eio:1") as daemon:
        assert daemon.ask("readyz") == (200, "ok\n")
        with pytest.raises(smtplib.SMTPDataError):
            send(daemon.port, build_mail("refused"))
        until(lambda: daemon.ask("readyz") == (503, "receiver-0: a write to the spool failed\n"), seconds=4)
        assert 'relay_intake_closed{process="receiver-0"} 1.0' in daemon.ask("metrics")[1]
        daemon.wait_for("intake.closed", why="a write to the spool failed")
        until(lambda: daemon.ask("readyz")[0] == 200, seconds=10)
        send(daemon.port, build_mail("taken"))
        assert 'relay_intake_closed{process="receiver-0"} 0.0' in daemon.ask("metrics")[1]
        assert daemon.stop() == 0


def test_pause(box, tmp_path):
    """An operator's pause of the intake is said for each receiver, and its end."""
    with Daemon(tmp_path, env=box.environ(), receivers=2).start() as daemon:
        assert daemon.run("pause", "intake").returncode == 0
        both = "receiver-0: the intake is paused\nreceiver-1: the intake is paused\n"
        until(lambda: daemon.ask("readyz") == (503, both))
        assert daemon.run("resume", "intake").returncode == 0
        until(lambda: daemon.ask("readyz") == (200, "ok\n"))
        assert daemon.stop() == 0


def test_no_room(box, tmp_path):
    """A quota that is reached keeps mail out until deliveries have made room."""
    box.chaos(connect={"error": 1.0})
    env = box.environ() | {"RELAY_SPOOL__MAX_ENTRIES": "1"}
    with Daemon(tmp_path, env=env).start() as daemon:
        send(daemon.port, build_mail("first"))
        until(lambda: daemon.ask("readyz") == (503, "receiver-0: the spool has no room\n"))
        box.chaos({})
        until(lambda: daemon.ask("readyz")[0] == 200)
        assert daemon.stop() == 0


def test_reason_ends_with_its_process(box, tmp_path):
    """A receiver that was paused and then killed is not up; the next one says again what it finds."""
    with Daemon(tmp_path, env=box.environ()).start() as daemon:
        assert daemon.run("pause", "intake").returncode == 0
        until(lambda: daemon.ask("readyz")[0] == 503)
        pid = daemon.wait_for("child.started", child="receiver-0")["pid"]
        assert daemon.run("resume", "intake").returncode == 0
        os.kill(pid, signal.SIGKILL)
        daemon.wait_for("child.ended", child="receiver-0")
        until(lambda: daemon.ask("readyz") == (200, "ok\n"))
        assert daemon.stop() == 0
