"""The runner while a service is away: few attempts, nothing given up, and all of it soon after."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest
from delivery.doubles import Clock, running_runner, until
from spool_helpers import build_config, build_destination, build_submission

from relay import telemetry
from relay.delivery.outcome import Delivered, Failed
from relay.errors import Blame, FailureClass, RemoteError
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox

CONCURRENCY = 8
AWAY = RemoteError(
    service="s3", failure=FailureClass.TEMPORARY, code="unreachable", blame=Blame.SERVICE, detail="refused"
)
NO_CREDENTIALS = RemoteError(
    service="s3", failure=FailureClass.CONFIGURATION, code="credentials", blame=Blame.SERVICE, detail="none"
)


@pytest.fixture
async def world(tmp_path, request):
    """A spool with its runner, whose deliveries fail as `world.fails` says, and a clock to be moved."""
    limits = {
        "backoff_min_seconds": 5,
        "probe_seconds": 60,
        "concurrency": getattr(request, "param", CONCURRENCY),
    }
    config = build_config(tmp_path / "data", deliver=limits)
    clock = Clock()
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)

    class Script:
        aside = 0

        async def deliver(self, entry):
            error = world.fails(entry)
            world.tried += 1
            if error is not None:
                return Failed(error=error, entry=entry)
            return Delivered(contact_id=f"of-{entry.entry_id}", entry=entry, stored=True)

    async def put(count, at=None):
        ids = []
        for _ in range(count):
            submission = build_submission(
                intake.new_id(), destinations=(build_destination(),), at=at or clock.now
            )
            ids.append((await intake.put(submission)).spool_id)
        return ids

    def entries(state=None):
        found = desk.select(Filter(states=(state,) if state else tuple(State), limit=10_000))
        return list(found)

    async def pass_time(seconds, *, step=5):
        """Let the clock go on, in steps that end when the runner has nothing more to do."""
        for _ in range(int(seconds / step)):
            clock.now += timedelta(seconds=step)
            tried = -1
            while tried != world.tried:
                tried = world.tried
                await asyncio.sleep(0.012)

    def running():
        return running_runner(
            outbox, Script(), config.deliver, now=clock, steady=clock.steady, polls_seconds=0.002
        )

    world = SimpleNamespace(
        put=put,
        entries=entries,
        pass_time=pass_time,
        running=running,
        fails=lambda _: None,
        tried=0,
        clock=clock,
    )
    yield world
    await outbox.close()
    await intake.close()
    desk.close()


@pytest.mark.parametrize("error", [AWAY, NO_CREDENTIALS], ids=["s3", "credentials"])
@pytest.mark.slow
async def test_half_an_hour_without_a_service_costs_few_attempts(world, error):
    """Of 200 mails a few try, once or twice each; when it is back, all are delivered with no further wait."""
    ids = await world.put(200)
    world.fails = lambda _: error
    async with world.running() as runner:
        await world.pass_time(1_800, step=20)
        # A probe may be on its way at this instant.
        await until(lambda: {entry.state for entry in world.entries()} == {State.QUEUED})
        entries = world.entries()
        assert len(entries) == 200
        assert CONCURRENCY < sum(entry.attempts for entry in entries) <= CONCURRENCY + 40
        assert max(entry.attempts for entry in entries) <= 4
        assert list(runner.services.away) == [error.code if error is NO_CREDENTIALS else "s3"]
        world.fails = lambda _: None
        world.clock.now += timedelta(seconds=60)
        await until(lambda: len(world.entries(State.DONE)) == len(ids))
        assert not runner.services.away


async def test_nothing_is_given_up_for_an_outage(world):
    """Mail that is older than max_age_hours, and meets an outage, waits for its end like all other mail."""
    await world.put(20, at=world.clock.now - timedelta(hours=200))
    world.fails = lambda _: AWAY
    async with world.running():
        await until(lambda: world.tried >= 3)
        await world.pass_time(300, step=20)
        # The first came before anybody could know.
        assert len(world.entries(State.DEAD)) <= CONCURRENCY
        before = len(world.entries(State.DEAD))
        await world.pass_time(600, step=30)
        assert len(world.entries(State.DEAD)) == before


@pytest.mark.parametrize("world", [1, CONCURRENCY], indirect=True)
@pytest.mark.slow
async def test_mails_that_fail_by_themselves_keep_no_other_waiting(world):
    """Three mails that always time out, first in the queue, and fifty behind them: those need one attempt
    each.
    """
    causes = set(await world.put(3))
    await world.put(50)
    world.fails = lambda entry: AWAY if entry.spool_id in causes else None
    async with world.running():
        await world.pass_time(60)
        await until(lambda: len(world.entries(State.DONE)) == 50)
        await world.pass_time(1_200, step=30)
        await world.put(5)
        await world.pass_time(15)
        await until(lambda: len(world.entries(State.DONE)) == 55)
    done = world.entries(State.DONE)
    assert {entry.attempts for entry in done} == {1}
    assert max(entry.attempts for entry in world.entries(State.QUEUED)) < 16


async def test_an_outage_and_its_end_are_told(world, monkeypatch):
    """One event when a service goes, with the reason, and one when it comes back: not one a mail."""
    told = []
    monkeypatch.setattr(telemetry, "service_moved", lambda **facts: told.append(facts))
    await world.put(10)
    world.fails = lambda _: AWAY
    async with world.running():
        await world.pass_time(120)
        world.fails = lambda _: None
        await world.pass_time(120)
        await until(lambda: len(world.entries(State.DONE)) == 10)
    assert told == [
        {"service": "s3", "why": "s3: unreachable: refused"},
        {"service": "s3", "why": ""},
    ]


async def test_credentials_that_cannot_be_had_keep_all_mail_unclaimed(world):
    """What was found without mail costs no mail an attempt; their return lets all of it go."""
    await world.put(10)
    async with world.running() as runner:
        await runner.services.heed_credentials("no metadata")
        world.fails = lambda _: NO_CREDENTIALS
        tried = world.tried
        for _ in range(30):
            await runner.services.heed_credentials("no metadata")
            await world.pass_time(30, step=15)
        assert world.tried <= tried + CONCURRENCY
        world.fails = lambda _: None
        await runner.services.heed_credentials("")
        await until(lambda: len(world.entries(State.DONE)) == 10)
