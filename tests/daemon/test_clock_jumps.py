"""Somebody sets the clock under the real daemon: nothing is given up, removed, sent twice or delayed."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import timedelta

import pytest
from harness import Daemon, build_mail, send, subjects, until
from sandboxes import fast_settings
from spool_helpers import tables_of
from wall_clock import WallClock

from relay.sandbox.service import running_sandbox
from relay.spool.model import State

#: A jump has four sweeps and up to five starts; beside seven other programs that takes a minute.
pytestmark = [pytest.mark.needs("cc", "gcc"), pytest.mark.timeout(300)]

STEPS = {
    "an-hour-on": timedelta(hours=1, minutes=1),
    "an-hour-back": timedelta(hours=-1, minutes=-1),
    "a-day-on": timedelta(days=1),
    "a-day-back": timedelta(days=-1),
    "ten-days-on": timedelta(days=10),
    "a-hundred-days-on": timedelta(days=100),
    "ten-days-back": timedelta(days=-10),
}
WAYS = ("running", "stopped", "restored")
EXTRA = """
[alarms]
every_seconds = 0.05
"""
MAILS = 5


class World:
    """A daemon and its AWS on one machine, whose wall clock the test sets."""

    def __init__(self, tmp_path, daemon, box, wall) -> None:
        self.daemon, self.box, self.wall = daemon, box, wall
        self._copy = tmp_path / "copy"

    def send(self, *names) -> None:
        for name in names:
            send(self.daemon.port, build_mail(name))

    def arrived(self) -> list[str]:
        """The subjects of all contacts, in the order of the alphabet."""
        return sorted(subjects(self.box.contacts()))

    def states(self) -> dict[str, int]:
        """The number of entries in each state that has any."""
        with tables_of(self.daemon.data_dir) as tables:
            counts = dict(tables.execute("SELECT name, value FROM totals"))
        return {state: counts[state] for state in State if counts[state]}

    def looks(self) -> int:
        """The number of writes with which looks have tried the disk."""
        with tables_of(self.daemon.data_dir) as tables:
            return tables.execute("SELECT value FROM totals WHERE name = 'probes'").get or 0

    def sweeps(self) -> None:
        """Wait until the watch has had a sweep: it comes with each twentieth look."""
        begun = self.looks()
        until(lambda: self.looks() > begun + 40)

    def jump(self, way, step) -> None:
        """Set the clock: while the daemon runs, while none does, or before a copy of the spool comes back."""
        if way == "running":
            self.wall.set(step)
            return
        assert self.daemon.stop() == 0
        if way == "restored":
            shutil.copytree(self.daemon.data_dir, self._copy)
        self.wall.set(step)
        if way == "restored":
            shutil.rmtree(self.daemon.data_dir)
            shutil.move(self._copy, self.daemon.data_dir)
        self.daemon.start()

    def told(self, event) -> int:
        return sum(line.get("event") == event and line.get("kind") == "clock" for line in self.daemon.events)


@contextmanager
def machine(tmp_path, *, aws_too=True):
    """Such a machine; AWS has its own clock unless it stands on it, too."""
    wall = WallClock(tmp_path)
    clock = {"now": wall.now} if aws_too else {}
    with running_sandbox(settings=fast_settings(), seed=1, **clock) as box:
        env = {**box.environ(), **wall.env}
        with Daemon(tmp_path, env=env, extra=EXTRA) as daemon:
            yield World(tmp_path, daemon.start(), box, wall)


def check_jump(world, way, step, *, for_good) -> None:
    """The whole of it: finished, held and waiting mail, a jump and perhaps its end, and then all goes on."""
    world.send("done 1", "done 2")
    until(lambda: world.arrived() == ["Mail done 1", "Mail done 2"])
    twice = build_mail("again")
    send(world.daemon.port, twice)
    until(lambda: len(world.arrived()) == 3)
    world.box.chaos({"connect": {"error": 1.0}})
    waiting = [f"waits {number}" for number in range(MAILS)]
    world.send(*waiting)
    until(lambda: [line.get("outcome") for line in world.daemon.events].count("deferred") >= MAILS)
    world.jump(way, step)
    until(lambda: world.told("alarm.raised"))
    world.sweeps()
    if not for_good:
        world.jump(way, timedelta())
        world.sweeps()
    assert sum(world.states().values()) == MAILS + 3
    assert not {"held", "dead"} & world.states().keys()
    world.send("comes later")
    world.box.chaos({})
    # An outage of ours may be told meanwhile: its probes, and the longest backoff, take 2 s each.
    until(lambda: len(world.arrived()) == MAILS + 4, seconds=20)
    send(world.daemon.port, twice)
    world.sweeps()
    expected = ["again", "comes later", "done 1", "done 2", *waiting]
    assert world.arrived() == sorted(f"Mail {name}" for name in expected)
    assert world.states() == {"done": MAILS + 4}
    found = world.daemon.run("check", "--offline").stdout
    assert "wall clock" in found
    status, page = world.daemon.ask("readyz")
    assert (status, page.startswith("ok\ndeliverer: the wall clock was set")) == (200, True)
    assert world.daemon.run("resume", "clock").returncode == 0
    until(lambda: world.told("alarm.ended"))
    assert "wall clock" not in world.daemon.run("check", "--offline").stdout
    until(lambda: world.daemon.ask("readyz") == (200, "ok\n"))
    world.sweeps()
    assert world.states() == {"done": MAILS + 4}


@pytest.mark.process
def test_jump_of_a_hundred_days_for_a_while(tmp_path):
    """A clock that was wrong for some seconds costs nothing, and is told."""
    with machine(tmp_path) as world:
        check_jump(world, "running", timedelta(days=100), for_good=False)


@pytest.mark.long
@pytest.mark.parametrize("for_good", [False, True], ids=["for-a-while", "for-good"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_jump(tmp_path, step, way, for_good):
    """Each jump of either direction, under each state of the daemon."""
    with machine(tmp_path) as world:
        check_jump(world, way, step, for_good=for_good)


@pytest.mark.long
@pytest.mark.parametrize("step", [timedelta(days=10), timedelta(days=-10)], ids=["on", "back"])
def test_wrong_clock_before_a_right_aws(tmp_path, step):
    """AWS refuses what a wrong clock signs: mail waits, and goes out within seconds after the clock is set
    right.
    """
    with machine(tmp_path, aws_too=False) as world:
        world.send("before")
        until(lambda: world.arrived() == ["Mail before"])
        world.wall.set(step)
        world.send("meanwhile")
        until(lambda: {"delivery.attempted", "route.held"} <= {e.get("event") for e in world.daemon.events})
        world.sweeps()
        assert world.states() in ({"done": 1, state: 1} for state in ("queued", "leased"))
        world.wall.set(timedelta())
        until(lambda: world.arrived() == ["Mail before", "Mail meanwhile"], seconds=20)


@pytest.mark.long
@pytest.mark.parametrize("step", [timedelta(days=10), timedelta(days=-10)], ids=["on", "back"])
def test_jump_while_a_claim_is_in_flight(tmp_path, step):
    """A delivery that is under way when the clock is set is the only one of its mail."""
    with machine(tmp_path) as world:
        world.box.chaos({"connect": {"latency_seconds": 6}})
        world.send("slow")
        until(lambda: world.states() == {"leased": 1})
        world.wall.set(step)
        world.send("next")
        until(lambda: len(world.arrived()) == 2, seconds=40)
        until(lambda: world.states() == {"done": 2})
        with tables_of(world.daemon.data_dir) as tables:
            assert tables.execute("SELECT max(attempts) FROM entries").get == 1


@pytest.mark.long
def test_years_that_need_more_than_32_bits(tmp_path):
    """A clock in 1970, in 2039 and in 2107 takes mail and delivers it."""
    with machine(tmp_path) as world:
        for number, year in enumerate((1971, 2039, 2107)):
            world.wall.set(timedelta(days=365.25 * (year - 2026)))
            world.send(str(number))
            until(lambda number=number: len(world.arrived()) == number + 1, seconds=40)
        assert world.daemon.stop() == 0
        world.daemon.start()
        world.sweeps()
        assert world.states() == {"done": 3}
