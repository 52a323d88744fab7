"""The runner over a real spool: what each outcome does to an entry, and what never loses one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from delivery.doubles import Clock, running_runner, until
from spool_helpers import SHOWN, build_config, build_destination, build_submission

from relay import telemetry
from relay.delivery.outcome import Delivered, Dropped, Failed, Held, Postponed
from relay.errors import FailureClass, RemoteError, SpoolCorruptError, SpoolSickError
from relay.spool.model import Entry, Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.spool.page import EntryQuery
from relay.telemetry import metrics
from relay.understand.pool import LANE_PLACES
from relay.vocabulary import Rung


def refusal(failure: FailureClass, code: str = "Word") -> RemoteError:
    return RemoteError(service="connect", failure=failure, code=code, detail="why")


class Script:
    """A delivery that answers what it is told to, and keeps what it was asked."""

    aside = 0

    def __init__(self, answer: Callable[[Entry], object]) -> None:
        self.answer = answer
        self.asked: list[Entry] = []

    async def deliver(self, entry):
        self.asked.append(entry)
        answer = self.answer(entry)
        if isinstance(answer, RemoteError):
            return Failed(error=answer, entry=entry)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def config(tmp_path):
    return build_config(
        tmp_path / "data",
        deliver={"backoff_min_seconds": 10, "probe_seconds": 60, "max_attempts_cut_short": 3},
    )


@pytest.fixture
async def world(config):
    """The spool from both sides, a clock, and a way to run a delivery until a condition holds."""
    clock = Clock()
    machine = clock.machine()
    intake, outbox = open_intake(config, clocks=machine), open_outbox(config, clocks=machine)
    desk = open_desk(config, clocks=machine)

    async def put(route="support", *, address=None):
        destination = build_destination(address or f"{route}@example.com", route=route)
        submission = build_submission(intake.new_id(), destinations=(destination,), at=clock.now)
        return (await intake.put(submission)).spool_id

    def entry(spool_id):
        (found,) = desk.select(Filter(ids=(spool_id,)))
        return found

    def running(script):
        return running_runner(outbox, script, config.deliver, now=clock, steady=clock.steady, wall=clock.wall)

    async def run(script, condition, *, seconds=10):
        async with running(script):
            await until(condition, seconds=seconds)

    yield SimpleNamespace(
        put=put, entry=entry, run=run, running=running, clock=clock, outbox=outbox, intake=intake, desk=desk
    )
    await outbox.close()
    await intake.close()
    desk.close()


def delivered(entry):
    return Delivered(contact_id=f"contact-of-{entry.spool_id}", entry=entry)


async def test_delivered_is_done(world):
    """An entry that was delivered is done, with its contact id, after one attempt."""
    spool_id = await world.put()
    await world.run(Script(delivered), lambda: world.entry(spool_id).state is State.DONE)
    entry = world.entry(spool_id)
    assert (entry.contact_id, entry.attempts) == (f"contact-of-{spool_id}", 1)


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (
            refusal(FailureClass.PAYLOAD, "InvalidRequestException"),
            State.DEAD,
            "connect.InvalidRequestException",
        ),
        (refusal(FailureClass.CONFLICT), State.HELD, "connect.conflict_unexplained"),
        (refusal(FailureClass.TEMPORARY, "timeout"), State.QUEUED, "connect.timeout"),
        (refusal(FailureClass.THROTTLED), State.QUEUED, "connect.Word"),
        (refusal(FailureClass.CAPACITY), State.QUEUED, "connect.Word"),
        (refusal(FailureClass.CONFIGURATION), State.QUEUED, "connect.Word"),
        (Held(reason="class.bulk", detail="policy"), State.HELD, "class.bulk"),
        (Dropped(reason="class.bulk", detail="policy"), State.DONE, "class.bulk"),
        (SpoolCorruptError("bit rot"), State.HELD, "spool_corrupt"),
        (RuntimeError("a fault of ours"), State.QUEUED, "relay.fault"),
    ],
)
async def test_outcome_becomes_state(world, answer, state, reason):
    """Each outcome leaves the entry in the state that the error table gives it, with its reason."""
    spool_id = await world.put()
    await world.run(Script(lambda _: answer), lambda: world.entry(spool_id).reason == reason)
    assert world.entry(spool_id).state is state


@pytest.mark.parametrize(
    "outcome",
    [
        lambda entry: Delivered(contact_id="c", entry=entry, shown=SHOWN),
        lambda _: Held(reason="class.bulk", detail="", shown=SHOWN),
        lambda _: Dropped(reason="class.bulk", detail="", shown=SHOWN),
        lambda entry: Failed(error=refusal(FailureClass.PAYLOAD), entry=entry, shown=SHOWN),
        lambda entry: Failed(error=refusal(FailureClass.TEMPORARY), entry=entry, shown=SHOWN),
        lambda entry: Failed(error=refusal(FailureClass.CONFIGURATION), entry=entry, shown=SHOWN),
        lambda entry: Failed(error=refusal(FailureClass.CONFLICT), entry=entry, shown=SHOWN),
        lambda entry: Failed(
            error=refusal(FailureClass.CONFLICT), entry=replace(entry, sent=True), shown=SHOWN
        ),
    ],
    ids=["done", "held", "dropped", "dead", "deferred", "route held", "conflict", "already there"],
)
async def test_each_outcome_keeps_what_it_shows(world, outcome):
    """What an attempt tells the page is written with its outcome, whichever that is."""
    spool_id = await world.put()
    await world.run(Script(outcome), lambda: world.desk.listed([spool_id])[0].shown != b"")
    (row,) = world.desk.page(EntryQuery(words=("subject", "some"), classification="human")).rows
    assert (row.entry.spool_id, row.shown) == (spool_id, SHOWN.document)


async def test_a_full_disk_takes_outcomes_alone(world, config, monkeypatch):
    """While the reserve is released an entry ends as ever, and nothing is written for the page."""
    await world.outbox.make_room()  # the reserve is there
    spool_id = await world.put()
    for piece in (config.data_dir / "spool" / "ballast").iterdir():
        piece.unlink()
    # A reserve as large as the disk: there is no room for it.
    monkeypatch.setattr("relay.spool.local.room._MOST_BYTES", 1 << 60)
    monkeypatch.setattr("relay.spool.local.room._SHARE", 1)
    outcome = Script(lambda entry: Delivered(contact_id="c", entry=entry, shown=SHOWN))
    await world.run(outcome, lambda: world.entry(spool_id).state is State.DONE)
    assert world.desk.listed([spool_id])[0].shown == b""


@pytest.mark.parametrize(
    ("answer", "service", "failure"),
    [
        *(
            (RemoteError(service="connect", failure=each, code="Word"), "connect", each)
            for each in FailureClass
        ),
        (
            RemoteError(service="s3", failure=FailureClass.CONFIGURATION, code="NoSuchBucket"),
            "s3",
            FailureClass.CONFIGURATION,
        ),
        (RuntimeError("a fault of ours"), "relay", FailureClass.TEMPORARY),
    ],
)
async def test_failed_attempt_is_counted_by_whose_it_was(world, answer, service, failure):
    """402, 429, 5xx and S3 are told apart, whatever becomes of the mail."""
    counter = metrics.DELIVERY_FAILURES.labels(service, failure)
    before = counter._value.get()
    spool_id = await world.put()
    await world.run(Script(lambda _: answer), lambda: counter._value.get() == before + 1)
    assert world.entry(spool_id).attempts == 1


async def test_deferred_waits_for_its_time(world):
    """A deferred entry is not tried before it is due, and is tried then."""
    spool_id = await world.put()
    script = Script(
        lambda entry: refusal(FailureClass.TEMPORARY) if entry.attempts == 1 else delivered(entry)
    )
    async with world.running(script):
        async with asyncio.timeout(10):
            while world.entry(spool_id).reason != "connect.Word":
                await asyncio.sleep(0.005)
        due = world.entry(spool_id).next_attempt_at
        assert timedelta(seconds=7) < due - world.clock.now < timedelta(seconds=13)
        world.clock.now = due - timedelta(seconds=1)
        other = await world.put()
        async with asyncio.timeout(10):
            while not world.entry(other).reason:
                await asyncio.sleep(0.005)
        assert [entry.spool_id for entry in script.asked].count(spool_id) == 1
        world.clock.now = due
        async with asyncio.timeout(10):
            while world.entry(spool_id).state is not State.DONE:
                await asyncio.sleep(0.005)


async def test_too_old_is_a_dead_letter(world):
    """A temporary failure past the greatest age ends as a dead letter that says so."""
    spool_id = await world.put()
    world.clock.now += timedelta(hours=97)
    await world.run(
        Script(lambda _: refusal(FailureClass.TEMPORARY)), lambda: world.entry(spool_id).state is State.DEAD
    )
    entry = world.entry(spool_id)
    assert entry.reason == "too_old"
    assert entry.detail.startswith("connect."), "the last failure is what an operator asks for"


async def test_error_of_configuration_holds_the_route_alone(world):
    """Other routes go on, the held one gets a probe a minute, and resumes by itself when a probe succeeds."""
    broken = [await world.put("broken") for _ in range(20)]
    fine = [await world.put("fine") for _ in range(5)]
    mended = False

    def answer(entry):
        if entry.destination.route == "broken" and not mended:
            return refusal(FailureClass.CONFIGURATION, "AccessDeniedException")
        return delivered(entry)

    script = Script(answer)

    def tries():
        return len([entry for entry in script.asked if entry.destination.route == "broken"])

    async with world.running(script), asyncio.timeout(20):
        while not all(world.entry(spool_id).state is State.DONE for spool_id in fine):
            await asyncio.sleep(0.005)
        first = tries()
        assert first <= 8  # no more than were under way at once
        for number in range(3):
            world.clock.now += timedelta(seconds=61)
            while tries() < first + number + 1:
                await asyncio.sleep(0.005)
        assert tries() == first + 3  # all are for one address, so a probe is one entry
        while {world.entry(spool_id).state for spool_id in broken} != {State.QUEUED}:
            await asyncio.sleep(0.005)
        mended = True
        while not all(world.entry(spool_id).state is State.DONE for spool_id in broken):
            world.clock.now += timedelta(seconds=30)
            await asyncio.sleep(0.01)


def only(*good):
    """What Connect says that has these addresses and no other."""

    def answer(entry):
        if entry.destination.address in good:
            return delivered(entry)
        return refusal(FailureClass.CONFIGURATION, "ResourceNotFoundException")

    return answer


async def test_good_address_behind_forty_unknown_ones_is_found(world):
    """Connect says 404 for an address as for a route: ten addresses are tried at once, so four probes find
    the good one.
    """
    for number in range(40):
        await world.put(route="all", address=f"unknown{number}@example.com")
    good = await world.put(route="all", address="good@example.com")
    script = Script(only("good@example.com"))
    async with world.running(script), asyncio.timeout(20):
        tried = 8
        for _ in range(4):
            while len(script.asked) < min(tried, 41) or world.desk.counts()[State.LEASED]:
                await asyncio.sleep(0.005)
            assert len(script.asked) == tried, "no more than ten a probe"
            tried += 10
            world.clock.now += timedelta(seconds=60)
        while world.entry(good).state is not State.DONE:
            await asyncio.sleep(0.005)
        assert world.desk.paused().holds == ()


async def test_unknown_address_is_put_off_alone_where_others_are_known(world, log):
    """A 404 for one address of a route that works: its mail is tried ever later, and given up in the end; no
    route is held.
    """
    await world.put(route="all", address="good@example.com")
    script = Script(only("good@example.com"))
    async with world.running(script), asyncio.timeout(20):
        while world.desk.counts()[State.DONE] < 1:
            await asyncio.sleep(0.005)
        spool_id = await world.put(route="all", address="unknown@example.com")
        for attempt in (1, 2):
            while world.entry(spool_id).attempts < attempt or world.entry(spool_id).state is State.LEASED:
                await asyncio.sleep(0.005)
            entry = world.entry(spool_id)
            assert (entry.state, entry.reason) == (State.QUEUED, "connect.ResourceNotFoundException")
            assert entry.detail.startswith("unknown@example.com is not known to Connect")
            delay = entry.next_attempt_at - world.clock.now
            assert 0.75 * 10 * attempt <= delay.total_seconds() <= 1.25 * 10 * attempt
            world.clock.now = entry.next_attempt_at
        following = await world.put(route="all", address="good@example.com")
        while world.entry(following).state is not State.DONE:
            await asyncio.sleep(0.005)
        for _ in range(5):
            world.clock.now += timedelta(hours=23)
            other = await world.put(route="all", address="good@example.com")
            while world.entry(other).state is not State.DONE or world.desk.counts()[State.LEASED]:
                await asyncio.sleep(0.005)
        assert (world.entry(spool_id).state, world.entry(spool_id).reason) == (State.DEAD, "too_old")
    assert log() == []


async def test_known_address_that_is_gone_holds_the_route(world):
    """An instance that vanishes is no matter of single addresses: the last that worked is refused, too."""
    await world.put(route="all", address="good@example.com")
    script = Script(only("good@example.com"))
    async with world.running(script), asyncio.timeout(10):
        while world.desk.counts()[State.DONE] < 1:
            await asyncio.sleep(0.005)
        script.answer = only()
        await world.put(route="all", address="good@example.com")
        while not world.desk.paused().holds:
            await asyncio.sleep(0.005)


async def test_reload_makes_a_404_the_matter_of_the_route_again(world, config):
    """A flow or an instance that a new configuration has wrong is told, whatever worked by the old one."""
    await world.put(route="all", address="good@example.com")
    script = Script(only("good@example.com"))
    async with world.running(script) as runner, asyncio.timeout(10):
        while world.desk.counts()[State.DONE] < 1:
            await asyncio.sleep(0.005)
        runner.reload(script, config.deliver)
        await world.put(route="all", address="other@example.com")
        while not world.desk.paused().holds:
            await asyncio.sleep(0.005)


async def test_probe_that_hangs_or_fails_delays_no_other(world):
    """One address that hangs costs the others of its route nothing, and a late failure puts off no later
    probe.
    """
    gate = asyncio.Event()

    class Slow(Script):
        async def deliver(self, entry):
            if entry.destination.address == "slow@example.com" and entry.attempts == 2:
                await gate.wait()
            return await super().deliver(entry)

    def tries(address):
        return len([entry for entry in script.asked if entry.destination.address == address])

    for address in ("slow@example.com", "a@example.com", "b@example.com"):
        await world.put(route="all", address=address)
    script = Slow(only())
    async with world.running(script), asyncio.timeout(20):
        for count in (1, 2, 3):
            world.clock.now += timedelta(seconds=60)
            while not tries("a@example.com") == tries("b@example.com") == count:
                await asyncio.sleep(0.005)
            while world.desk.counts()[State.LEASED] > (count > 1):  # only the one that hangs
                await asyncio.sleep(0.005)
        world.clock.now += timedelta(seconds=50)
        gate.set()
        while tries("slow@example.com") < 2 or world.desk.counts()[State.LEASED]:
            await asyncio.sleep(0.005)
        world.clock.now += timedelta(seconds=10)
        while not tries("a@example.com") == tries("b@example.com") == 4:
            await asyncio.sleep(0.005)


async def test_probe_of_many_addresses_takes_places_as_they_come_free(world):
    """While other routes keep the deliverer busy, a held route is tried with all ten addresses, one after the
    other.
    """
    turns = asyncio.Semaphore(0)

    class Busy(Script):
        async def deliver(self, entry):
            if entry.destination.route == "busy":
                await turns.acquire()
            return await super().deliver(entry)

    for number in range(20):
        await world.put(route="all", address=f"unknown{number}@example.com")
    script = Busy(lambda entry: delivered(entry) if entry.destination.route == "busy" else only()(entry))

    def tried():
        return {entry.destination.address for entry in script.asked if entry.destination.route == "all"}

    async with world.running(script) as runner, asyncio.timeout(20):
        while len(tried()) < 8 or world.desk.counts()[State.LEASED]:
            await asyncio.sleep(0.005)
        for _ in range(40):
            await world.put(route="busy")
        while world.desk.counts()[State.LEASED] < 8:
            await asyncio.sleep(0.005)
        world.clock.now += timedelta(seconds=60)
        while len(tried()) < 18:
            turns.release()  # a place, for one mail of either route in turn
            await asyncio.sleep(0.01)
        for _ in range(6):
            turns.release()
            await asyncio.sleep(0.01)
        assert len(tried()) == 18
        await runner.stop(0)


async def test_claim_that_is_in_flight_at_a_stop_is_put_back(world, monkeypatch):
    """A claim that is committed after the stop leases nothing: its entries wait as if it had not been."""
    spool_id = await world.put()
    claimed, may_return = asyncio.Event(), asyncio.Event()
    claim = world.outbox.claim

    async def slow_claim(**given):
        entries = await claim(**given)
        if entries:
            claimed.set()
            await may_return.wait()
        return entries

    monkeypatch.setattr(world.outbox, "claim", slow_claim)
    script = Script(delivered)
    async with world.running(script) as runner, asyncio.timeout(10):
        await claimed.wait()
        stopping = asyncio.create_task(runner.stop(5))
        while not runner.is_stopping:
            await asyncio.sleep(0)
        may_return.set()
        await stopping
        entry = world.entry(spool_id)
    assert (entry.state, entry.attempts, script.asked) == (State.QUEUED, 0, [])


async def test_attempt_that_outlasts_the_stop_is_given_back(world):
    """An attempt that is ended by the stop leaves a queued entry, whose history says so."""
    spool_id = await world.put()

    class Endless(Script):
        async def deliver(self, entry):
            await super().deliver(entry)
            await asyncio.Event().wait()

    script = Endless(delivered)
    async with world.running(script) as runner, asyncio.timeout(10):
        await until(lambda: script.asked)
        await runner.stop(0)
        entry = world.entry(spool_id)
    assert (entry.state, entry.attempts) == (State.QUEUED, 1)
    assert [event.event for event in world.desk.history(entry)] == ["interrupted"]


@pytest.fixture
def log(monkeypatch):
    """What the log says of routes, event by event."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure("json", "info")

    def events():
        lines = (json.loads(line) for line in stream.getvalue().splitlines())
        return [line["event"] for line in lines if line["event"].startswith("route.")]

    yield events
    monkeypatch.undo()
    telemetry.configure("json", "info")
    logging.getLogger().handlers.clear()


async def test_route_that_an_operator_resumes_is_told(world, log):
    """`relay resume route` comes by the spool: the runner tells its end, and tells it when the route is held
    again.
    """
    spool_id = await world.put(route="desk")
    async with world.running(Script(lambda _: refusal(FailureClass.CONFIGURATION))), asyncio.timeout(10):
        while log() != ["route.held"]:
            await asyncio.sleep(0.005)
        assert world.desk.resume("route desk")
        while log() != ["route.held", "route.resumed"]:
            await asyncio.sleep(0.005)
        assert world.desk.retry([spool_id], now=world.clock.now).count == 1
        while log() != ["route.held", "route.resumed", "route.held"]:
            await asyncio.sleep(0.005)
        assert [hold.route for hold in world.desk.paused().holds] == ["desk"]


async def test_route_that_an_operator_resumes_amid_an_attempt_is_told(world, log):
    """An attempt from before the resumption holds the route anew: both are told, in their order."""
    turns = asyncio.Semaphore(0)

    class Slow(Script):
        async def deliver(self, entry):
            if entry.destination.route == "desk":
                await turns.acquire()
                return await super().deliver(entry)
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    for _ in range(8):
        await world.put(route="desk")
    async with (
        world.running(Slow(lambda _: refusal(FailureClass.CONFIGURATION))) as runner,
        asyncio.timeout(10),
    ):
        while world.desk.counts()[State.LEASED] < 8:
            await asyncio.sleep(0.005)
        other = await world.put(route="other")
        turns.release()
        while log() != ["route.held"] or world.entry(other).state is not State.LEASED:
            await asyncio.sleep(0.005)
        world.desk.resume("route desk")  # no place is free: the runner has no look at the spool
        turns.release()
        while log() != ["route.held", "route.resumed", "route.held"]:
            await asyncio.sleep(0.005)
        await runner.stop(0)


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_held_route_is_probed_though_the_clock_was_set_back(world, meanwhile):
    """A hold lasts no hour longer than any, whether the clock is set before it is written or after."""
    spool_id = await world.put("desk")

    def refuse(entry):
        if meanwhile:
            world.clock.set(-timedelta(hours=1))
        return refusal(FailureClass.CONFIGURATION)

    script = Script(refuse)
    async with world.running(script), asyncio.timeout(20):
        while not world.entry(spool_id).reason:
            await asyncio.sleep(0.005)
        script.answer = delivered
        if not meanwhile:
            world.clock.set(-timedelta(hours=1))
        following = await world.put("desk")
        world.clock.now += timedelta(seconds=61)
        while world.entry(following).state is not State.DONE:
            await asyncio.sleep(0.005)


async def test_route_whose_resumption_was_not_written_is_probed_on(world, monkeypatch):
    """A sick spool at the instant in which a held route works again leaves it held, and it resumes later by
    itself.
    """
    spool_id = await world.put("desk")
    mended = False
    script = Script(lambda entry: delivered(entry) if mended else refusal(FailureClass.CONFIGURATION))
    async with world.running(script), asyncio.timeout(20):
        while not world.entry(spool_id).reason:
            await asyncio.sleep(0.005)
        mended = True
        resume, failures = world.outbox.resume_route, [SpoolSickError("once")]

        async def fail_once(route):
            if failures:
                raise failures.pop()
            return await resume(route)

        monkeypatch.setattr(world.outbox, "resume_route", fail_once)
        while world.entry(spool_id).state is not State.DONE or world.desk.paused().holds:
            world.clock.now += timedelta(seconds=30)
            await asyncio.sleep(0.01)


async def test_hold_that_could_not_be_read_at_the_start_is_probed_later(world, monkeypatch):
    """A spool that cannot be read when the runner begins costs a held route one look, not its probes."""
    spool_id = await world.put("desk")
    await world.outbox.hold_route(
        "desk", reason="connect.AccessDeniedException", detail="", now=world.clock.now
    )
    paused, failures = world.outbox.paused, [SpoolSickError("once")]

    async def fail_once():
        if failures:
            raise failures.pop()
        return await paused()

    monkeypatch.setattr(world.outbox, "paused", fail_once)
    monkeypatch.setattr("relay.delivery.runner._SPOOL_PAUSE_SECONDS", 0.01)
    await world.run(Script(delivered), lambda: world.entry(spool_id).state is State.DONE)
    assert world.desk.paused().holds == ()


@pytest.mark.parametrize("failure", [FailureClass.TEMPORARY, FailureClass.THROTTLED])
async def test_silence_of_connect_resumes_no_route(world, failure):
    """A time-out or a 429 says nothing of the configuration: the route stays held, and is probed."""
    spool_ids = [await world.put("desk") for _ in range(3)]
    answers = [refusal(FailureClass.CONFIGURATION)] * 3
    script = Script(lambda _: answers.pop() if answers else refusal(failure))
    async with world.running(script), asyncio.timeout(10):
        while not all(world.entry(spool_id).reason for spool_id in spool_ids):
            await asyncio.sleep(0.005)
        world.clock.now += timedelta(seconds=61)
        while len(script.asked) < 4 or any(world.entry(one).state is State.LEASED for one in spool_ids):
            await asyncio.sleep(0.005)
        assert [hold.route for hold in world.desk.paused().holds] == ["desk"]


async def test_mail_that_ends_the_process_is_set_aside(world):
    """After so many starts that ended with their process, a mail is held; a power cut counts for nothing."""
    spool_id = await world.put()
    for blame in (False, True, True, True):
        world.clock.now += timedelta(hours=1)
        (_entry,) = await world.outbox.claim(now=world.clock.now, limit=8, lease_seconds=60)
        await world.outbox.recover(now=world.clock.now, blame=blame)
    world.clock.now += timedelta(hours=1)
    script = Script(delivered)
    await world.run(script, lambda: world.entry(spool_id).state is State.HELD)
    assert world.entry(spool_id).reason == "cut_short"
    assert script.asked == []


async def test_lower_rung_is_remembered(world):
    """An entry that fails on a lower rung of the ladder begins there the next time."""
    spool_id = await world.put()

    def answer(entry):
        return Failed(error=refusal(FailureClass.TEMPORARY), entry=replace(entry, rung=Rung.TEXT))

    await world.run(Script(answer), lambda: world.entry(spool_id).reason == "connect.Word")
    assert world.entry(spool_id).rung is Rung.TEXT


@pytest.mark.parametrize(
    ("code", "kept"), [("ResourceNotFoundException", False), ("404", False), ("AccessDeniedException", True)]
)
async def test_request_that_names_what_is_not_there_is_made_anew(world, code, kept):
    """A 404, with Connect's word for it or alone, can be no contact: what it names is mended for the mail
    that waits.
    """
    spool_id = await world.put()
    (entry,) = await world.outbox.claim(now=world.clock.now, limit=1, lease_seconds=60)
    expires_at = world.clock.now + timedelta(hours=1)
    await world.outbox.save_request(
        entry, request=b"{}", rung=Rung.FULL, token="t", expires_at=expires_at, now=world.clock.now
    )
    await world.outbox.recover(now=world.clock.now)
    script = Script(lambda _: refusal(FailureClass.CONFIGURATION, code))
    await world.run(script, lambda: world.entry(spool_id).reason == f"connect.{code}")
    assert [entry.request for entry in script.asked] == [b"{}"]
    assert (world.entry(spool_id).request == b"{}") is kept


async def test_outcome_after_the_lease_was_lost_changes_nothing(world):
    """Whoever has the lease records the outcome; one that comes late is told in the log, and nothing else."""
    spool_id = await world.put()
    gates = [asyncio.Event(), asyncio.Event()]

    class Slow(Script):
        async def deliver(self, entry):
            self.asked.append(entry)
            await gates[entry.attempts - 1].wait()
            return Delivered(contact_id=f"contact-of-attempt-{entry.attempts}", entry=entry)

    script = Slow(delivered)
    lost = metrics.DELIVERIES.labels("lost")
    before = lost._value.get()
    async with world.running(script), asyncio.timeout(10):
        while not script.asked:
            await asyncio.sleep(0.005)
        await world.outbox.recover(now=world.clock.now)
        while len(script.asked) < 2:
            await asyncio.sleep(0.005)
        gates[0].set()
        while lost._value.get() == before:
            await asyncio.sleep(0.005)
        assert world.entry(spool_id).state is State.LEASED
        gates[1].set()
        while world.entry(spool_id).state is not State.DONE:
            await asyncio.sleep(0.005)
    assert world.entry(spool_id).contact_id == "contact-of-attempt-2"


@pytest.mark.parametrize("step", [timedelta(days=-10), timedelta(hours=-1), timedelta(days=10)])
async def test_clock_that_is_set_delays_and_begins_nothing(world, step):
    """Mail under way, deferred mail and mail that comes go on by the time that passes; a held route is probed
    at once, since a wrong clock may be what holds it.
    """

    def answer(entry):
        if entry.destination.route == "wrong":
            return refusal(FailureClass.CONFIGURATION, "AccessDeniedException")
        return refusal(FailureClass.TEMPORARY) if entry.attempts == 1 else delivered(entry)

    deferred, held = await world.put(), await world.put("wrong")
    async with world.running(Script(answer)), asyncio.timeout(10):
        while not (world.entry(deferred).reason and world.entry(held).reason):
            await asyncio.sleep(0.005)
        due_at, probes = world.entry(deferred).next_attempt_at, world.entry(held).attempts
        world.clock.set(step)
        fresh = await world.put()
        while not world.entry(fresh).reason or world.entry(held).attempts == probes:
            await asyncio.sleep(0.005)
        shown = world.entry(deferred)
        # It waits as long as before: what the clock will show then.
        assert (shown.attempts, shown.state, shown.next_attempt_at) == (1, State.QUEUED, due_at + step)
        world.clock.now += timedelta(seconds=13)  # the longest first backoff of this configuration
        while {world.entry(one).state for one in (deferred, fresh)} != {State.DONE}:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("step", [timedelta(days=10), timedelta(days=-10)])
async def test_clock_that_is_doubted_gives_nothing_up(world, config, step):
    """After a step of more than an hour mail whose age is over waits for another attempt, until a person
    trusts the clock.
    """
    spool_id = await world.put()
    world.clock.now += timedelta(hours=config.deliver.max_age_hours + 1)
    world.clock.set(step)
    script = Script(lambda _: refusal(FailureClass.TEMPORARY, "timeout"))
    async with world.running(script), asyncio.timeout(10):
        while world.entry(spool_id).reason != "connect.timeout":
            await asyncio.sleep(0.005)
        assert world.entry(spool_id).state is State.QUEUED
        assert world.desk.resume("clock")
        await world.outbox.look_at_clock()
        world.clock.now += timedelta(seconds=13)
        while world.entry(spool_id).state is not State.DEAD:
            await asyncio.sleep(0.005)
    assert world.entry(spool_id).reason == "too_old"


async def test_at_most_so_many_at_once(world, config):
    """Never more deliveries are under way than deliver.concurrency."""
    for _ in range(30):
        await world.put()
    now = most = 0

    class Counting(Script):
        async def deliver(self, entry):
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return delivered(entry)

    await world.run(Counting(delivered), lambda: world.desk.counts()[State.DONE] == 30)
    assert most == config.deliver.concurrency


async def test_mail_that_waits_for_the_slow_lane_makes_no_attempt(world):
    """While slow mails are before it a mail is put back uncounted; it goes on when the lane has a place, not
    later.
    """

    class Lane(Script):
        aside = LANE_PLACES

        async def deliver(self, entry):
            self.asked.append(entry)
            return Postponed(detail="wait") if self.aside == LANE_PLACES else delivered(entry)

    script = Lane(delivered)
    waiting = [await world.put() for _ in range(3)]
    async with world.running(script), asyncio.timeout(10):
        for turn in range(5):  # they come due by themselves, and wait on without being read
            while any(world.entry(name).reason != "relay.busy" for name in waiting):
                await asyncio.sleep(0.005)
            due = max(world.entry(name).next_attempt_at for name in waiting)
            assert due > world.clock.now, turn
            world.clock.now = due
            while any(world.entry(name).next_attempt_at <= due for name in waiting):
                await asyncio.sleep(0.005)
        assert len(script.asked) == len(waiting)
        assert {world.entry(name).attempts for name in waiting} == {0}
        script.aside = 0
        while any(world.entry(name).state is not State.DONE for name in waiting):
            world.clock.now += timedelta(seconds=0.1)
            await asyncio.sleep(0.005)
        assert world.clock.now - due < timedelta(seconds=10)
    assert {world.entry(name).attempts for name in waiting} == {1}
    for name in waiting:
        events = [event.event for event in world.desk.history(world.entry(name))]
        assert "deferred" not in events


async def test_mail_without_a_worker_makes_no_attempt(world):
    """Where the machine has no worker for anybody, mails count no attempt, and wait no longer each time."""
    script = Script(lambda entry: delivered(entry) if well else Postponed(detail="none", seconds=10.0))
    well = False
    waiting = [await world.put() for _ in range(3)]
    async with world.running(script), asyncio.timeout(10):
        for _ in range(4):
            while len({world.entry(name).next_attempt_at for name in waiting} & {None, world.clock.now}):
                await asyncio.sleep(0.005)
            while any(world.entry(name).next_attempt_at <= world.clock.now for name in waiting):
                await asyncio.sleep(0.005)
            waits = {world.entry(name).next_attempt_at - world.clock.now for name in waiting}
            assert waits == {timedelta(seconds=10)}
            world.clock.now += timedelta(seconds=10)
        well = True
        while any(world.entry(name).state is not State.DONE for name in waiting):
            await asyncio.sleep(0.005)
    assert {world.entry(name).attempts for name in waiting} == {1}
