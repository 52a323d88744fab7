"""A disk that is full, sick or read-only under the real daemon: what a peer is told, and that no restart is
needed.
"""

from __future__ import annotations

import smtplib
import time

import pytest
from disks import fill, remount, small_disk, starve, thin_disk
from harness import Daemon, build_mail, send, subjects, until

pytestmark = pytest.mark.process

#: Over spool.large_message_bytes, so that it goes to a file of its own while it comes in.
LARGE = bytes(range(256)) * 1_600
MEBIBYTE = 1 << 20


def told(daemon: Daemon, mail) -> tuple[int, str]:
    """Code and enhanced code of the reply that ends a transaction; (250, "") when the mail was taken."""
    octets = mail.as_bytes().replace(b"\n", b"\r\n")
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        code, text = client.mail("ada@customer.example", [f"size={len(octets)}"])
        if code == 250:
            client.rcpt("support@example.com")
            code, text = client.data(octets)
        return code, text.decode().split()[0] if code != 250 else ""


def told_at_mail(daemon: Daemon, *, size: int) -> tuple[int, str]:
    """Code and enhanced code of the reply to MAIL; no mail follows."""
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        code, text = client.mail("ada@customer.example", [f"size={size}"])
        return code, text.decode().split()[0]


def banner(daemon: Daemon) -> tuple[int, str]:
    """Code and enhanced code that a new session begins with; 421 comes as an error of smtplib."""
    try:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20):
            return 220, ""
    except smtplib.SMTPResponseException as exc:
        return exc.smtp_code, exc.smtp_error.decode().split()[0]


def accepts_again(daemon: Daemon, name: str) -> None:
    """A mail is taken, after some tries at most."""

    def taken() -> bool:
        try:
            send(daemon.port, build_mail(name, attachment=LARGE))
        except (OSError, smtplib.SMTPException):
            return False
        return True

    until(taken, seconds=20, so="the daemon accepts again")


def check_delivered(box, daemon: Daemon, sent: list[str]) -> None:
    """Exactly these are contacts, by the processes that were there from the start."""
    until(lambda: len(box.book) >= len(sent), so=f"{sent}")
    assert sorted(subjects(box.contacts())) == sorted(f"Mail {name}" for name in sent)
    assert not [event for event in daemon.events if event["event"] == "child.ended"]
    assert daemon.stop() == 0


def test_no_room_is_said_at_mail(box, tmp_path):
    """Scenario 5: a mail whose SIZE would eat the reserve is refused at MAIL with 452 4.3.1; a small one is
    taken.
    """
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        daemon = Daemon(disk, env=box.environ() | {"RELAY_SPOOL__MIN_FREE_BYTES": str(32 * MEBIBYTE),
                                                   "RELAY_SPOOL__MIN_FREE_INODES": "0"})  # fmt: skip
        with daemon.start():
            assert told_at_mail(daemon, size=38 * MEBIBYTE) == (452, "4.3.1")
            assert told(daemon, build_mail("small")) == (250, "")
            (disk / "filler").write_bytes(bytes(36 * MEBIBYTE))
            until(
                lambda: told_at_mail(daemon, size=1_000) == (452, "4.3.1"), so="the disk is seen to be full"
            )
            (disk / "filler").unlink()
            accepts_again(daemon, "again")
            check_delivered(box, daemon, ["small", "again"])


def test_full_disk_in_the_middle_of_the_data(box, tmp_path):
    """Scenario 6: ENOSPC while a large mail comes in is 452 4.3.1 after the dot; nothing is left, room is
    room again.
    """
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        limits = {"RELAY_SPOOL__MIN_FREE_BYTES": "0", "RELAY_SPOOL__MIN_FREE_INODES": "0"}
        with Daemon(disk, env=box.environ() | limits).start() as daemon:
            accepts_again(daemon, "before")
            until(lambda: len(box.book) == 1, so="the first mail")
            filler = fill(disk)
            # A MAIL without SIZE: the disk is found full by the write, not by the look before it.
            octets = build_mail("refused", attachment=LARGE).as_bytes().replace(b"\n", b"\r\n")
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
                client.ehlo()
                assert client.mail("ada@customer.example")[0] == 250
                client.rcpt("support@example.com")
                code, text = client.data(octets)
                assert (code, text.split()[0]) == (452, b"4.3.1")
                assert client.noop()[0] == 250, "the session goes on"
            raw = disk / "spool" / "spool" / "raw"
            until(
                lambda: len([each for each in raw.glob("*/*") if each.is_file()]) == 1,
                so="nothing is left of it",
            )
            filler.unlink()
            accepts_again(daemon, "after")
            check_delivered(box, daemon, ["before", "after"])


def test_no_inodes(box, tmp_path):
    """Scenario 8: without inodes for its file a large mail is 452 4.3.1, and taken when there are some."""
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=400") as disk:
        limits = {"RELAY_SPOOL__MIN_FREE_BYTES": "0", "RELAY_SPOOL__MIN_FREE_INODES": "0"}
        with Daemon(disk, env=box.environ() | limits).start() as daemon:
            fillers = starve(disk)
            assert told(daemon, build_mail("refused", attachment=LARGE)) == (452, "4.3.1")
            assert told(daemon, build_mail("small")) == (250, "")
            for filler in fillers:
                filler.unlink()
            accepts_again(daemon, "after")
            check_delivered(box, daemon, ["small", "after"])


def test_read_only_disk(box, tmp_path):
    """Scenario 8: on a read-only disk a start is refused in a sentence; nothing is lost, and the next one
    delivers.
    """
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        limits = {"RELAY_SPOOL__MIN_FREE_BYTES": "0", "RELAY_SPOOL__MIN_FREE_INODES": "0"}
        daemon = Daemon(tmp_path, env=box.environ() | limits | {"RELAY_DATA_DIR": str(disk / "data")})
        (disk / "data").mkdir()
        box.chaos(s3={"refuse": 1})
        with daemon.start():
            accepts_again(daemon, "before")
            daemon.kill()
        # A file system with files open for writing cannot be made read-only by hand: erofs below is that
        # moment.
        remount(disk, "ro")
        with daemon.start(wait=False):
            assert daemon.process.wait(timeout=30) == 2
            until(lambda: daemon.events == [] and daemon.other_lines, so="a sentence")
            assert "is not writable" in daemon.other_lines[-1]
        remount(disk, "rw")
        box.chaos({})
        with daemon.start():
            accepts_again(daemon, "after")
            until(lambda: len(box.book) == 2, so="both mails")
            assert sorted(subjects(box.contacts())) == ["Mail after", "Mail before"]
            assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("fault", "attachment", "code"),
    [
        ("spool.raw.synced:eio:1", LARGE, (451, "4.3.0")),
        pytest.param("spool.raw.written:eio:1", LARGE, (451, "4.3.0"), marks=pytest.mark.long),
        pytest.param("spool.put.ready:eio:1", None, (451, "4.3.0"), marks=pytest.mark.long),
        pytest.param("spool.raw.created:erofs:1", LARGE, (451, "4.3.0"), marks=pytest.mark.long),
        pytest.param("spool.put.ready:erofs:1", None, (451, "4.3.0"), marks=pytest.mark.long),
        pytest.param("spool.raw.written:edquot:1", LARGE, (452, "4.3.1"), marks=pytest.mark.long),
        pytest.param("spool.put.ready:enospc:1", None, (452, "4.3.1"), marks=pytest.mark.long),
    ],
)
def test_failing_call(box, tmp_path, fault, attachment, code):
    """Scenario 7: a write or sync that fails is 451 4.3.0, then 421 4.3.2 for a moment and not ready; then
    all is well.
    """
    with Daemon(tmp_path, env=box.environ()).start(RELAY_FAULT_POINT=fault) as daemon:
        assert told(daemon, build_mail("refused", attachment=attachment)) == code
        if code[0] == 451:
            assert banner(daemon) == (421, "4.3.2")
            until(lambda: daemon.ask("readyz")[0] == 503, seconds=4, so="not ready")
        accepts_again(daemon, "after")
        until(lambda: daemon.ask("readyz")[0] == 200, so="ready again")
        check_delivered(box, daemon, ["after"])


@pytest.mark.long
def test_disk_that_only_answers(box, tmp_path):
    """Scenario 7: while nothing can be written, however long, peers are sent away, and whoever watches is
    told; then all is well.
    """
    with thin_disk(tmp_path / "thin") as (disk, behind):
        daemon = Daemon(tmp_path, env=box.environ() | {
            "RELAY_DATA_DIR": str(disk / "data"), "RELAY_ALARMS__EVERY_SECONDS": "0.5",
            "RELAY_SPOOL__MIN_FREE_BYTES": "0", "RELAY_SPOOL__MIN_FREE_INODES": "0",
        })  # fmt: skip
        with daemon.start():
            accepts_again(daemon, "before")
            until(lambda: len(box.book) == 1, so="the first mail")
            filler = fill(behind)
            # Nobody sends: the deliverer's look finds it.
            raised = daemon.wait_for("alarm.raised", kind="spool_sick")
            assert raised["detail"]
            until(lambda: daemon.ask("readyz")[0] == 503, so="not ready without any mail")
            assert told(daemon, build_mail("refused")) == (451, "4.3.0")
            begun = time.monotonic()
            # Longer than from a failed write to the first probe.
            while time.monotonic() - begun < 6:
                assert banner(daemon) == (421, "4.3.2")
                assert daemon.ask("readyz")[0] == 503
                time.sleep(0.1)  # between two looks
            metrics = daemon.ask("metrics")[1]
            for process in ("receiver-0", "deliverer"):
                assert f'relay_spool_sick{{process="{process}"}} 1.0' in metrics
            failed = [event["where"] for event in daemon.events if event["event"] == "spool.failed"]
            assert "smtp.put" in failed
            assert failed.count("runner.claim") <= 1, "once, and not with each try"
            assert not [event for event in daemon.events if event["event"] == "fault.caught"]
            filler.unlink()
            accepts_again(daemon, "after")
            until(lambda: daemon.ask("readyz")[0] == 200, so="ready again")
            daemon.wait_for("alarm.ended", kind="spool_sick")
            assert 'relay_spool_sick{process="receiver-0"} 0.0' in daemon.ask("metrics")[1]
            check_delivered(box, daemon, ["before", "after"])
