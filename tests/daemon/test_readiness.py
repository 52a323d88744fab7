"""What /readyz says: 200 while mail can come in, else 503 and why, and 200 again by itself."""

from __future__ import annotations

import os
import signal
import smtplib
from contextlib import closing
from datetime import UTC, datetime

import pytest
from harness import Daemon, build_mail, send, until

from relay.config.load import load_config
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process


@pytest.fixture
def half(tmp_path):
    """Receivers under their supervisor, not started yet: nothing needs to be delivered."""
    daemon = Daemon(tmp_path, env=dict(os.environ), receivers=2)
    daemon.args = ["--role", "receive"]
    with daemon:
        yield daemon


def test_failed_write(half):
    """A receiver whose write failed sends peers away, and the load balancer is told to; both end with the
    trouble.
    """
    half.start(RELAY_FAULT_POINT="spool.put.ready:eio:1", RELAY_SERVER__RECEIVERS="1")
    assert half.ask("readyz") == (200, "ok\n")
    with pytest.raises(smtplib.SMTPDataError):
        send(half.port, build_mail("refused"))
    until(lambda: half.ask("readyz") == (503, "receiver-0: a write to the spool failed\n"), seconds=4)
    assert 'relay_intake_closed{process="receiver-0"} 1.0' in half.ask("metrics")[1]
    half.wait_for("intake.closed", why="a write to the spool failed")
    until(lambda: half.ask("readyz")[0] == 200, seconds=10)
    send(half.port, build_mail("taken"))
    assert 'relay_intake_closed{process="receiver-0"} 0.0' in half.ask("metrics")[1]
    assert half.stop() == 0


def test_pause(half):
    """An operator's pause of the intake is said for each receiver, and its end; the reason ends with its
    process, too.
    """
    half.start()
    both = "receiver-0: the intake is paused\nreceiver-1: the intake is paused\n"
    with closing(open_desk(load_config(str(half.config_path)))) as desk:
        desk.pause("intake", now=datetime.now(UTC))
        until(lambda: half.ask("readyz") == (503, both))
        desk.resume("intake")
        until(lambda: half.ask("readyz") == (200, "ok\n"))
        desk.pause("intake", now=datetime.now(UTC))
        until(lambda: half.ask("readyz") == (503, both))
        desk.resume("intake")
    # A receiver that was paused and then killed is not up; the next one says again what it finds.
    os.kill(half.wait_for("child.started", child="receiver-0")["pid"], signal.SIGKILL)
    half.wait_for("child.ended", child="receiver-0")
    until(lambda: half.ask("readyz") == (200, "ok\n"))
    assert half.stop() == 0


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
