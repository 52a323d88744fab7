"""The watch over a real spool: what it counts, what it has told, what it gives up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aws_parts
import pytest
from spool_helpers import build_config, build_submission
from structlog.testing import capture_logs

from relay import faults
from relay.alarms import sender as alarms_module
from relay.alarms import watch as watch_module
from relay.alarms.sender import AlarmMemory, AlarmSender
from relay.alarms.watch import Watch
from relay.config.alarms import Alarms
from relay.config.model import Config
from relay.errors import SpoolFullError
from relay.spool.model import Filter, QueueState, State
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.telemetry import metrics
from relay.vocabulary import AlarmKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Told:
    """A sender that keeps what it is told."""

    def __init__(self) -> None:
        self.alarms = []
        self.details = []
        self.is_telling = False

    def tell(self, alarm):
        self.details.append(alarm.detail)
        self.alarms.append((alarm.kind, alarm.raised))

    async def close(self):
        self.closed = True

    def reload(self, alarms, *, hostname):
        self.config = alarms, hostname


@pytest.fixture
async def world(tmp_path):
    config = build_config(tmp_path / "data")
    intake, outbox = open_intake(config), open_outbox(config)
    desk = open_desk(config)
    told = Told()
    clock = SimpleNamespace(now=NOW)

    stops = SimpleNamespace(now=True)

    async def wait(_seconds):
        return stops.now

    def begin(sender=told):
        memory = AlarmMemory(outbox)
        return Watch(
            config=config,
            outbox=outbox,
            desk=desk,
            sender=sender,
            memory=memory,
            now=lambda: clock.now,
            wait=wait,
        )

    watch = begin()

    async def put():
        submission = build_submission(intake.new_id(), at=clock.now)
        return (await intake.put(submission)).spool_id

    def reload(**tables):
        watch.reload(Config(**(config.model_dump() | tables)))

    yield SimpleNamespace(
        watch=watch,
        begin=begin,
        told=told,
        clock=clock,
        put=put,
        outbox=outbox,
        desk=desk,
        config=config,
        reload=reload,
        stops=stops,
    )
    faults.arm_fault("")
    await outbox.close()
    await intake.close()
    desk.close()


async def claim(world):
    (entry,) = await world.outbox.claim(now=world.clock.now, limit=1, lease_seconds=60)
    return entry


async def test_dead_letter_is_told_once(world):
    """A new dead letter raises one alarm and moves the gauge; the next look says nothing."""
    await world.put()
    await world.watch.look()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    await world.watch.look()
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)]
    assert metrics.SPOOL_MESSAGES.labels("dead")._value.get() == 1


@pytest.mark.parametrize("end", ["bury", "hold"])
async def test_one_that_goes_hides_none_that_comes(world, end):
    """A dead letter dropped and another buried between two looks leave the count as it was, and are told;
    held mail, too.
    """
    end = getattr(world.outbox, end)
    spool_id = await world.put()
    await end(await claim(world), reason="r", detail="", now=world.clock.now)
    await world.watch.look()
    world.told.alarms.clear()
    world.desk.drop([spool_id], now=world.clock.now)
    world.clock.now += timedelta(seconds=10)
    await world.put()
    await end(await claim(world), reason="r", detail="", now=world.clock.now)
    await world.begin().run()  # also across a restart
    assert [raised for _, raised in world.told.alarms] == [True]
    await world.begin().run()
    assert len(world.told.alarms) == 1


async def test_dead_letter_that_dies_again_is_told_again(world):
    """`relay queue retry` that comes to nothing within one look is no silence."""
    spool_id = await world.put()
    await world.outbox.bury(await claim(world), reason="r", detail="", now=NOW)
    await world.watch.look()
    world.clock.now += timedelta(seconds=10)
    world.desk.retry([spool_id], now=world.clock.now)
    await world.outbox.bury(await claim(world), reason="r", detail="", now=world.clock.now)
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)] * 2


@pytest.mark.parametrize(("end", "kind"), [("bury", AlarmKind.DEAD_LETTERS), ("hold", AlarmKind.HELD)])
async def test_last_that_goes_ends_the_alarm(world, end, kind):
    """With two of them the first that an operator drops ends nothing, the second ends it."""
    ids = [await world.put() for _ in range(2)]
    for _ in ids:
        await getattr(world.outbox, end)(await claim(world), reason="r", detail="", now=NOW)
    await world.watch.look()
    for spool_id in ids:
        assert world.told.alarms == [(kind, True)]
        world.desk.drop([spool_id], now=NOW)
        await world.watch.look()
    assert world.told.alarms == [(kind, True), (kind, False)]


async def test_fault_of_ours_is_told_for_a_day(world):
    """A mail that defeated us raises an alarm, once, also when it is done meanwhile; a day without another
    ends it.
    """
    await world.put()
    entry = await claim(world)
    await world.outbox.begin_original(entry, reason="exception", detail="KeyError: 'x'", now=NOW)
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.NOT_UNDERSTOOD, True)]
    assert world.told.details == ["1 misunderstood mail; see fault.caught in the log, and report it"]
    await world.outbox.finish(entry, contact_id="c", now=NOW)
    await world.watch.look()
    world.clock.now += timedelta(hours=25)
    await world.watch.look()
    assert world.told.alarms[1:] == [(AlarmKind.NOT_UNDERSTOOD, False)]


async def test_refusal_by_connect_is_no_fault_of_ours(world):
    """A mail that Connect took in no other form wakes nobody: it is a contact."""
    await world.put()
    await world.outbox.begin_original(await claim(world), reason="refused", detail="no", now=NOW)
    await world.watch.look()
    assert world.told.alarms == []


async def test_held_route_is_told_and_its_end(world):
    """A route that is held raises an alarm, and ends it when it delivers again."""
    await world.watch.look()
    await world.outbox.hold_route("desk", reason="connect.AccessDeniedException", detail="", now=NOW)
    await world.watch.look()
    await world.outbox.resume_route("desk")
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.ROUTE_HELD, True), (AlarmKind.ROUTE_HELD, False)]


async def test_room_is_looked_after_between_two_looks(world):
    """Each second, and not each sweep: senders who are put off for want of room come again in minutes."""
    waits = []

    async def wait(seconds):
        waits.append(seconds)
        return len(waits) > 20

    watch = world.begin()
    watch._wait = wait
    rooms = []
    make_room = watch.make_room

    async def counted():
        rooms.append(await make_room())
        return rooms[-1]

    watch.make_room = counted
    await watch.run()
    assert (set(waits), len(rooms)) == ({1.0}, 20)


async def test_full_disk_is_told_at_once(world, tmp_path):
    """The next second tells that the ballast was given up, and that it lies again."""
    await world.outbox.make_room()
    steps = iter([lambda: world.outbox._reserve.release(SpoolFullError()), lambda: None])

    async def wait(_seconds):
        step = next(steps, None)
        if step is not None:
            step()
        return step is None

    watch = world.begin()
    watch._wait = wait
    # What is free is twice its size, so that the same second lays it again; somebody else is quicker here.
    world.outbox._reserve.lay = lambda: False
    await watch.run()
    assert world.told.alarms == [(AlarmKind.DISK_FULL, True)]
    del world.outbox._reserve.lay
    await watch.make_room()
    await watch.look()
    assert world.told.alarms == [(AlarmKind.DISK_FULL, True), (AlarmKind.DISK_FULL, False)]


async def test_sick_spool_is_told_without_any_mail(world):
    """A spool that takes nothing is an alarm at the next look although each question has its answer; and so
    is its end.
    """
    await world.put()
    await world.outbox.bury(await claim(world), reason="r", detail="", now=NOW)
    await world.watch.look()
    world.told.alarms.clear()
    faults.arm_fault("spool.transaction.ready:eio")
    await world.watch.look()
    await world.watch.look()
    assert world.watch.is_sick
    assert metrics.SPOOL_SICK._value.get() == 1
    faults.arm_fault("")
    await world.watch.look()
    assert not world.watch.is_sick
    assert metrics.SPOOL_SICK._value.get() == 0
    assert world.told.alarms == [(AlarmKind.SPOOL_SICK, True), (AlarmKind.SPOOL_SICK, False)]


async def test_sick_spool_is_looked_at_more_often(world, monkeypatch):
    """A person and a load balancer wait for the end of it: five seconds between two looks, not
    alarms.every_seconds.
    """
    waits, looked_at = [], []

    async def wait(seconds):
        waits.append(seconds)
        return len(waits) > 20

    look = world.watch.look

    async def counted():
        looked_at.append(len(waits))
        await look()

    monkeypatch.setattr(world.watch, "_wait", wait)
    monkeypatch.setattr(world.watch, "look", counted)
    faults.arm_fault("spool.transaction.ready:eio")
    await world.watch.run()
    assert looked_at == [0, 5, 10, 15, 20]


async def test_write_that_never_ends_is_told(world, monkeypatch):
    """A disk that hangs is as sick as one that fails, and is asked once: the same write is waited
    for again.
    """
    end, asked = asyncio.Event(), []

    async def hang():
        asked.append(1)
        await end.wait()

    monkeypatch.setattr(world.outbox, "probe", hang)
    monkeypatch.setattr(watch_module, "_PROBE_SECONDS", 0.01)
    await world.watch.look()
    await world.watch.look()
    assert world.watch.is_sick
    assert len(asked) == 1
    end.set()
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.SPOOL_SICK, True), (AlarmKind.SPOOL_SICK, False)]


async def test_full_disk_that_no_look_shows_is_told(world):
    """Where a quota ends, no look at the disk says so: the write that found no room does."""
    faults.arm_fault("spool.transaction.ready:edquot")
    await world.watch.look()
    faults.arm_fault("")
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.DISK_FULL, True), (AlarmKind.DISK_FULL, False)]


async def test_unfit_spool_is_told_with_what_to_do(world, tmp_path):
    """The alarm of a spool that only a person can mend has the sentence for that person, on one line."""
    database = tmp_path / "data" / "spool" / "spool.db"
    database.unlink()
    database.mkdir()
    (tmp_path / "data" / "tally").mkdir()
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.SPOOL_SICK, True)]
    (detail,) = world.told.details
    assert f"{database} is no file; move it away" in detail
    assert "\n" not in detail


async def test_old_mail_is_told(world):
    """Mail that waits for more than an hour raises an alarm; when it is gone, the alarm ends."""
    await world.put()
    await world.watch.look()
    world.clock.now += timedelta(minutes=61)
    await world.watch.look()
    await world.outbox.finish(await claim(world), contact_id="c", now=world.clock.now)
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.OLDEST, True), (AlarmKind.OLDEST, False)]


async def test_mail_that_the_policy_holds_is_not_the_oldest(world):
    """A mail in quarantine for days has an alarm of its own, and a digest; beside it, an old mail of
    another kind raises the alarm of old mail.
    """
    await hold(world, "policy.dmarc.reject")
    world.clock.now += timedelta(minutes=61)
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.POLICY_HELD, True)]
    await world.put()
    world.clock.now += timedelta(minutes=61)
    await world.watch.look()
    assert (AlarmKind.OLDEST, True) in world.told.alarms


async def test_reload_moves_the_limit_of_age(world):
    """Another alarms.oldest_minutes holds from the next look on: for mail that waits already, and for an
    alarm that stands.
    """
    await world.put()
    world.clock.now += timedelta(minutes=30)
    await world.watch.look()
    assert world.told.alarms == []
    world.reload(alarms={"oldest_minutes": 20})
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.OLDEST, True)]
    world.clock.now += timedelta(minutes=1)
    world.reload(alarms={"oldest_minutes": 60})
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.OLDEST, True), (AlarmKind.OLDEST, False)]


async def test_reload_reaches_the_sender_and_the_pace(world, monkeypatch):
    """Whom to tell, as what host, and how often to look, are taken up while the watch runs."""
    waits = []

    async def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            world.reload(hostname="mx2.example.com", alarms={"every_seconds": 0.5})
        return len(waits) == 4

    monkeypatch.setattr(world.watch, "_wait", wait)
    await world.watch.run()
    assert waits == [1.0, 1.0, 0.5, 0.5]
    assert world.told.config == (Alarms(every_seconds=0.5), "mx2.example.com")


async def test_reload_moves_the_last_limit(world):
    """Another deliver.max_hold_hours holds at the next sweep."""
    spool_id = await world.put()
    world.clock.now += timedelta(hours=3)
    world.reload(deliver={"max_hold_hours": 2})
    await world.watch.sweep()
    assert world.desk.select(Filter(ids=(spool_id,)))[0].state is State.DEAD


async def test_a_sweep_ends_with_the_relay(world):
    """A stop does not wait for all finished mail to be removed: the next sweep removes the rest."""
    for _ in range(150):  # more than one step
        await world.put()
    for entry in await world.outbox.claim(now=NOW, limit=150, lease_seconds=60):
        await world.outbox.finish(entry, contact_id="c", now=NOW)
    world.clock.now += timedelta(days=30)
    await world.watch.sweep()  # `wait` says that the relay is to stop
    assert 0 < world.desk.counts()[State.DONE] < 150
    await world.watch.sweep()
    assert world.desk.counts()[State.DONE] == 0


@pytest.mark.slow
async def test_a_sweep_buries_all_old_mail_and_tells_of_each(world):
    """Two hundred held mails past the last limit are dead letters after one sweep, not after some hours."""
    for _ in range(250):
        await world.put()
    for entry in await world.outbox.claim(now=NOW, limit=250, lease_seconds=60):
        await world.outbox.hold(entry, reason="class.bulk", detail="", now=NOW)
    world.clock.now += timedelta(days=40)
    world.stops.now = False
    with capture_logs() as lines:
        await world.watch.sweep()
    assert world.desk.counts()[State.DEAD] == 250
    assert sum(line.get("outcome") == "buried" for line in lines) == 250


async def test_mail_that_leaves_is_told_with_numbers(world):
    """The removal of finished mail is a line at info: how many mails went, and how many remain."""
    for _ in range(3):
        await world.put()
    first, *others = await world.outbox.claim(now=NOW, limit=3, lease_seconds=60)
    await world.outbox.finish(first, contact_id="c", now=NOW)
    world.clock.now += timedelta(days=15)
    for entry in others:
        await world.outbox.renew(entry, lease_seconds=60, now=world.clock.now)
        await world.outbox.finish(entry, contact_id="c", now=world.clock.now)
    with capture_logs() as lines:
        await world.watch.sweep()
        await world.watch.sweep()
    (line,) = [line for line in lines if line["event"] == "spool.expired"]
    assert (line["log_level"], line["mails"], line["left"], line["early"]) == ("info", 1, 2, False)


async def test_restart_wakes_nobody_twice(world):
    """What was told before a restart is counted after it, not told again."""
    await world.put()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    await world.outbox.hold_route("desk", reason="connect.AccessDeniedException", detail="", now=NOW)
    await world.watch.run()
    told = world.told.alarms.copy()
    assert told == [(AlarmKind.DEAD_LETTERS, True), (AlarmKind.ROUTE_HELD, True)]
    await world.begin().run()
    assert world.told.alarms == told


async def test_restart_swallows_no_alarm(world):
    """What came about after the last look before a restart is told after it."""
    await world.put()
    await world.watch.run()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    await world.begin().run()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)]


async def test_memory_that_is_spoiled_is_none(world, tmp_path):
    """A file that holds no state tells everything again."""
    (tmp_path / "data" / "standing.json").write_bytes(b"\xff[")
    await world.put()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    await world.begin().run()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)]


async def test_what_waits_to_be_told_outlasts_a_restart(world):
    """An alarm that nobody has taken before a stop is told after it; one that was taken meanwhile is not."""
    await world.put()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    world.told.is_telling = True
    await world.begin().run()
    await world.begin().run()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)] * 2
    steps = iter([False, False, True])

    async def wait(_seconds):
        world.told.is_telling = False
        return next(steps)

    watch = world.begin()
    watch._wait = wait
    await watch.run()
    await world.begin().run()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)] * 3


async def test_last_try_is_waited_for(world):
    """What a stop's last try has told is not told again."""
    await world.put()
    await world.outbox.bury(await claim(world), reason="payload_refused", detail="", now=NOW)
    world.told.is_telling = True

    async def close():
        world.told.is_telling = False

    world.told.close = close
    await world.begin().run()
    await world.begin().run()
    assert world.told.alarms == [(AlarmKind.DEAD_LETTERS, True)]


async def test_way_out_that_hangs_holds_up_no_look(world, monkeypatch):
    """While a webhook never answers, the watch goes on to look; its end waits for one time-out, however many
    routes are held.
    """
    monkeypatch.setattr(alarms_module, "_SECONDS", 0.5)
    for route in ("a", "b", "c"):
        await world.outbox.hold_route(route, reason="connect.AccessDeniedException", detail="", now=NOW)

    async def hang(reader, _writer, _number):
        await reader.read()

    async with aws_parts.Peer(hang) as peer:
        sender = AlarmSender(Alarms(webhook=peer.url), hostname="mx.test", now=lambda: NOW)
        watch = world.begin(sender)
        began = asyncio.get_running_loop().time()
        await watch.look()
        assert asyncio.get_running_loop().time() - began < 0.4
        assert sender.is_telling
        await watch.run()
        assert asyncio.get_running_loop().time() - began < 4


async def test_nothing_waits_for_ever(world):
    """Held mail becomes a dead letter after deliver.max_hold_hours, and not before."""
    spool_id = await world.put()
    await world.outbox.hold(await claim(world), reason="class.bulk", detail="", now=NOW)
    world.clock.now += timedelta(hours=719)
    await world.watch.sweep()
    assert world.desk.select(Filter(ids=(spool_id,)))[0].state is State.HELD
    world.clock.now += timedelta(hours=2)
    await world.watch.sweep()
    (entry,) = world.desk.select(Filter(ids=(spool_id,)))
    assert (entry.state, entry.reason) == (State.DEAD, "too_old")


async def hold(world, reason):
    """A mail that is held for this reason, now. Returns its spool id."""
    spool_id = await world.put()
    await world.outbox.hold(await claim(world), reason=reason, detail="", now=world.clock.now)
    return spool_id


def told_of(world, kind):
    """The sentences of one kind, each with whether it was raised."""
    both = zip(world.told.alarms, world.told.details, strict=True)
    return [(raised, detail) for (of, raised), detail in both if of is kind]


async def test_policy_that_holds_all_day_is_told_once_an_hour(world):
    """The first mail that a rule holds is told at once; those of the next hour are told together, also across
    a restart, and the end once.
    """
    ids = []
    for minutes in (0, 1, 20, 39, 1):
        world.clock.now += timedelta(minutes=minutes)
        ids.append(await hold(world, "policy.dmarc_fail"))
        await world.begin().run()
        await world.begin().run()
    world.clock.now += timedelta(hours=1)
    await world.begin().run()
    world.desk.release(ids, now=world.clock.now)
    await world.begin().run()
    await world.begin().run()
    assert told_of(world, AlarmKind.POLICY_HELD) == [
        (True, "1 held mail; see relay queue list --state held"),
        (True, "4 held mails; see relay queue list --state held"),
        (True, "5 held mails; see relay queue list --state held"),
        (False, "no held mail is left"),
    ]
    assert not told_of(world, AlarmKind.HELD)


@pytest.mark.parametrize("reason", ["class.bulk", "policy.list:press"])
async def test_fault_is_not_hidden_by_what_the_policy_holds(world, reason):
    """Among mail that rules hold, one that a damaged spool holds is told at once, and as an error."""
    await hold(world, reason)
    await world.watch.look()
    world.clock.now += timedelta(seconds=15)
    await hold(world, "spool_corrupt")
    world.clock.now += timedelta(seconds=1)
    await hold(world, reason)
    await world.watch.look()
    assert world.told.alarms == [(AlarmKind.POLICY_HELD, True), (AlarmKind.HELD, True)]


async def test_fault_behind_many_holds_is_found(world, monkeypatch):
    """A look reads so many holds; the next goes on behind them, and passes over none."""
    monkeypatch.setattr("relay.alarms.watch.HOLDS_PER_LOOK", 2)
    for reason in ("policy.a", "policy.a", "policy.a", "spool_corrupt", "policy.a"):
        world.clock.now += timedelta(seconds=1)
        await hold(world, reason)
    found = []
    for _ in range(4):
        await world.watch.look()
        found.append(list(world.told.alarms))
        world.told.alarms.clear()
    assert found == [[(AlarmKind.POLICY_HELD, True)], [(AlarmKind.HELD, True)], [], []]


async def test_digest_comes_once_a_day(world):
    """A day after the first hold, and each day from then on, a digest says how many mails are held, how old
    they are, why, which are the ten oldest, until when, and how to release them.
    """
    world.reload(deliver={**world.config.deliver.model_dump(), "max_hold_hours": 240})
    ids = [await hold(world, "policy.dmarc_fail") for _ in range(11)]
    ids.append(await hold(world, "class.bulk"))
    await world.watch.look()
    for hours in (23, 1, 1, 23):
        world.clock.now += timedelta(hours=hours)
        await world.watch.look()
    first, *digests = [detail for _, detail in told_of(world, AlarmKind.POLICY_HELD)]
    assert "\n" not in first
    assert [digest.split("\n")[0] for digest in digests] == [
        "12 held mails, the oldest for 1.0 days",
        "12 held mails, the oldest for 2.0 days",
    ]
    lines = digests[0].split("\n")
    assert lines[1] == "reasons: policy.dmarc_fail 11, class.bulk 1"
    assert [line.partition(".")[0] for line in lines[2:12]] == ids[:10]
    assert lines[12] == "the oldest becomes a dead letter in 9.0 days (deliver.max_hold_hours)"
    assert "relay queue release" in lines[13]


@pytest.mark.parametrize("seen", [float("nan"), float("-inf"), -1e300, 1e300])
async def test_damaged_memory_keeps_no_look_from_the_holds(world, seen):
    """An instant that is none, in the file of what was told, does not end the watch."""
    await hold(world, "policy.a")
    await AlarmMemory(world.outbox).save(QueueState(held_seen=seen))
    await world.begin().run()
    assert (AlarmKind.POLICY_HELD, True) in world.told.alarms or seen == 1e300
