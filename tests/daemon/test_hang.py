"""A process that hangs: it is noticed, told of, ended and replaced, and its mail is one contact each."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import smtplib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Daemon, build_mail, free_port, send, subjects, until

from relay.config.load import load_config
from relay.daemon.stacks import process_state
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process

#: A machine that runs several suites at once leaves a process without a turn for a second.
HANG_SECONDS = 3.0


@pytest.fixture
def daemon(box, tmp_path):
    env = box.environ() | {"RELAY_SERVER__HANG_SECONDS": str(HANG_SECONDS)}
    with Daemon(tmp_path, env=env) as prepared:
        yield prepared


def pid_of(daemon: Daemon, child: str) -> int:
    return int([event for event in daemon.events if event.get("child") == child][-1]["pid"])


def started(daemon: Daemon) -> list[str]:
    return [event["child"] for event in daemon.events if event["event"] == "child.started"]


def test_stopped_process(box, daemon, ear, tmp_path):
    """SIGSTOP: /readyz says so, the log says why there are no stacks, webhook and topic hear of it, and mail
    goes on.
    """
    url, heard = ear
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        daemon.env["AWS_ENDPOINT_URL_SNS"] = url
        daemon.start(
            RELAY_ALARMS__WEBHOOK=f"{url}/hook",
            RELAY_ALARMS__SNS_TOPIC_ARN="arn:aws:sns:eu-central-1:123456789012:relay",
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="1000000",
            RELAY_SERVER__RECEIVERS="2",
        )
        told = []
        for child in ("deliverer", "receiver-0"):
            _stop_and_watch(daemon, child, manager)
            told += [("hung", child, True), ("hung", child, False)]
            until(lambda: _words(heard["hook"]) == _words(heard["topic"]) == told)  # noqa: B023 - called at once
        for number in range(4):
            send(daemon.port, build_mail(number))
        assert sorted(subjects(box.wait(4))) == [f"Mail {number}" for number in range(4)]
        assert 'relay_hangs_total{process="supervisor"} 2.0' in daemon.ask("metrics")[1]
        assert sorted(started(daemon)) == ["deliverer"] * 2 + ["receiver-0"] * 2 + ["receiver-1"]
        assert daemon.stop() == 0


def _stop_and_watch(daemon: Daemon, child: str, manager: socket.socket) -> None:
    """Stop a child; return when another has its place."""
    os.kill(pid_of(daemon, child), signal.SIGSTOP)
    said = until(lambda: (found := daemon.ask("readyz"))[0] == 503 and found[1])
    assert re.fullmatch(rf"{child} hangs: silent for \d+ s; it is ended and started again\n", said)
    assert daemon.wait_for("child.hung", child=child)["state"] == "stopped"
    stacks = daemon.wait_for("child.stacks", child=child)
    assert (stacks["why"], stacks["stacks"]) == ("a stopped process writes no stacks", [])
    with suppress(BlockingIOError):
        while manager.recv(1_000):
            pass
    daemon.wait_for("child.ended", child=child, code=-signal.SIGKILL)
    until(lambda: started(daemon).count(child) == 2)
    until(lambda: daemon.ask("readyz") == (200, "ok\n"))
    until(lambda: manager.recv(1_000) == b"WATCHDOG=1" if _readable(manager) else False)


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _words(documents: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(each["alarm"], each["subject"], each["raised"]) for each in documents]


@pytest.mark.parametrize(
    "point", [pytest.param("runner.claimed", marks=pytest.mark.long), "delivery.after_connect"]
)
def test_c_call_of_a_delivery_that_never_ends(box, daemon, point):
    """A C call that keeps the interpreter's lock is shown where it is, and its mail is one contact after the
    restart.
    """
    daemon.start(RELAY_FAULT_POINT=f"{point}:spin:3")
    for number in range(2):
        send(daemon.port, build_mail(number))
        box.wait(number + 1)
    send(daemon.port, build_mail(2))
    assert daemon.wait_for("child.hung", child="deliverer")["state"] == "running"
    stacks = "\n".join(daemon.wait_for("child.stacks", child="deliverer")["stacks"])
    assert "in _spin" in stacks
    assert "in fault_point" in stacks
    until(lambda: started(daemon).count("deliverer") == 2)
    with closing(open_desk(load_config(str(daemon.config_path)))) as desk:
        until(lambda: desk.counts()[State.DONE] == 3)
        last = max(desk.select(Filter(states=frozenset({State.DONE}))), key=lambda entry: entry.entry_id)
        assert "cut_short" in [event.event for event in desk.history(last)]  # it ran alone
    assert sorted(subjects(box.contacts())) == ["Mail 0", "Mail 1", "Mail 2"]
    assert daemon.stop() == 0


def test_c_call_of_a_receiver_that_never_ends(box, tmp_path):
    """A receiver that hangs between commit and 250 is ended; its peer's next try is the same mail, once."""
    env = box.environ() | {"RELAY_SERVER__HANG_SECONDS": str(HANG_SECONDS)}
    with Daemon(tmp_path, env=env).start(RELAY_FAULT_POINT="spool.put.committed:spin:2") as daemon:
        send(daemon.port, build_mail("first"))
        mail = build_mail("second")
        with pytest.raises((smtplib.SMTPException, OSError)):
            send(daemon.port, mail)
        stacks = "\n".join(daemon.wait_for("child.stacks", child="receiver-0")["stacks"])
        assert "in _spin" in stacks
        until(lambda: started(daemon).count("receiver-0") == 2)
        send(daemon.port, mail)
        assert sorted(subjects(box.wait(2))) == ["Mail first", "Mail second"]
        assert daemon.stop() == 0


@pytest.mark.long
def test_mails_that_hung_together_are_not_counted(box, daemon):
    """A hang with several deliveries under way blames none of them, and each becomes one contact."""
    box.chaos(connect={"latency_seconds": 60.0})
    daemon.start()
    for number in range(3):
        send(daemon.port, build_mail(number))
    with closing(open_desk(load_config(str(daemon.config_path)))) as desk:
        until(lambda: desk.counts()[State.LEASED] == 3)
        os.kill(pid_of(daemon, "deliverer"), signal.SIGSTOP)
        daemon.wait_for("child.hung", child="deliverer")
        box.chaos({})
        until(lambda: desk.counts()[State.DONE] == 3)
        entries = desk.select(Filter(states=frozenset({State.DONE})))
        for entry in entries:
            assert "cut_short" not in [event.event for event in desk.history(entry)]
    assert sorted(subjects(box.contacts())) == ["Mail 0", "Mail 1", "Mail 2"]
    assert daemon.stop() == 0


@pytest.mark.parametrize("whom", ["supervisor", pytest.param("group", marks=pytest.mark.long)])
def test_time_in_which_the_supervisor_stood_still(box, daemon, whom):
    """SIGSTOP of the supervisor, or of the whole daemon, for longer than hang_seconds: nobody is ended for
    it.
    """
    daemon.start()
    kill = os.kill if whom == "supervisor" else os.killpg
    kill(daemon.process.pid, signal.SIGSTOP)
    time.sleep(HANG_SECONDS + 1)  # the time itself is what is tried
    kill(daemon.process.pid, signal.SIGCONT)
    before = time.monotonic()
    until(lambda: time.monotonic() > before + 1.5 and daemon.ask("readyz")[0] == 200)
    send(daemon.port, build_mail("after"))
    assert subjects(box.wait(1)) == ["Mail after"]
    assert "child.hung" not in [event["event"] for event in daemon.events]
    assert len(started(daemon)) == 2
    assert daemon.stop() == 0


def _hear_all(manager: socket.socket) -> None:
    while True:
        manager.recv(1_000)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_watchdog_when_a_process_is_not_back(box, daemon, tmp_path):
    """Systemd hears that we live while a hung child is ended and started, for a minute; then no more until it
    is back.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        daemon.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        pid = daemon.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        handles = len([*Path(f"/proc/{pid}/fd").iterdir()])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (handles - 2, limits[1]))  # none for another child
        os.kill(pid_of(daemon, "deliverer"), signal.SIGSTOP)
        daemon.wait_for("child.cannot_work", child="deliverer")
        begun = time.monotonic()
        manager.settimeout(5)
        with pytest.raises(TimeoutError):
            _hear_all(manager)
        assert 45 < time.monotonic() - begun < 80
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert manager.recv(1_000) == b"WATCHDOG=1"
        assert daemon.stop() == 0


def test_start_has_a_limit_of_its_own(box, tmp_path):
    """A receiver that makes the spool's tables for longer than hang_seconds is left to it; its crash shows
    stacks.
    """
    daemon = Daemon(tmp_path, env=box.environ() | {"RELAY_SERVER__HANG_SECONDS": "1"})
    daemon.args = ["--role", "receive"]
    with daemon.start(wait=False, RELAY_FAULT_POINT="spool.migrated:stop"):
        pid = daemon.wait_for("child.started", child="receiver-0")["pid"]
        until(lambda: process_state(pid) == "stopped")
        time.sleep(2.5)  # the time itself is what is tried
        assert process_state(pid) == "stopped"
        os.kill(pid, signal.SIGCONT)
        daemon.wait_for("daemon.ready")
        assert "child.hung" not in [event["event"] for event in daemon.events]
        os.kill(pid, signal.SIGSEGV)
        stacks = daemon.wait_for("child.stacks", child="receiver-0")
        assert stacks["why"] == "it crashed"
        assert stacks["stacks"][0].startswith("Fatal Python error: Segmentation fault")
        assert daemon.stop() == 0


@pytest.mark.parametrize("stage", [pytest.param("running", marks=pytest.mark.long), "from the start"])
def test_log_that_nobody_reads(box, tmp_path, stage):
    """A full pipe as stdout and stderr stops no mail, no /livez and no SIGTERM."""
    reading, writing = os.pipe()
    if stage == "from the start":
        _fill(writing)
    env = box.environ() | {
        "RELAY_ADMIN__BIND": f"127.0.0.1:{(port := free_port())}",
        "RELAY_LOG__LEVEL": "debug",
    }
    daemon = Daemon(tmp_path, env=env)
    process = subprocess.Popen(
        daemon.program, env=daemon.env, cwd=ROOT, stdout=writing, stderr=writing, start_new_session=True
    )
    try:
        until(lambda: _status(port, "readyz") == 200)
        if stage == "running":
            _fill(writing)
        for number in range(3):
            send(daemon.port, build_mail(number))
        assert sorted(subjects(box.wait(3))) == [f"Mail {number}" for number in range(3)]
        assert _status(port, "livez") == _status(port, "readyz") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(reading)
        os.close(writing)


def _fill(descriptor: int) -> None:
    """Write into a pipe until it takes no more; then it blocks again."""
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4_096)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x")
    os.set_blocking(descriptor, True)


def _status(port: int, page: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return 0
