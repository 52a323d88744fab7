"""A disk that others filled, under the real daemon: what was accepted is delivered, and nothing more is
taken.
"""

from __future__ import annotations

import os
import signal
import smtplib
from pathlib import Path

import pytest
from disks import fill, small_disk, small_ext4
from harness import Daemon, build_mail, send, subjects, until

pytestmark = pytest.mark.process

#: More than one share of the runner, and more than the log would take for nothing.
BACKLOG = 40
NO_RESERVE = {"RELAY_SPOOL__MIN_FREE_BYTES": "0", "RELAY_SPOOL__MIN_FREE_INODES": "0"}


@pytest.fixture(params=["tmpfs", pytest.param("ext4", marks=pytest.mark.long)])
def disk(request, tmp_path):
    """64 MiB."""
    folder = tmp_path / "disk"
    made = small_disk(folder, "size=64m") if request.param == "tmpfs" else small_ext4(folder, size=64 << 20)
    with made:
        yield folder


@pytest.fixture
def daemon(box, disk, tmp_path):
    """The log lies elsewhere: a daemon whose log is full, too, tells nothing."""
    daemon = Daemon(
        tmp_path, env=box.environ() | NO_RESERVE | {"RELAY_DATA_DIR": str(disk / "data")}, receivers=2
    )
    with daemon:
        yield daemon


def pid_of(daemon: Daemon, child: str) -> int:
    return int([event for event in daemon.events if event.get("child") == child][-1]["pid"])


def pieces(disk: Path) -> int:
    """How much of the ballast lies."""
    return len(list((disk / "data" / "spool" / "ballast").glob("*")))


def accept_backlog(daemon: Daemon, disk: Path) -> list[str]:
    """Mails that are accepted and wait, the deliverer having been stopped in its tracks."""
    until(lambda: pieces(disk) == 16, so="the ballast lies")
    os.kill(pid_of(daemon, "deliverer"), signal.SIGSTOP)
    for number in range(BACKLOG):
        send(daemon.port, build_mail(number))
    return [f"Mail {number}" for number in range(BACKLOG)]


def refuses(daemon: Daemon) -> bool:
    """Whether MAIL gets 452 4.3.1 from each receiver, as far as ten sessions meet them all; no mail
    follows.
    """

    def answer() -> tuple[int, bytes]:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
            client.ehlo()
            code, text = client.mail("ada@customer.example", ["size=1000"])
            return code, text.split()[0]

    return all(answer() == (452, b"4.3.1") for _ in range(10))


def accepts(daemon: Daemon, name: str) -> bool:
    try:
        send(daemon.port, build_mail(name))
    except (OSError, smtplib.SMTPException):
        return False
    return True


def check_recovery(box, daemon: Daemon, disk: Path, filler: Path, sent: list[str]) -> None:
    """All of the backlog goes out, nothing comes in, a person is told; and all is as before when there is
    room.
    """
    daemon.wait_for("alarm.raised", kind="disk_full")
    until(lambda: refuses(daemon), so="each receiver has looked at the disk")
    until(lambda: len(box.book) >= BACKLOG, so="the backlog is delivered on the full disk")
    assert refuses(daemon), "nothing but the outcomes goes into the room that was given up"
    filler.unlink()
    until(lambda: accepts(daemon, "after"), so="the intake takes mail again")
    until(lambda: pieces(disk) == 16, so="the ballast lies again")
    daemon.wait_for("alarm.ended", kind="disk_full")
    until(lambda: len(box.book) > BACKLOG, so="the mail after")
    assert sorted(subjects(box.contacts())) == sorted([*sent, "Mail after"])
    assert not [event for event in daemon.events if event["event"] == "child.ended"]
    assert daemon.stop() == 0


@pytest.mark.long
def test_backlog_goes_out_on_a_full_disk(box, daemon, disk):
    """Others fill the disk while mail waits: it is delivered all the same, and no restart is needed
    afterwards.
    """
    daemon.start()
    sent = accept_backlog(daemon, disk)
    filler = fill(disk)
    until(lambda: refuses(daemon), so="each receiver has looked at the disk")
    os.kill(pid_of(daemon, "deliverer"), signal.SIGCONT)
    check_recovery(box, daemon, disk, filler, sent)


@pytest.mark.parametrize("end", [pytest.param("kill", marks=pytest.mark.long), "stop"])
def test_start_on_a_full_disk(box, daemon, disk, end):
    """A daemon that starts on a disk without a free octet comes up, delivers its backlog, and takes mail when
    there is room.
    """
    daemon.start()
    sent = accept_backlog(daemon, disk)
    if end == "kill":
        daemon.kill()
    else:
        # A stop in order closes the database, and its log goes: the room of that is filled as well.
        os.kill(pid_of(daemon, "deliverer"), signal.SIGKILL)
        box.chaos(connect={"error": 1.0})
        daemon.stop()
        box.chaos({})
    filler = fill(disk)
    daemon.start()
    check_recovery(box, daemon, disk, filler, sent)
