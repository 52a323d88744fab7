"""The processes of the daemon: what crashes comes back, what is asked to stop stops, what is reloaded goes
on.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import smtplib
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from harness import Daemon, build_mail, send, subjects, until

from relay.config.load import load_config
from relay.config.sentences import show
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def module_daemon(module_box, tmp_path_factory):
    """A daemon for all tests after which it works as before; they ask for `shared`."""
    with Daemon(tmp_path_factory.mktemp("daemon"), env=module_box.environ(), receivers=2).start() as running:
        yield running


@pytest.fixture
def shared(module_daemon, box):
    """Ready; afterwards its configuration is put back, and its queue is empty, before Connect forgets its
    tokens.
    """
    until(lambda: module_daemon.ask("readyz")[0] == 200)
    module_daemon.forget()
    text = module_daemon.config_path.read_text()
    yield module_daemon
    module_daemon.config_path.write_text(text)
    with closing(open_desk(load_config(str(module_daemon.config_path)))) as desk:
        until(lambda: not desk.select(Filter(states=frozenset({State.QUEUED, State.LEASED}))))


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ()).start() as running:
        yield running


@pytest.fixture
def half(tmp_path):
    """A receiver under its supervisor, not started yet: for tests to which nothing needs to be delivered."""
    daemon = Daemon(tmp_path, env=dict(os.environ))
    daemon.args = ["--role", "receive"]
    with daemon:
        yield daemon


def pid_of(daemon: Daemon, child: str) -> int:
    return int([event for event in daemon.events if event.get("child") == child][-1]["pid"])


def _sockets_of(pid: int) -> set[str]:
    links = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if link.startswith("socket:")}  # both ends of a pipe have one number


def test_first_children_hold_nothing_of_each_other(shared):
    """A first child has its name, the listening sockets if it receives, and neither the supervisor's nor a
    sibling's end of a line, which would never end.
    """
    supervisor = _sockets_of(shared.process.pid)
    held = {}
    for name in ("receiver-0", "receiver-1", "deliverer"):
        pid = pid_of(shared, name)
        assert Path(f"/proc/{pid}/comm").read_text() == f"{name}\n"
        held[name] = _sockets_of(pid)
    assert not held["deliverer"] & (supervisor | held["receiver-0"] | held["receiver-1"])
    (listener,) = held["receiver-0"] & held["receiver-1"]
    assert held["receiver-0"] & supervisor == held["receiver-1"] & supervisor == {listener}
    (template,) = _children_of(pid_of(shared, "deliverer"))
    assert Path(f"/proc/{template}/comm").read_text() == "understand\n"
    assert len(_sockets_of(int(template)) - set.union(supervisor, *held.values())) == 3  # its line, its bell
    assert not _sockets_of(int(template)) & set.union(supervisor, *held.values())


@pytest.mark.parametrize("child", ["receiver-0", "receiver-1", "deliverer"])
def test_child_that_crashes_comes_back(box, shared, child):
    """A killed child is restarted, the others are unharmed, and mail goes through before and after."""
    pids = {name: pid_of(shared, name) for name in ("receiver-0", "receiver-1", "deliverer")}
    send(shared.port, build_mail("before"))
    os.kill(pids[child], signal.SIGKILL)
    shared.wait_for("child.ended", child=child, expected=False)
    until(lambda: pid_of(shared, child) != pids[child])
    for number in range(8):
        send(shared.port, build_mail(number))
    until(lambda: len(box.contacts()) >= 9)
    assert sorted(subjects(box.contacts())) == sorted(
        ["Mail before", *(f"Mail {number}" for number in range(8))]
    )
    assert [name for name, pid in pids.items() if pid_of(shared, name) != pid] == [child]


def test_child_that_cannot_be_started_is_started_later(box, daemon):
    """A supervisor without a free file handle when the deliverer crashes has a deliverer again when there is
    one.
    """
    pid = daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len([*Path(f"/proc/{pid}/fd").iterdir()]) - 1, limits[1]))
    os.kill(pid_of(daemon, "deliverer"), signal.SIGKILL)
    daemon.wait_for("child.cannot_work", child="deliverer")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    send(daemon.port, build_mail("later"))
    assert subjects(box.wait(1)) == ["Mail later"]
    assert daemon.stop() == 0


def test_credentials_that_go_away_end_no_daemon(box, tmp_path):
    """A deliverer that finds no credentials after a crash looks again, and mail is accepted meanwhile."""
    file = tmp_path / "credentials"
    keys = box.env["AWS_ACCESS_KEY_ID"], box.env["AWS_SECRET_ACCESS_KEY"]
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(*keys)
    file.write_text(text)
    env = {
        name: value
        for name, value in box.environ().items()
        if not name.startswith("AWS_") or "KEY" not in name
    }
    env["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    with Daemon(tmp_path, env=env).start() as daemon:
        file.write_text("")
        os.kill(pid_of(daemon, "deliverer"), signal.SIGKILL)
        daemon.wait_for("service.away", service="credentials")
        send(daemon.port, build_mail("patient"))
        file.write_text(text)
        assert subjects(box.wait(1)) == ["Mail patient"]
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("role", "child"),
    [("receive", "receiver-0"), pytest.param("deliver", "deliverer", marks=pytest.mark.long)],
)
def test_stop_while_a_child_is_being_started_stops_that_child(box, tmp_path, role, child):
    """SIGTERM at the instant in which a crashed child comes back: it is told to stop, and ends in order."""
    daemon = Daemon(tmp_path, env=box.environ())
    daemon.args = ["--role", role]
    with daemon.start():
        os.kill(pid_of(daemon, child), signal.SIGKILL)
        daemon.wait_for("child.ended", child=child, expected=False)
        # The first restart comes 0.2 s after the crash; the stop is to fall between fork and "child.started".
        (pid,) = until(lambda: _children_of(daemon.process.pid))
        # The limit is only that of a daemon that never ends; a child that was not told to stop would be
        # killed.
        assert daemon.stop(seconds=50) == 0
        assert daemon.wait_for("child.ended", child=child, pid=int(pid))["expected"]


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_killed_supervisor_leaves_no_orphans(daemon):
    """The children of a supervisor that was killed see their line close, and end by themselves."""
    pids = [pid_of(daemon, name) for name in ("receiver-0", "deliverer")]
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()

    def gone():
        # They are children of ours in no way, so /proc is asked; a zombie waits only for init.
        return not [pid for pid in pids if _alive(pid)]

    until(gone, so="all children gone")


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_start_waits_for_the_port_of_an_orphan(half):
    """A start right after `kill -9` finds its port with a receiver that has not seen the end yet, and waits
    for it.
    """
    half.start()
    orphan = pid_of(half, "receiver-0")
    os.kill(orphan, signal.SIGSTOP)
    try:
        half.process.kill()
        half.process.wait()
        half.start(wait=False)
        assert half.wait_for("listener.awaited")["bind"] == f"127.0.0.1:{half.port}"
    finally:
        os.kill(orphan, signal.SIGCONT)
    half.wait_for("daemon.ready")
    assert [event["event"] for event in half.events].count("listener.awaited") == 1
    send(half.port, build_mail("after"))
    assert half.stop() == 0


def test_stop_while_a_port_is_waited_for(box, tmp_path):
    """SIGTERM ends the wait for a port as it ends all else: at once, in order, and with 0."""
    daemon = Daemon(tmp_path, env=box.environ())
    with socket.create_server(("127.0.0.1", daemon.port)), daemon.start(wait=False):
        daemon.wait_for("listener.awaited")
        assert daemon.stop() == 0
        assert [event["event"] for event in daemon.events][-1] == "daemon.stopped"


def test_waiting_for_an_orphan_deliverer_blames_no_mail(box, daemon):
    """A deliverer that comes again until its orphaned forerunner is gone takes that one's mail back without
    blame.
    """
    box.chaos(connect={"latency_seconds": 60.0})
    send(daemon.port, build_mail("innocent"))
    with closing(open_desk(load_config(str(daemon.config_path)))) as desk:
        until(lambda: desk.counts()[State.LEASED])
        orphan = pid_of(daemon, "deliverer")
        os.kill(orphan, signal.SIGSTOP)
        daemon.process.kill()
        daemon.process.wait()
        daemon.start(wait=False)
        daemon.wait_for("child.ended", child="deliverer", code=1)
        os.kill(orphan, signal.SIGKILL)
        box.chaos({})
        assert subjects(box.wait(1)) == ["Mail innocent"]
        until(lambda: desk.counts()[State.DONE])
        (entry,) = desk.select(Filter())
        assert "cut_short" not in [event.event for event in desk.history(entry)]
    assert daemon.stop() == 0


def test_reload_takes_new_routes_and_keeps_sessions(box, shared):
    """SIGHUP: a session that was open lives on, and a new one finds the new route."""
    with smtplib.SMTP("127.0.0.1", shared.port, timeout=20) as open_session:
        open_session.ehlo()
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(shared.port, build_mail("early"), ["desk@new.example"])
        config = shared.config_path.read_text()
        shared.config_path.write_text(
            config + '\n[[routes]]\nmatch = ["desk@new.example"]\ndestination = "support@example.com"\n'
        )
        shared.process.send_signal(signal.SIGHUP)
        shared.wait_for("config.reloaded")

        def accepted():
            try:
                send(shared.port, build_mail("late"), ["desk@new.example"])
            except smtplib.SMTPRecipientsRefused:
                return False
            return True

        until(accepted)
        assert open_session.noop()[0] == 250
    until(lambda: subjects(box.contacts()) == ["Mail late"])


def test_reloads_are_done_once_a_second(box, shared):
    """Signals that come faster are one reload, by the file as it was at the last of them: mail goes out
    meanwhile.
    """
    asked, begun = 0, time.monotonic()

    def ask():
        nonlocal asked
        asked += 1
        with shared.config_path.open("a") as file:
            match = f'match = ["desk{asked}@new.example"]'
            file.write(f'\n[[routes]]\n{match}\ndestination = "support@example.com"\n')
        shared.process.send_signal(signal.SIGHUP)

    def counted():
        return [line["event"] for line in shared.events].count("config.reloaded")

    def arrived():
        ask()
        return subjects(box.contacts()) == ["Mail meanwhile"] and counted() >= 2

    send(shared.port, build_mail("meanwhile"))
    until(arrived)
    last = f"desk{asked}@new.example"

    def accepted():
        try:
            send(shared.port, build_mail("newest"), [last])
        except smtplib.SMTPRecipientsRefused:
            return False
        return True

    until(accepted)
    assert asked > 10
    assert counted() <= time.monotonic() - begun + 2


def test_bad_configuration_keeps_the_old_one(box, shared):
    """SIGHUP with a mistake in the file: the sentence is logged, and mail goes on as before."""
    shared.config_path.write_text(shared.config_path.read_text().replace("[s3]", "[s3]\nbuckets = 1"))
    shared.process.send_signal(signal.SIGHUP)
    refused = shared.wait_for("config.refused")
    assert "s3.buckets" in refused["why"][0]
    send(shared.port, build_mail("still"))
    until(lambda: subjects(box.contacts()) == ["Mail still"])


def test_reload_leaves_a_broken_file_alone(box, shared, tmp_path):
    """SIGHUP with a broken included file: the others are in force, and it stays at its last good version."""

    def write(name, line):
        (tmp_path / f"{name}.toml").write_text(f'[[routes]]\n{line}\ndestination = "support@example.com"\n')

    def reload(event):
        shared.forget()
        shared.process.send_signal(signal.SIGHUP)
        return shared.wait_for(event)

    shared.config_path.write_text(f'include = ["{tmp_path}/*.toml"]\n{shared.config_path.read_text()}')
    write("a", 'match = ["a@tenants.example"]')
    write("b", 'match = ["b@tenants.example"]')
    reload("config.reloaded")
    write("a", "match = 3")
    write("b", 'match = ["b@tenants.example", "b2@tenants.example"]')
    assert str(tmp_path / "a.toml") in reload("config.files_kept")["why"][0]
    kept = json.loads((shared.data_dir / "included.json").read_text())
    assert "a@tenants.example" in kept[str(tmp_path / "a.toml")]

    def is_taken():
        try:
            send(shared.port, build_mail("both"), ["a@tenants.example", "b2@tenants.example"])
        except smtplib.SMTPRecipientsRefused:
            return False
        return True

    until(is_taken)
    until(lambda: subjects(box.contacts()) == ["Mail both"] * 2)


def test_reload_does_not_part_the_two_halves(box, shared, tmp_path):
    """SIGHUP with another data_dir is refused: a deliverer that crashes later still has the spool of the
    receivers.
    """
    text = shared.config_path.read_text()
    shared.config_path.write_text(text.replace(str(shared.data_dir), str(tmp_path / "other")))
    shared.process.send_signal(signal.SIGHUP)
    assert "data_dir" in shared.wait_for("config.refused")["why"][0]
    pid = pid_of(shared, "deliverer")
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid_of(shared, "deliverer") != pid)
    send(shared.port, build_mail("together"))
    assert subjects(box.wait(1)) == ["Mail together"]


@pytest.mark.parametrize(("key", "table"), [("min_free_bytes", "spool"), ("drain_seconds", "server")])
def test_reload_says_what_needs_a_restart(box, shared, key, table):
    """SIGHUP with a change of what is read at a start only is refused by its name: nobody believes it in
    force.
    """
    text = shared.config_path.read_text()
    shared.config_path.write_text(text.replace(f"{key} = ", f"{key} = 2"))
    shared.process.send_signal(signal.SIGHUP)
    (why,) = shared.wait_for("config.refused")["why"]
    assert why == f"{table}: a change here needs a restart; nothing was reloaded"


def test_service_manager_hears_of_the_start_and_the_end(half, tmp_path):
    """READY=1 comes when mail can come, WATCHDOG=1 while we live, STOPPING=1 before the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        half.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000")
        assert manager.recv(100).decode() == f"READY=1\nSTATUS=takes mail at 127.0.0.1:{half.port}"
        assert manager.recv(100) == b"WATCHDOG=1"
        assert half.stop() == 0
        # The daemon is gone, so all it said lies in the socket.
        manager.settimeout(1)
        until(lambda: manager.recv(100) == b"STOPPING=1")


def test_sockets_of_the_service_manager(half):
    """A listening socket that was handed over (LISTEN_FDS) is used instead of one of our own."""
    with socket.create_server(("127.0.0.1", 0)) as handed:
        port = handed.getsockname()[1]
        # sd_listen_fds(3): descriptor 3, and a LISTEN_PID that is the daemon's own.
        script = (
            f"import os, sys; os.dup2({handed.fileno()}, 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])"
        )
        half.program = [sys.executable, "-c", script, *half.program]
        half.start(pass_fds=[handed.fileno()])
        assert half.wait_for("listener.opened")["bind"] == f"127.0.0.1:{port}"
        send(port, build_mail("by an inherited socket"))
        assert half.stop() == 0


@pytest.mark.parametrize(("role", "children"), [("receive", {"receiver-0"}), ("deliver", {"deliverer"})])
def test_role_picks_the_half(box, tmp_path, role, children):
    """--role starts only the receivers, or only the deliverer."""
    daemon = Daemon(tmp_path, env=box.environ())
    daemon.args = ["--role", role]
    with daemon.start():
        assert {event["child"] for event in daemon.events if event["event"] == "child.started"} == children
        assert daemon.stop() == 0


def test_address_that_is_taken(box, tmp_path):
    """A port that stays taken ends the start, after a wait, with exit code 2 and a sentence with key and
    value.
    """
    daemon = Daemon(tmp_path, env=box.environ())
    with socket.create_server(("127.0.0.1", daemon.port)):
        result = daemon.run("serve")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines[:-1]] == ["daemon.started", "listener.awaited"]
    assert lines[-1].startswith(
        f'relay: listeners[0].bind = "127.0.0.1:{daemon.port}": cannot be opened (Address already in use); '
    )


def test_address_that_is_not_ours(box, tmp_path):
    """What no waiting mends is refused at once."""
    daemon = Daemon(tmp_path, env=box.environ())
    with daemon.start(wait=False, RELAY_LISTENERS__0__BIND="192.0.2.1:25"):  # RFC 5737: nobody's
        assert daemon.process.wait(30) == 2
        assert [event["event"] for event in daemon.events] == ["daemon.started"]
        assert "Cannot assign requested address" in daemon.log()


def test_no_region(box, tmp_path):
    """Without an AWS Region the deliverer will not start: exit code 2, and the sentence says what to set."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    env = {name: value for name, value in box.environ().items() if name not in names}
    result = Daemon(tmp_path, env=env).run("serve", "--role", "deliver")
    assert result.returncode == 2
    assert "relay: no AWS Region is set" in result.stderr


@pytest.mark.parametrize(
    ("spoil", "what"), [("folder", "is no file; "), ("text", "cannot be read as a database (NotADBError: ")]
)
def test_spool_that_cannot_be_used(box, tmp_path, spoil, what):
    """A spool that only a person can mend ends the start with exit code 2 and one sentence with key
    and path.
    """
    daemon = Daemon(tmp_path, env=box.environ())
    database = daemon.data_dir / "spool" / "spool.db"
    database.parent.mkdir(parents=True)
    database.mkdir() if spoil == "folder" else database.write_text("no database" * 99)
    with daemon.start(wait=False):
        assert daemon.process.wait(60) == 2
    assert [event for event in daemon.events if event["event"] == "child.cannot_work"] == []
    (line,) = daemon.other_lines
    assert line.startswith(f"relay: data_dir = {show(str(daemon.data_dir))}: {database} {what}")


def test_spool_that_can_no_longer_be_used(half, tmp_path):
    """A spool that is spoilt under a running daemon ends nothing: the log says what to mend, the peer
    nothing of it.
    """
    half.start()
    send(half.port, build_mail("before"))
    makers = half.data_dir / "spool" / "makers"
    makers.rename(tmp_path / "aside")
    makers.write_text("")
    os.kill(pid_of(half, "receiver-0"), signal.SIGKILL)
    why = half.wait_for("child.cannot_work", child="receiver-0")["why"]
    assert why.startswith(f"data_dir = {show(str(half.data_dir))}: {makers} is no directory; move it away")
    makers.unlink()
    (tmp_path / "aside").rename(makers)
    send(half.port, build_mail("after"))
    assert half.stop() == 0


def test_spool_that_is_another_is_opened_anew(box, tmp_path):
    """A copy restored under the running daemon: each child ends in good order, and its successor has the new
    one open.
    """
    daemon = Daemon(tmp_path, env=box.environ())
    with daemon.start():
        send(daemon.port, build_mail("before"))
        box.wait(1)
        spool = daemon.data_dir / "spool"
        shutil.copytree(spool, tmp_path / "copy")
        spool.rename(tmp_path / "aside")
        (tmp_path / "copy").rename(spool)
        for child in ("receiver-0", "deliverer"):
            assert "another spool lies in" in daemon.wait_for("child.cannot_work", process=child)["why"]
        until(lambda: len([event for event in daemon.events if event["event"] == "child.started"]) == 4)
        until(lambda: daemon.ask("readyz")[0] == 200)
        send(daemon.port, build_mail("after"))
        assert sorted(subjects(box.wait(2))) == ["Mail after", "Mail before"]
        assert daemon.stop() == 0


def test_peer_learns_nothing_of_a_damaged_spool(half):
    """A database that rots under a running daemon is 451 to the peer, without a path or a word of the
    library's.
    """
    half.start()
    database = half.data_dir / "spool" / "spool.db"
    for each in database.parent.glob("spool.db*"):
        each.unlink()
    database.write_text("no database" * 999)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(half.port, build_mail("refused"))
    assert refused.value.smtp_code == 451
    assert refused.value.smtp_error == b"4.3.0 Could not store this mail, try again later"
    assert half.stop() == 0
