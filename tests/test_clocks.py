"""The clocks that the relay reads: which module asks the wall clock, which anybody can set, and for what."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay import timing
from relay.timing import MACHINE, utc_now

ROOT = Path(__file__).parent.parent / "relay"

#: Each module that asks the wall clock, or passes it on, and why nothing that lasts is judged by it. Ages,
#: windows and due times ask the spool's clock (`now` of Intake, Outbox and Desk), time-outs and rates a
#: steady one.
WALL = {
    "timing": "reads it",
    "spool/local/clock": "the difference between it and the spool's clock",
    "spool/local/desk": "commands that look at the spool of an earlier version, which has no clock",
    "spool/local/questions": "the same, where it is only read",
    "spool/local/restore": "the spool of an earlier version, which has no clock",
    "spool/fleet/examination": "compares it with that of AWS",
    "spool/fleet/clock": "what it shows before the first answer of AWS",
    "aws/s3": "dates of signatures and URLs, which S3 compares with its own clock",
    "daemon/deliverer": "signatures and URLs, the instant in an alarm, steps of the clock itself",
    "daemon/hang_alarms": "the instant in an alarm",
    "telemetry/log": "the instant of a line",
    "telemetry/spans": "the instants of spans, which a collector compares with others'",
    "daemon/metric_lines": "the instant of a line, by which CloudWatch files it",
    "telemetry/counts": "the day for which a mail is counted, as a person reads it",
    "tail/server": "the instant of an event, which is shown",
    "web/status": "the day whose mails are counted, as a person reads it",
    "web/actions": "the instant of a change, which the desk turns into the spool's, as for commands",
    "smtp/tap": "the instant of an event, which is shown",
    "smtp/refused": "the instant of a refusal, which is shown",
    "smtp/acceptance": "the date in Received, and that of DKIM's and ARC's limits",
    "explain": "a mail that is not in any spool",
    "check/aws": "compares it with S3's",
    "check/live/questions": "the time in which Connect is asked for contacts, by its own clock",
    "check/live/run": "the time in which Connect is asked for contacts, by its own clock",
    "cli/live": "the instant of a report, and its name",
    "check/receivers": "the instant in a test alarm",
    "sandbox/service": "plays S3 and Connect, which have a clock of their own",
    "cli/origin": "a mail that is not in any spool",
    "cli/check": "the dates of certificates",
    "cli/init": "the date in a record that it advises",
    "cli/filters": "an age that a person means; the desk reads it by the spool's clock",
    "cli/audit": "an age that a person means; the desk reads it by the spool's clock",
    "cli/report": "the days that a person asks for",
    "cli/policy": "the days that a person asks for",
    "cli/trace": "shows",
    "cli/queue": "shows",
    "cli/summary": "shows",
    "cli/changes": "the instant of a person's change; the desk reads it by the spool's clock",
    "cli/erase": "the instant of a person's change; the desk reads it by the spool's clock",
    "cli/pause": "the instant of a person's change; the desk reads it by the spool's clock",
    "cli/routes": "the instant of a person's change; the desk reads it by the spool's clock",
}
#: Calls and names that are the wall clock.
NAMES = {"utc_now", "wall", "_wall"}
CALLS = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "time"), ("time", "time_ns"), ("time", "gmtime"), ("time", "localtime"), ("time", "ctime"),
    ("time", "CLOCK_REALTIME"),
}  # fmt: skip
#: What is given the wall clock by the deliverer, and asks it where others compare.
GIVEN = {
    "delivery/runner": "tells steps of it, and shows the instant of the next attempt",
    "events/feed": "the instant in the signature of an event, which its receiver compares with its own clock",
    "delivery/attempt": "the end of URLs, which S3 compares with its own clock",
}


def uses_wall(source: str) -> bool:
    """Returns whether the code reads the wall clock, or hands it on."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in CALLS or node.attr in NAMES:
                return True
        elif isinstance(node, ast.Name) and node.id == "utc_now":
            return True
    return False


@pytest.mark.slow
def test_every_use_of_the_wall_clock_has_its_reason():
    """A module that asks the clock which anybody can set is listed above with the reason, and no other is."""
    found = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in ROOT.rglob("*.py")
        if uses_wall(path.read_text())
    }
    assert found == WALL.keys() | GIVEN.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("at = datetime.now(UTC)", True),
        ("at = time.time()", True),
        ("clock = time.time", True),
        ("Watch(now=utc_now)", True),
        ("self._wall()", True),
        ("at = time.monotonic()", False),
        ("at = outbox.now()", False),
        ("self._now()", False),
    ],
)
def test_uses_are_found(source, found):
    """The search knows the ways to ask the wall clock from those to ask another."""
    assert uses_wall(source) is found


def test_start_of_the_machine_has_one_name(monkeypatch, tmp_path):
    """Where the service manager hides the kernel's file, it gives the same name, spelled in its own way."""
    file = tmp_path / "boot_id"
    file.write_text("0e642f70-d73a-4a79-97ae-98ab77518e5b\n")
    monkeypatch.setattr(timing, "_BOOT_ID", file)
    monkeypatch.delenv("BOOT_ID", raising=False)
    assert MACHINE.boot() == "0e642f70d73a4a7997ae98ab77518e5b"
    file.unlink()
    assert MACHINE.boot() == ""
    monkeypatch.setenv("BOOT_ID", "0e642f70d73a4a7997ae98ab77518e5b")
    assert MACHINE.boot() == "0e642f70d73a4a7997ae98ab77518e5b"
    assert "Environment=BOOT_ID=%b\n" in (ROOT.parent / "systemd" / "relay.service").read_text()


def test_clocks_of_the_machine():
    """The wall clock is that of Python, the steady one goes on, and the start of the machine has a name."""
    before, passed = utc_now(), MACHINE.passed()
    shown = datetime.fromtimestamp(MACHINE.wall() / 1e6, UTC)
    assert abs((shown - before).total_seconds()) < 60
    assert MACHINE.passed() >= passed
    assert MACHINE.boot() == MACHINE.boot()
