"""The leader of a fleet: one node delivers, another when that is silent, and the old one changes nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from spool_helpers import NOW, build_submission, claim_one

from relay.errors import LeaseLostError, SpoolBusyError
from relay.spool.fleet.intake import FleetIntake
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.outbox import FleetOutbox
from relay.spool.fleet.store import Store
from relay.spool.model import Filter, State
from relay.timing import Clocks

pytestmark = pytest.mark.system
LEASE = 5.0


class Steady:
    """A steady clock that a test can hold still, as a frozen process sees it: time passes when it wakes."""

    def __init__(self):
        self.ahead = 0

    def clocks(self):
        real = Clocks()
        return Clocks(wall=real.wall, passed=lambda: real.passed() + self.ahead, boot=real.boot)


@pytest.fixture
async def node(fleet_spool, tmp_path):
    """Makes nodes of one fleet: their stores, each with its part in the choice of the leader."""
    spool = fleet_spool(tmp_path)
    made = []

    def make(name, steady=None):
        config = spool.node_config(name, lease_seconds=LEASE)
        store = Store(config, clocks=(steady or Steady()).clocks())
        made.append((lead := Leadership(store, lease_seconds=LEASE), store))
        return lead

    yield make
    for lead, store in made:
        await lead.release()
        await store.close()
    await spool.close()


async def test_one_leads_and_another_stands_by(node):
    """Two nodes that want the lead at the same instant: one has it, the other waits and says for whom."""
    first, second = node("one"), node("two")
    tries = await asyncio.gather(
        *(each.acquire(patience_seconds=0.1) for each in (first, second)), return_exceptions=True
    )
    assert [first.holds, second.holds].count(True) == 1
    (refused,) = [each for each in tries if each]
    assert isinstance(refused, SpoolBusyError)


async def test_lease_is_kept_as_long_as_it_is_renewed(node):
    """A standby that looks for three leases does not get the lead of a node that renews it."""
    first, second = node("one"), node("two")
    await first.acquire()
    with pytest.raises(SpoolBusyError, match="one delivers"):
        await second.acquire(patience_seconds=3 * LEASE)
    assert first.holds
    assert first.epoch == 1


async def test_released_lease_is_taken_at_once(node):
    """An orderly stop costs no lease: the next look takes over, and blames nobody."""
    first, second = node("one"), node("two")
    await first.acquire()
    await first.release()
    await second.acquire(patience_seconds=LEASE)
    assert (second.holds, second.epoch, second.took_over) == (True, 2, False)
    assert not first.holds


async def test_silent_leader_is_replaced_after_a_lease(node, monkeypatch):
    """A leader that renews no more loses the lead by its own clock before another one has it."""
    first, second = node("one"), node("two")
    await first.acquire()
    first._keeping.cancel()  # it was killed
    first._keeping = None
    held_last = 0.0
    clock = asyncio.get_running_loop().time
    taking = asyncio.create_task(second.acquire())
    while not taking.done():
        if first.holds:
            held_last = clock()
        await asyncio.sleep(0.01)
    await taking
    assert held_last < clock(), "there were never two"
    assert not first.holds
    assert (second.epoch, second.took_over) == (2, True)


async def test_node_that_lost_the_lead_has_it_no_more(node):
    """What was lost is not taken again by the same process: its memory of entries is stale."""
    steady = Steady()
    first = node("one", steady)
    await first.acquire()
    steady.ahead += int(LEASE * 1_000_000)  # frozen for a lease
    assert first.is_lost
    with pytest.raises(SpoolBusyError):
        await first.acquire(patience_seconds=0)


async def test_frozen_leader_that_wakes_changes_nothing(fleet_spool, tmp_path):
    """A leader frozen past its lease sends nothing more; its outcomes are refused: one contact."""
    spool = fleet_spool(tmp_path)
    steady = Steady()
    config = spool.node_config("one", lease_seconds=LEASE)
    intake, frozen = FleetIntake(config), FleetOutbox(config, clocks=steady.clocks())
    other = FleetOutbox(spool.node_config("two", lease_seconds=LEASE))
    spool.opened += [intake, frozen, other]
    await intake.put(build_submission(intake.new_id()))
    old = await claim_one(frozen)
    frozen._lead._keeping.cancel()
    frozen._lead._keeping = None
    await other.recover(now=NOW)
    async with asyncio.timeout(10 * LEASE):
        while not other.leads():
            await asyncio.sleep(0.02)
    soon = other.now() + timedelta(minutes=10)
    new = await claim_one(other, now=soon)
    assert new.attempts == old.attempts + 1
    for awake in (False, True):
        if awake:
            steady.ahead -= int(10 * LEASE * 1_000_000)  # it believes in its lease: the table does not
        with pytest.raises(LeaseLostError):
            await frozen.begin_sending(old, token="t", now=soon)
        with pytest.raises(LeaseLostError):
            await frozen.finish(old, contact_id="old", now=soon)
    await other.finish(new, contact_id="new", now=soon)
    (entry,) = await asyncio.to_thread(spool.open_desk().select, Filter())
    assert (entry.state, entry.contact_id) == (State.DONE, "new")
    await spool.close()


async def test_standby_claims_nothing_until_it_leads(fleet_spool, tmp_path):
    """A node that stands by neither claims nor waits; when the leader stops it delivers, blaming nobody."""
    spool = fleet_spool(tmp_path)
    config = spool.node_config("one", lease_seconds=LEASE)
    intake, first = FleetIntake(config), FleetOutbox(config)
    second = FleetOutbox(spool.node_config("two", lease_seconds=LEASE))
    spool.opened += [intake, first, second]
    await intake.put(build_submission(intake.new_id()))
    assert (await first.recover(now=NOW), await second.recover(now=NOW)) == (0, 0)
    assert (first.leads(), second.leads()) == (True, False)
    old = await claim_one(first)
    assert list(await second.claim(now=NOW, limit=9, lease_seconds=60)) == []
    assert await second.next_due_at() is None
    await first.close()
    assert not first.leads()
    async with asyncio.timeout(5 * LEASE):
        while not second.leads():
            await asyncio.sleep(0.02)
    new = await claim_one(second, now=second.now())
    assert (new.reference, new.attempts, new.cut_short) == (old.reference, 2, 0)
    with pytest.raises(LeaseLostError):
        await first.finish(old, contact_id="old", now=NOW)
    await spool.close()


async def test_death_of_a_leader_is_blamed_on_what_it_had_under_way(fleet_spool, tmp_path):
    """The mails of a leader that died come back one after the other, each counted: one of them may be why."""
    spool = fleet_spool(tmp_path)
    config = spool.node_config("one", lease_seconds=LEASE)
    intake, first = FleetIntake(config), FleetOutbox(config)
    second = FleetOutbox(spool.node_config("two", lease_seconds=LEASE))
    spool.opened += [intake, first, second]
    for _ in range(2):
        await intake.put(build_submission(intake.new_id()))
    await first.claim(now=NOW, limit=2, lease_seconds=600)
    await second.recover(now=NOW)
    first._lead._keeping.cancel()  # it was killed
    first._lead._keeping = None
    async with asyncio.timeout(10 * LEASE):
        while not second.leads():
            await asyncio.sleep(0.02)
    entries = await asyncio.to_thread(spool.open_desk().select, Filter(states=(State.QUEUED,)))
    assert [entry.cut_short for entry in entries] == [1, 1]
    assert len({entry.next_attempt_at for entry in entries}) == 2
    await spool.close()
