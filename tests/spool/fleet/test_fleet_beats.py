"""The signs of life of a fleet's nodes, and the leader that resigns because another node reaches Connect."""

from __future__ import annotations

import asyncio

import pytest
from spool_helpers import build_submission

from relay.spool.fleet.intake import FleetIntake
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.outbox import FleetOutbox
from relay.spool.fleet.store import Store
from relay.spool.nodes import Reach
from relay.telemetry.metrics import DELIVERER_SILENT

pytestmark = pytest.mark.system
LEASE = 5.0


@pytest.fixture
async def spool(fleet_spool, tmp_path):
    spool = fleet_spool(tmp_path)
    yield spool
    await spool.close()


def open_outbox(spool, node):
    return spool._open(FleetOutbox(spool.node_config(node, lease_seconds=LEASE)))


async def nodes(spool):
    return await asyncio.to_thread(spool.open_desk().nodes)


async def test_processes_of_nodes_are_listed(spool):
    """Each process is listed with its rate and its way to Connect, until it ends in good order; a command
    that opens the spool is not.
    """
    receiver = spool._open(FleetIntake(spool.node_config("one", lease_seconds=LEASE), process="receiver-0"))
    by_hand = spool.open_intake()
    for intake in (receiver, by_hand):
        await intake.put(build_submission(intake.new_id()))
        intake.paused()
    leader, standby = open_outbox(spool, "one"), open_outbox(spool, "two")
    for outbox in (leader, standby):
        await outbox.recover(now=outbox.now())
    await leader.note_reach(Reach(is_reached=True))
    await standby.note_reach(Reach())
    async with asyncio.timeout(20):
        while len(found := await nodes(spool)) < 3:
            await asyncio.sleep(0.05)
    told = {(each.node, each.process): each for each in found}
    assert told["one", "receiver-0"].accepted == 1
    assert told["one", "receiver-0"].accepted_a_minute > 0
    assert (told["one", "deliverer"].leads, told["one", "deliverer"].connect) == (True, True)
    assert (told["two", "deliverer"].leads, told["two", "deliverer"].connect) == (False, None)
    await receiver.close()
    await leader.close()
    assert [(each.node, each.process) for each in await nodes(spool)] == [("two", "deliverer")]


async def test_nothing_is_written_while_nothing_changes(spool):
    """A beat is written once in five minutes: looks every half a minute cost nothing."""
    outbox = open_outbox(spool, "one")
    await outbox.recover(now=outbox.now())
    assert await outbox.wants_reach(), "nobody has asked yet"
    await outbox.note_reach(Reach(is_reached=True))
    (first,) = await nodes(spool)
    for _ in range(5):
        assert not await outbox.wants_reach()
        await outbox.note_reach(Reach(is_reached=True))
    assert await nodes(spool) == [first]
    await outbox.note_reach(Reach(is_reached=False, failing_seconds=5.0))
    (changed,) = await nodes(spool)
    assert changed.connect is False


async def test_leader_that_is_cut_off_resigns_and_stays_out(spool):
    """The leader says that it is cut off, the other node is asked and reaches Connect: the lead goes over
    without a lease of waiting, and the one that resigned does not take it back.
    """
    first, second = open_outbox(spool, "one"), open_outbox(spool, "two")
    for outbox in (first, second):
        await outbox.recover(now=outbox.now())
        await outbox.note_reach(Reach(is_reached=True))
    assert not await second.wants_reach()
    await first.note_reach(Reach(is_reached=False, failing_seconds=100.0))
    assert not first.has_moved()
    await second.note_reach(Reach(is_reached=False))
    await first.note_reach(Reach(is_reached=False, failing_seconds=200.0))
    assert not first.has_moved(), "nobody reaches Connect"
    await second.note_reach(Reach(is_reached=True))
    await first.note_reach(Reach(is_reached=False, failing_seconds=230.0))
    assert first.has_moved()
    assert not await first.claim(now=first.now(), limit=1, lease_seconds=60)
    await first.close()
    again = Store(spool.node_config("one", lease_seconds=LEASE), clocks=Steady().clocks())
    lead = Leadership(again, lease_seconds=LEASE)
    lease = await lead.look()
    assert lease.is_resigned
    assert not lead._is_free(lease, 299_000_000)
    assert lead._is_free(lease, 301_000_000)
    await again.close()
    async with asyncio.timeout(LEASE):
        while not second.leads():
            await asyncio.sleep(0.05)


async def test_silence_is_seen_by_a_receiver(spool):
    """A receiver sees a leader's renewals; once they end its gauge grows, and after five leases it says
    so.
    """
    steady = Steady()
    config = spool.node_config("one", lease_seconds=LEASE)
    receiver = spool._open(FleetIntake(config, process="receiver-0", clocks=steady.clocks()))
    leader = open_outbox(spool, "two")
    await leader.recover(now=leader.now())
    receiver.paused()
    await asyncio.sleep(LEASE / 2)
    assert DELIVERER_SILENT._value.get() < LEASE
    assert receiver.undelivered() == ""
    await leader.close()
    async with asyncio.timeout(20):
        while not receiver.undelivered():
            steady.ahead += 1_000_000
            await asyncio.sleep(0.1)
    assert DELIVERER_SILENT._value.get() > 5 * LEASE


class Steady:
    """A steady clock that a test moves."""

    def __init__(self):
        self.ahead = 0

    def clocks(self):
        from relay.timing import Clocks

        real = Clocks()
        return Clocks(wall=real.wall, passed=lambda: real.passed() + self.ahead, boot=real.boot)
