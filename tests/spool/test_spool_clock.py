"""The spool's clock: steps of the wall clock, restarts of the machine, copies, and what they do to mail."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from spool_helpers import build_config, build_submission, claim_one, tables_of

from relay.alarms.sender import AlarmMemory
from relay.alarms.watch import Watch
from relay.spool import clock as rules
from relay.spool.clock import HOUR, tell_step
from relay.spool.local.database import query
from relay.spool.model import Filter, State
from relay.spool.opening import find_clock_step, open_desk, open_intake, open_outbox
from relay.timing import Clocks
from relay.vocabulary import AlarmKind

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Those of issue and field: an hour, a day, ten and a hundred days, a dead battery, the end of 32 bits.
STEPS = [
    timedelta(hours=1, minutes=1),
    timedelta(hours=-1, minutes=-1),
    timedelta(days=1),
    timedelta(days=-1),
    timedelta(days=10),
    timedelta(days=100),
    timedelta(days=-10),
    EPOCH - NOON,
    datetime(2038, 1, 20, tzinfo=UTC) - NOON,
    datetime(2110, 1, 1, tzinfo=UTC) - NOON,
]


class Machine:
    """A machine whose clocks the test moves: time passes, somebody sets the wall clock, it starts again."""

    def __init__(self) -> None:
        self.time = NOON
        self.was_set = timedelta()
        self.started = NOON - timedelta(days=3)
        self.starts = 1

    def passes(self, **span: float) -> None:
        self.time += timedelta(**span)

    def set(self, step: timedelta) -> None:
        self.was_set += step

    def starts_again(self, *, off: timedelta, wall: datetime | None = None) -> None:
        """It is off for a while, and comes back with what its battery says."""
        self.time += off
        self.started = self.time
        self.starts += 1
        if wall is not None:
            self.was_set = wall - self.time

    @property
    def clocks(self) -> Clocks:
        return Clocks(
            wall=lambda: (self.time + self.was_set - EPOCH) // timedelta(microseconds=1),
            passed=lambda: (self.time - self.started) // timedelta(microseconds=1),
            boot=lambda: f"start {self.starts}",
        )


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
async def world(tmp_path, machine):
    """A way to open the spool in both its halves, as often as one likes."""
    config = build_config(tmp_path / "data", retain_days=14, max_age_hours=96)
    opened = []

    class World:
        def __init__(self) -> None:
            self.config = config

        def open(self):
            self.outbox = open_outbox(config, clocks=machine.clocks)
            self.intake = open_intake(config, clocks=machine.clocks)
            self.desk = open_desk(config, clocks=machine.clocks)
            opened.extend([self.outbox, self.intake])
            return self

        async def close(self):
            self.desk.close()
            await self.intake.close()
            await self.outbox.close()

        async def put(self, **mail):
            submission = build_submission(self.intake.new_id(), at=NOON, **mail)
            return await self.intake.put(submission._replace(arrived_at=self.intake.now()))

        def shown(self, spool_id):
            (entry,) = self.desk.select(Filter(ids=(spool_id,)))
            return entry

    world = World().open()
    yield world
    await world.close()
    for one in opened:
        await one.close()


async def sweep(world) -> tuple[int, int]:
    """What a sweep gives up and removes by the limits of the configuration."""
    now = world.outbox.now()
    limit = timedelta(hours=world.config.deliver.max_hold_hours)
    aged = await world.outbox.bury_aged(accepted_before=now - limit, reason="too_old", detail="", now=now)
    return len(aged.entries), await world.outbox.expire(now=now)


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("way", ["running", "stopped", "restored"])
async def test_step_of_the_wall_clock_ages_nothing(world, machine, tmp_path, step, way):
    """Mail that waits or is held, finished mail and the ledger keep their age when the clock is set while a
    daemon runs, while none does, and before a copy of the spool comes back; no step goes without doubt.
    """
    waiting, done = await world.put(), await world.put()
    doubtful = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.begin_sending(doubtful, token="t", now=world.outbox.now())
    other = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.finish(other, contact_id="c", now=world.outbox.now())
    held = await world.put()
    world.desk.hold([held.spool_id], now=NOON)
    await world.outbox.hold_route("sales", reason="r", detail="", now=world.outbox.now())
    await world.outbox.look_at_clock()
    machine.passes(minutes=1)
    if way != "running":
        await world.close()
        if way == "restored":
            shutil.copytree(world.config.data_dir, tmp_path / "copy")
    machine.set(step)
    machine.passes(minutes=1)
    if way == "restored":
        shutil.rmtree(world.config.data_dir)
        shutil.move(tmp_path / "copy", world.config.data_dir)
    if way != "running":
        world.open()
    assert world.outbox.now() == world.intake.now() == world.desk.now() == NOON + timedelta(minutes=2)
    assert await sweep(world) == (0, 0)
    assert world.desk.remembered(done.spool_id)
    assert world.shown(held.spool_id).state is State.HELD
    assert [hold.since for hold in world.desk.paused().holds] == [NOON]
    assert world.outbox.is_clock_doubted()
    assert await world.outbox.look_at_clock() == world.desk.clock_step_seconds() == step.total_seconds()
    # under the same lease, and no doubt is older than it is
    await world.outbox.defer(doubtful, until=NOON, reason="r", detail="", now=world.outbox.now())
    assert world.shown(waiting.spool_id).in_doubt_since == NOON
    again = await world.put(body=b"once")
    machine.set(-step)
    assert (await world.put(body=b"once")).spool_id == again.spool_id
    assert await world.outbox.look_at_clock() == 1.0  # back, and doubted until it has stood


@pytest.mark.parametrize("step", [timedelta(days=10), timedelta(days=-10)], ids=str)
async def test_doubt_ends_when_the_clock_has_stood(world, machine, step):
    """A clock that was set is trusted after an hour, and not before; each further step begins the hour
    anew.
    """
    machine.set(step)
    assert await world.outbox.look_at_clock()
    machine.passes(minutes=40)
    machine.set(timedelta(minutes=2))
    assert await world.outbox.look_at_clock()
    machine.passes(minutes=59)
    assert await world.outbox.look_at_clock()
    assert world.outbox.is_clock_doubted()
    machine.passes(minutes=1)
    assert await world.outbox.look_at_clock() == 0.0
    assert not world.outbox.is_clock_doubted()


async def test_person_ends_the_doubt(world, machine):
    """`relay resume clock` trusts the wall clock as it is set now; a step after that is doubted again."""
    assert not world.desk.resume("clock")
    machine.set(timedelta(days=100))
    assert world.desk.resume("clock")
    assert await world.outbox.look_at_clock() == world.desk.clock_step_seconds() == 0.0
    machine.set(timedelta(days=-100))
    assert world.outbox.is_clock_doubted()


async def test_slewed_clock_is_not_doubted(world, machine):
    """A clock that NTP slews by half a second in a minute is never doubted, however far it comes in days."""
    for _ in range(3 * 24 * 60 // 10):
        machine.passes(minutes=10)
        machine.set(timedelta(seconds=5))
        assert await world.outbox.look_at_clock() == 0.0


async def test_small_steps_add_up_to_a_doubt(world, machine):
    """A clock that is set by ten minutes each minute is doubted as one that is set by hours at once."""
    for _ in range(7):
        machine.set(timedelta(minutes=10))
        machine.passes(minutes=1)
        await world.outbox.look_at_clock()
    assert world.outbox.is_clock_doubted()


@pytest.mark.parametrize("off", [timedelta(minutes=5), timedelta(minutes=59)], ids=str)
async def test_short_restart_of_the_machine_counts(world, machine, off):
    """A machine that was off for less than an hour was off for as long as its wall clock says."""
    await world.outbox.look_at_clock()
    await world.close()
    machine.starts_again(off=off)
    world.open()
    assert world.outbox.now() == NOON + off
    assert not world.outbox.is_clock_doubted()


async def test_long_restart_of_the_machine_counts_an_hour(world, machine):
    """A machine that was off for a month gives up and removes nothing at its start; time goes on then."""
    done = await world.put()
    entry = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.finish(entry, contact_id="c", now=world.outbox.now())
    await world.outbox.look_at_clock()
    await world.close()
    machine.starts_again(off=timedelta(days=30))
    world.open()
    assert world.outbox.now() == NOON + timedelta(hours=1)
    assert world.outbox.is_clock_doubted()
    assert world.shown(done.spool_id).updated_at == NOON  # as the wall clock showed it then
    assert await sweep(world) == (0, 0)
    machine.passes(days=14)
    await world.outbox.look_at_clock()
    assert await sweep(world) == (0, 1)


async def test_two_starts_with_a_dead_battery(world, machine):
    """A machine that comes back in 1970 twice, until NTP sets it, loses no mail, and knows in the end how old
    a doubtful request is.
    """
    receipt = await world.put()
    entry = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.begin_sending(entry, token="t", now=world.outbox.now())
    await world.outbox.look_at_clock()
    for _ in range(2):
        await world.close()
        machine.starts_again(off=timedelta(days=2), wall=EPOCH)
        world.open()
        machine.passes(minutes=10)
        assert await world.outbox.look_at_clock() < 0
        assert await sweep(world) == (0, 0)
    assert world.outbox.now() == NOON + timedelta(minutes=20)
    machine.set(machine.time - (EPOCH + timedelta(minutes=10)))
    await world.outbox.look_at_clock()
    assert world.outbox.is_clock_doubted()
    await world.outbox.recover(now=world.outbox.now())
    again = await claim_one(world.outbox, now=world.outbox.now())
    assert again.spool_id == receipt.spool_id
    doubt = world.outbox.now() - again.in_doubt_since
    assert doubt == timedelta(days=4, minutes=20)


async def test_wrong_battery_makes_no_doubt_old_for_good(world, machine):
    """A battery that is ten days ahead makes doubts ten days old, and NTP makes them young again."""
    await world.put()
    entry = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.begin_sending(entry, token="t", now=world.outbox.now())
    await world.outbox.look_at_clock()
    await world.close()
    machine.starts_again(off=timedelta(minutes=1), wall=NOON + timedelta(days=10))
    world.open()

    def doubt() -> timedelta:
        with tables_of(world.config.data_dir) as tables:
            ((since,),) = query(tables, "SELECT in_doubt_since FROM entries")
        return world.outbox.now() - (EPOCH + timedelta(microseconds=since))

    assert doubt() == timedelta(days=10)
    machine.was_set = timedelta()
    await world.outbox.look_at_clock()
    assert doubt() == timedelta(hours=1)  # counted: it cannot be taken back


async def test_ids_go_on_when_the_clock_is_set_back(world, machine):
    """Spool ids sort as mails come, over a step back and a restart."""
    first = world.intake.new_id()
    machine.set(timedelta(days=-10))
    await world.close()
    machine.passes(minutes=1)
    world.open()
    assert first < world.intake.new_id()


async def test_commands_speak_of_the_wall_clock(world, machine):
    """What is shown is what the wall clock showed; what a person says is meant by the clock as it is now."""
    machine.set(timedelta(days=10))
    await world.outbox.look_at_clock()
    receipt = await world.put()
    wall = NOON + timedelta(days=10)
    assert world.shown(receipt.spool_id).accepted_at == wall
    world.desk.hold([receipt.spool_id], now=wall)
    assert world.shown(receipt.spool_id).state is State.HELD
    assert [event.at for event in world.desk.history(world.shown(receipt.spool_id))] == [wall]
    machine.passes(minutes=5)
    older = Filter(older_than=wall + timedelta(minutes=1)), Filter(older_than=wall)
    assert [len(world.desk.select(one)) for one in older] == [1, 0]
    assert [world.desk.tally(one)[State.HELD] for one in older] == [1, 0]
    assert world.desk.oldest_at() == NOON


@pytest.mark.parametrize("step", STEPS)
async def test_ages_that_are_shown_are_the_time_that_passed(world, machine, step):
    """An age, the time of a hold and of the next attempt are right after a step that nobody takes back."""
    receipt = await world.put()
    entry = await claim_one(world.outbox, now=world.outbox.now())
    await world.outbox.hold_route("support", reason="connect.access", detail="", now=world.outbox.now())
    due_at = world.outbox.now() + timedelta(minutes=30)
    await world.outbox.defer(entry, until=due_at, reason="connect.busy", detail="", now=world.outbox.now())
    machine.passes(minutes=5)
    machine.set(step)
    for told in (False, True):
        if told:  # a look has kept the step
            await world.outbox.look_at_clock()
        machine.passes(minutes=5)
        wall = EPOCH + timedelta(microseconds=machine.clocks.wall())
        (hold,) = world.desk.paused().holds
        minutes = 10 if told else 5
        shown = world.shown(receipt.spool_id)
        for span in (
            shown.age(wall),
            hold.lasts(wall),
            timedelta(minutes=30) - (shown.next_attempt_at - wall),
        ):
            assert abs(span - timedelta(minutes=5 + minutes)) < timedelta(seconds=2)


async def test_check_and_watch_tell_of_the_step(world, machine):
    """`relay check` warns, one alarm is raised and one ends it, and a sweep meanwhile removes nothing."""
    await world.put()
    await world.outbox.finish(
        await claim_one(world.outbox, now=world.outbox.now()), contact_id="c", now=world.outbox.now()
    )
    told = []

    class Sender:
        is_telling = False

        def tell(self, alarm):
            told.append((alarm.kind, alarm.raised))

    async def goes_on(_seconds):
        return False

    watch = Watch(
        config=world.config,
        outbox=world.outbox,
        desk=world.desk,
        sender=Sender(),
        memory=AlarmMemory(world.outbox),
        now=world.outbox.now,
        wait=goes_on,
    )
    await watch.look()
    assert find_clock_step(world.config, clocks=machine.clocks) == 0.0
    machine.passes(days=15)
    machine.set(timedelta(days=-10))
    await watch.look()
    await watch.look()
    assert find_clock_step(world.config, clocks=machine.clocks) == -864_000.0
    await watch.sweep()
    assert world.desk.counts()[State.DONE] == 1
    world.desk.resume("clock")
    await watch.look()
    await watch.sweep()
    assert world.desk.counts()[State.DONE] == 0
    assert told == [(AlarmKind.CLOCK, True), (AlarmKind.CLOCK, False)]


def test_steady_clock_of_another_machine_is_not_believed():
    """A clock that shows less than at the last look is another one, also where a system names no start."""
    state = rules.begin(boot="", passed=5_000, wall=1_000_000)
    assert rules.is_same_start(state, boot="", passed=5_000)
    assert not rules.is_same_start(state, boot="", passed=4_999)
    assert rules.is_same_start(state, boot="a start", passed=5_000)
    named = replace(state, boot="a start")
    assert rules.is_same_start(named, boot="", passed=5_000)
    assert not rules.is_same_start(named, boot="another", passed=5_000)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (864_000.0, "forward by 10.0 days, or the machine was off"),
        (-4_000.0, "back by 1.1 hours: no mail"),
        (1.0, "more than an hour, and back"),
    ],
)
def test_step_is_told(seconds, words):
    """An operator reads by how much the clock was set, and what waits for it."""
    assert words in tell_step(seconds)
    assert HOUR == 3_600_000_000
