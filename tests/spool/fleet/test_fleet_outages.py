"""Outages of what a fleet stands on: DynamoDB or S3 away, throttled, denied, or cut off from each other; mail
for many; clocks that are apart; a queue longer than a look.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from fleet_proxy import Proxy
from spool_helpers import build_destination, build_submission, later

from relay.errors import LeaseLostError, SpoolError, SpoolSickError
from relay.spool.fleet.intake import FleetIntake
from relay.spool.fleet.outbox import FleetOutbox
from relay.spool.model import Filter, State
from relay.timing import Clocks
from relay.vocabulary import Rung

pytestmark = pytest.mark.system
LEASE = 4.0
SAME = {"body": b"same", "message_id": "<m@x>"}


@pytest.fixture
async def proxy(ministack):
    async with Proxy(ministack) as proxy:
        yield proxy


@pytest.fixture
async def spool(fleet_spool, proxy, tmp_path, monkeypatch):
    """A spool behind the proxy; its table is made without it."""
    spool = fleet_spool(tmp_path)
    for service in ("DYNAMODB", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", proxy.url)
    yield spool
    proxy.lose.clear()
    proxy.refuse.clear()
    await spool.close()


async def entries_of(spool):
    return await asyncio.to_thread(spool.open_desk().select, Filter())


def open_node(spool, name, *, lease=LEASE):
    return spool._open(FleetOutbox(spool.node_config(name, lease_seconds=lease)))


@pytest.mark.parametrize(
    ("word", "status", "code", "most"),
    [
        ("s3", 0, "", 6),  # as often as the client tries, each once more where a connection was cut
        ("s3", 503, "SlowDown", 3),
        ("s3", 403, "AccessDenied", 1),
        ("dynamodb", 0, "", 6),
        ("dynamodb", 400, "ThrottlingException", 3),
        ("dynamodb", 400, "AccessDeniedException", 1),
    ],
)
async def test_each_service_alone_refuses_mail_and_is_asked_seldom(spool, proxy, word, status, code, most):
    """With one service away, throttled or denied, a mail is a 451 after as few calls as a client makes: S3
    that is cut off costs no transaction, and DynamoDB that is cut off leaves octets that nobody owes.
    """
    intake = spool.open_intake()
    await intake.put(build_submission(intake.new_id()))
    before = proxy.seen.copy()
    proxy.refuse[word] = (status, code)
    with pytest.raises(SpoolSickError):
        await intake.put(build_submission(intake.new_id(), **SAME))
    made = proxy.seen - before
    assert made["PUT"] <= (most if word == "s3" else 1)
    assert made["TransactWriteItems"] <= (0 if word == "s3" else most)
    proxy.refuse.clear()
    assert not (await intake.put(build_submission(intake.new_id(), **SAME))).duplicate
    assert len(await entries_of(spool)) == 2


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [("PUT", 503, "SlowDown"), ("TransactWriteItems", 400, "ProvisionedThroughputExceededException")],
)
async def test_throttling_for_a_moment_costs_no_mail(spool, proxy, word, status, code):
    """A call that is throttled twice and then taken is a 250: nobody sees the moment."""
    intake = spool.open_intake()
    proxy.refuse[word], proxy.times[word] = (status, code), 2
    assert not (await intake.put(build_submission(intake.new_id(), **SAME))).duplicate
    assert len(await entries_of(spool)) == 1


@pytest.mark.parametrize(("status", "code"), [(0, ""), (400, "AccessDeniedException")])
async def test_leader_without_dynamodb_sends_nothing_more(spool, proxy, status, code):
    """A leader that is cut off from the table, or denied, gives out no mail, sends nothing once its lease has
    ended, and asks at its pace; another node then leads, and finds the request of before.
    """
    intake, leader = spool.open_intake(), open_node(spool, "one")
    await intake.put(build_submission(intake.new_id()))
    await leader.recover(now=leader.now())
    (entry,) = await leader.claim(now=leader.now(), limit=1, lease_seconds=60)
    await leader.save_request(
        entry,
        request=b"{}",
        rung=Rung.FULL,
        token="t",
        expires_at=later(9),
        now=leader.now(),
    )
    proxy.refuse["dynamodb"] = (status, code)
    begun = asyncio.get_running_loop().time()
    before = proxy.seen.total()
    with pytest.raises(SpoolSickError):
        await leader.claim(now=leader.now(), limit=1, lease_seconds=60)
    async with asyncio.timeout(3 * LEASE):
        while not leader.has_moved():
            await asyncio.sleep(0.05)
    with pytest.raises(LeaseLostError):
        await leader.begin_sending(entry, token="t", now=leader.now())
    seconds = asyncio.get_running_loop().time() - begun
    # Four renewals a lease and two recoveries, each of three tries at most, and the claim.
    assert proxy.seen.total() - before <= 3 * (4 * seconds / LEASE + seconds / LEASE + 2) + 3
    proxy.refuse.clear()
    other = open_node(spool, "two")
    await other.recover(now=other.now())
    async with asyncio.timeout(10 * LEASE):
        while not other.leads():
            await asyncio.sleep(0.1)
    (again,) = await other.claim(now=later(10**6), limit=1, lease_seconds=60)
    assert (again.reference, again.request) == (entry.reference, b"{}")


async def test_node_that_starts_without_dynamodb_stands_by(spool, proxy):
    """A deliverer whose table gives no answer at its start does not end, and delivers when it is back."""
    proxy.refuse["dynamodb"] = (500, "InternalServerError")
    node = open_node(spool, "one", lease=2.0)
    assert await node.recover(now=node.now()) == 0
    assert await node.claim(now=node.now(), limit=1, lease_seconds=60) == ()
    assert not node.has_moved()
    proxy.refuse.clear()
    async with asyncio.timeout(20):
        while not node.leads():
            await asyncio.sleep(0.05)


async def test_s3_that_is_away_burns_no_attempts(spool, proxy):
    """Of thirty mails that are due, as many are asked for as are claimed at once; then S3 rests, each mail
    has its first attempt still before it, and one is tried for all.
    """
    intake, leader = spool.open_intake(), open_node(spool, "one", lease=60.0)
    for number in range(30):
        await intake.put(build_submission(intake.new_id(), body=b"%d" % number))
    await leader.recover(now=leader.now())
    proxy.refuse["GET"] = (503, "SlowDown")
    claimed = await leader.claim(now=leader.now(), limit=8, lease_seconds=60)

    async def attempt(entry):
        async with leader.open_raw(entry):
            raise AssertionError("S3 is away")

    failed = await asyncio.gather(*map(attempt, claimed), return_exceptions=True)
    assert {type(each) for each in failed} == {SpoolSickError}
    asked = proxy.seen["GET"]
    assert asked <= 3 * 8
    for _ in range(20):
        with pytest.raises(SpoolSickError):
            await leader.claim(now=leader.now(), limit=8, lease_seconds=60)
    assert proxy.seen["GET"] == asked
    proxy.refuse.clear()  # the walk of a person asks S3 for its list, too
    assert Counter(each.attempts for each in await entries_of(spool)) == {0: 30}


@pytest.mark.parametrize("struck", ["lost", "refused"])
async def test_mail_for_a_hundred_is_whole_or_comes_again(spool, proxy, struck):
    """More destinations than a transaction takes: where the second one fails the peer is told 451, and its
    repetition, to another node, adds what is missing; where its answer is lost nothing is missing.
    """
    intake, other = spool.open_intake(), spool.open_intake()
    many = tuple(build_destination(f"a{number}@example.com") for number in range(100))
    await intake.put(build_submission(intake.new_id(), destinations=many[:1]))  # it names the route
    first = build_submission(intake.new_id(), destinations=many, **SAME)
    if struck == "lost":
        proxy.lose["TransactWriteItems"] = 2
        receipt = await intake.put(first)
        assert (receipt.spool_id, receipt.duplicate) == (first.spool_id, False)
    else:
        proxy.refuse["TransactWriteItems"] = (500, "InternalServerError")
        proxy.times["TransactWriteItems"] = 0
        putting = intake.begin_put(first)
        async with asyncio.timeout(30):
            while not proxy.seen["TransactWriteItems"] >= 2:  # the first of this mail is through
                await asyncio.sleep(0)
        del proxy.times["TransactWriteItems"]
        with pytest.raises(SpoolSickError):
            await putting
        proxy.refuse.clear()
        await other.put(build_submission(other.new_id(), destinations=many, **SAME))
    owed = Counter(each.destination.address for each in await entries_of(spool))
    assert owed == Counter({each.address: 1 for each in many}) + Counter({many[0].address: 1})


async def test_nodes_with_clocks_an_hour_apart_agree(fleet_spool, tmp_path):
    """A mail that a node an hour ahead accepts is due at once for a leader an hour behind, has the time of
    AWS, and its repetition on the other node is known.
    """
    spool = fleet_spool(tmp_path)

    def clocks(hours):
        real = Clocks()
        ahead = hours * 3_600 * 1_000_000
        return Clocks(wall=lambda: real.wall() + ahead, passed=real.passed, boot=real.boot)

    ahead = spool._open(FleetIntake(spool.node_config("ahead", lease_seconds=LEASE), clocks=clocks(1)))
    behind = spool._open(FleetIntake(spool.node_config("behind", lease_seconds=LEASE), clocks=clocks(-1)))
    leader = spool._open(FleetOutbox(spool.node_config("behind", lease_seconds=60.0), clocks=clocks(-1)))
    try:
        for intake in (ahead, behind):
            await intake.probe()  # any answer tells the time
        mail = build_submission(ahead.new_id(), **SAME)
        now = ahead.now()
        envelope = replace(mail.envelope, received_at=now)
        assert not (await ahead.put(mail._replace(envelope=envelope))).duplicate
        assert (await behind.put(build_submission(behind.new_id(), **SAME))).duplicate
        await leader.recover(now=leader.now())
        async with asyncio.timeout(20):
            while not (found := await leader.claim(now=leader.now(), limit=1, lease_seconds=60)):
                await asyncio.sleep(0.1)
        assert abs((leader.now() - found[0].accepted_at).total_seconds()) < 30
        await leader.finish(found[0], contact_id="c", now=leader.now())
    finally:
        await spool.close()


async def test_network_behind_a_long_flood_has_its_turn(spool):
    """Behind more mail of one network than a look shows, another network's mail is claimed within a few
    looks.
    """
    from relay.spool.fleet import queue

    intake, leader = spool.open_intake(), open_node(spool, "one", lease=120.0)

    def mail(address, number):
        return build_submission(intake.new_id(), body=b"%d" % number, peer=address)

    look = 12
    for number in range(3 * look):
        await intake.put(mail("192.0.2.1", number))
    victim = mail("198.51.100.7", 999)
    await intake.put(victim)
    for number in range(look):
        await intake.put(mail("192.0.2.1", 1_000 + number))
    await leader.recover(now=leader.now())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "LOOK", look)
        patch.setattr(queue, "_PAGE", look)
        patch.setattr(queue, "_PAGE_MICROSECONDS", 0)
        claimed = []
        for _ in range(6):
            claimed += await leader.claim(now=later(10**6), limit=1, lease_seconds=60)
    assert victim.spool_id in {each.spool_id for each in claimed}


async def test_receiver_and_leader_of_one_node_ring(spool):
    """A leader that waits for a poll hears at once of mail that its own node accepts."""
    config = spool.node_config("one", lease_seconds=60.0)
    intake, leader = spool._open(FleetIntake(config)), open_node(spool, "one", lease=60.0)
    await leader.recover(now=leader.now())
    with leader.open_wake() as wake:
        waiting = asyncio.create_task(wake.wait(60.0))
        await asyncio.sleep(0)
        await intake.put(build_submission(intake.new_id()))
        async with asyncio.timeout(5.0):
            await waiting


async def test_no_change_is_made_by_a_node_that_was_denied(spool, proxy):
    """A claim that IAM denies raises, and leaves the entry as it was."""
    intake, leader = spool.open_intake(), open_node(spool, "one", lease=60.0)
    await intake.put(build_submission(intake.new_id()))
    await leader.recover(now=leader.now())
    proxy.refuse["UpdateItem"] = (400, "AccessDeniedException")
    with pytest.raises(SpoolError):
        await leader.claim(now=later(10), limit=1, lease_seconds=60)
    proxy.refuse.clear()
    (entry,) = await entries_of(spool)
    assert (entry.state, entry.attempts) == (State.QUEUED, 0)
