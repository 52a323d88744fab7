"""SIGKILL at every named step: what was acknowledged is there, whole and once; nothing else is left
behind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import victim
from spool_helpers import NOW, build_config, build_submission, lock_files, raw_files

from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
POINTS = tuple(
    sorted(
        {
            name
            for path in (ROOT / "relay" / "spool").rglob("*.py")
            for name in re.findall(r'fault_point\("(spool\.[a-z_.]+)"\)', path.read_text())
        }
        | {
            f"spool.{name}.committed"
            for name in (
                "recover",
                "claim",
                "request",
                "finish",
                "defer",
                "hold",
                "bury",
                "hold_route",
                "expire",
            )
        }
    )
)


def run_victim(data_dir: Path, fault: str) -> list[list[str]]:
    """What the victim told before it died."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE.parent}", "RELAY_FAULT_POINT": fault}
    ended = subprocess.run(
        [sys.executable, str(HERE / "victim.py"), str(data_dir)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return [line.split() for line in ended.stdout.splitlines()]


async def check_and_finish(data_dir: Path, told: list[list[str]], *, may_be_dropped: bool) -> None:
    """Open what the dead left, hold it against the table of states, deliver the rest, and count."""
    config = victim.settings(data_dir)
    acknowledged = {line[1]: int(line[2]) for line in told if line[0] == "250"}
    contacts = {(line[1], line[2]) for line in told if line[0] == "contact"}
    dropped = {int(line[1]) for line in told if line[0] == "dropped"}
    intake, outbox = open_intake(config), open_outbox(config)
    desk = open_desk(config)
    try:
        await outbox.recover(now=NOW)
        await outbox.resume_route("sales")
        assert desk.counts()[State.LEASED] == 0
        entries = desk.select(Filter())
        named = {e.spool_id for e in entries if e.size > victim.LARGE_BYTES}
        assert {path.name for path in raw_files(data_dir)} == named, (
            "after the sweep, large mails and their entries are the same"
        )
        for entry in entries:
            if entry.state in (State.HELD, State.DEAD):
                desk.retry([entry.spool_id], now=NOW)
        now = NOW + timedelta(hours=1)
        while claimed := await outbox.claim(now=now, limit=50, lease_seconds=60):
            for entry in claimed:
                async with outbox.open_raw(entry) as view:
                    raw = bytes(view)
                number = victim.number_of(raw)
                assert raw == b"Received: from x\r\n" + victim.body_of(number)
                contacts.add((entry.spool_id, entry.destination.address))
                await outbox.finish(entry, contact_id=f"c-{entry.entry_id}", now=now)
        by_number: dict[int, set[str]] = {}
        for spool_id, address in contacts:
            number = acknowledged.get(spool_id)
            if number is not None:
                by_number.setdefault(number, set()).add(address)
        for number in set(acknowledged.values()) - dropped:
            expected = (
                {"support@example.com", "sales@example.com"} if number % 3 == 0 else {"support@example.com"}
            )
            # The kill may fall between the drop and its being told.
            assert by_number.get(number) == expected or (number == 9 and may_be_dropped), f"mail {number}"
        ids = {spool_id for spool_id, _ in contacts}
        assert len(ids) <= 9, "a mail has become two"
        await outbox.expire(now=NOW + timedelta(days=30))
        assert raw_files(data_dir) == []
        assert sum(desk.counts().values()) == 0
    finally:
        desk.close()
        await intake.close()
        await outbox.close()


#: Steps that the victim takes often: there a later pass is another moment.
OFTEN = ("spool.raw.written", "spool.raw.synced", "spool.transaction.ready", "spool.put.ready", "spool.put.committed",
         "spool.finish.committed", "spool.request.committed", "spool.defer.committed")  # fmt: skip


#: One kill in the intake, one in the outbox, and one while a file comes in; `make crash` has them all.
DAILY = {"spool.put.committed:1", "spool.finish.committed:3", "spool.raw.written:1"}
FAULTS = [f"{point}:1" for point in POINTS] + [f"{point}:3" for point in OFTEN]


@pytest.mark.process
@pytest.mark.parametrize(
    "fault", [each if each in DAILY else pytest.param(each, marks=pytest.mark.long) for each in FAULTS]
)
async def test_kill_at_every_step_loses_nothing(tmp_path, fault):
    """After SIGKILL at a named step every acknowledged mail is delivered once, and no file or entry is left
    over.
    """
    told = run_victim(tmp_path / "data", fault)
    assert ["end"] not in told
    may_be_dropped = fault.startswith(("spool.drop.committed", "spool.raw.removed"))
    await check_and_finish(tmp_path / "data", told, may_be_dropped=may_be_dropped)


def test_some_steps_are_struck_every_day():
    """The names of the few are names of steps."""
    assert set(FAULTS) >= DAILY


def test_every_step_stands_in_the_documentation():
    """Whoever wants to kill the daemon at a step finds its name in docs/spool.md."""
    text = (ROOT / "docs" / "spool.md").read_text()
    assert "spool.transaction.ready" in POINTS  # the code was read, and not an empty folder
    assert [point for point in POINTS if f"`{point}`" not in text] == []


@pytest.mark.process
def test_two_processes_put_at_once(tmp_path):
    """Two receivers put the same and different mails at the same time: each mail is there once."""
    program = (
        "import asyncio, sys; from pathlib import Path; from spool_helpers import *\n"
        "from relay.spool.opening import open_intake\n"
        "async def main(data_dir, name):\n"
        "    intake = open_intake(build_config(data_dir))\n"
        "    print('ready', flush=True); sys.stdin.readline()\n"
        "    async def put(body, **like):\n"
        "        r = await intake.put(build_submission(intake.new_id(), body=body, **like))\n"
        "        print(r.spool_id, r.duplicate, body.decode(), flush=True)\n"
        "    await asyncio.gather(*(put(b'same %d' % n, message_id='<%d@x>' % n) for n in range(200)),\n"
        "                         *(put(b'%s %d' % (name, n)) for n in range(200)))\n"
        "    await intake.close()\n"
        "asyncio.run(main(Path(sys.argv[1]), sys.argv[2].encode()))\n"
    )
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE.parent}"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "data"), name],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    lines = [
        line.split(None, 2) for child in children for line in child.communicate(timeout=50)[0].splitlines()
    ]
    assert [child.returncode for child in children] == [0, 0]
    assert len(lines) == 800
    ids: dict[str, set[str]] = {}
    for spool_id, _, body in lines:
        ids.setdefault(body, set()).add(spool_id)
    assert len(ids) == 600
    assert all(len(one) == 1 for one in ids.values()), "a mail got two spool ids"
    assert sum(duplicate == "True" for _, duplicate, _ in lines) == 200
    desk = open_desk(build_config(tmp_path / "data"))
    assert desk.counts()[State.QUEUED] == 600
    desk.close()


async def test_sweep_leaves_what_a_living_receiver_is_writing(tmp_path):
    """A deliverer that starts while a mail is being received does not take its file away."""
    config = build_config(tmp_path / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    spool_id = intake.new_id()
    file = intake.open_file(spool_id)
    file.write(b"Received: from x\r\nhalf a mail")
    await outbox.recover(now=NOW)
    file.write(b", and the rest")
    body = b"half a mail, and the rest"
    await intake.put(build_submission(spool_id, body=body, raw=file))
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=1)
    async with outbox.open_raw(entry) as view:
        assert bytes(view).endswith(body)
    await intake.close()
    await outbox.close()


async def test_sweep_takes_what_a_dead_receiver_left_and_nothing_else(tmp_path):
    """Files without an entry go when their maker is dead. Files of a living one stay however old they look,
    since somebody may have set the clock, and their mail is accepted; so do files that are none of ours.
    """
    config = build_config(tmp_path / "data")
    dead = open_intake(config)
    orphan = dead.open_file(dead.new_id())
    orphan.write(b"x")
    await dead.close()
    intake, outbox = open_intake(config), open_outbox(config)
    old_id = intake.new_id()
    young, old = intake.open_file(intake.new_id()), intake.open_file(old_id)
    old.write(b"Received: from x\r\nhalf a mail")
    strange = tmp_path / "data" / "spool" / "raw" / "zz" / "core"
    strange.parent.mkdir()
    strange.write_bytes(b"")
    for path in (old.path, strange):
        os.utime(path, (0, 0))
    await outbox.recover(now=NOW)
    assert raw_files(config.data_dir) == sorted([young.path, old.path, strange])
    await intake.put(build_submission(old_id, body=b"half a mail", raw=old))
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=1)
    async with outbox.open_raw(entry) as view:
        assert bytes(view).endswith(b"half a mail")
    assert len(lock_files(config.data_dir)) == 1
    await intake.close()
    await outbox.close()


async def test_sweep_takes_what_an_expiry_cut_short_left(tmp_path):
    """A file whose rows went just before a crash goes at the next start, though its maker was forgotten long
    ago.
    """
    config = build_config(tmp_path / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    body = b"x" * 300_000
    file = intake.open_file(spool_id := intake.new_id())
    file.write(b"Received: from x\r\n" + body)
    await intake.put(build_submission(spool_id, body=body, raw=file))
    await intake.close()
    await outbox.recover(now=NOW)
    assert lock_files(config.data_dir) == []
    (path,) = raw_files(config.data_dir)
    octets = path.read_bytes()
    desk = open_desk(config)
    assert desk.drop([spool_id], now=NOW).count == 1
    path.write_bytes(octets)  # as if the process had ended between the rows and the file
    await outbox.recover(now=NOW)
    assert raw_files(config.data_dir) == []
    desk.close()
    await outbox.close()
