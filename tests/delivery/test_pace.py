"""The token bucket, its slowing down, and its asyncio shell."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.pace import Bucket, Pace


def drain(bucket, *, seconds, step=0.01):
    """How many tokens a busy caller gets out of a bucket in so many seconds from 0, and when it got them."""
    now, taken = 0.0, []
    while now < seconds:
        wait = bucket.take(now)
        if wait == 0.0:
            taken.append(now)
        now += max(wait, step) if wait else 0.0
    return taken


class Service:
    """A service that counts in a full bucket of its own, and refuses a share of all calls besides."""

    def __init__(self, *, rate=2.0, burst=5, share=0.0, seed=1):
        self._rate, self._burst, self._share, self._rng = rate, burst, share, random.Random(seed)
        self._tokens, self._last = float(burst), 0.0

    def takes(self, at):
        self._tokens = min(self._tokens + (at - self._last) * self._rate, self._burst)
        self._last = at
        if self._rng.random() < self._share or self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def service_refusals(instants):
    """How many of these calls a service would refuse."""
    service = Service()
    return sum(not service.takes(at) for at in sorted(instants))


def converse(service, buckets, *, seconds, jitter=0.02):
    """Busy callers before one service, each with a bucket: how many calls of each passed, and were
    refused.
    """
    rng, at = random.Random(2), [0.1 * number for number in range(len(buckets))]
    passed, refused = [0] * len(buckets), [0] * len(buckets)
    while (now := min(at)) < seconds:
        number = at.index(now)
        if (wait := buckets[number].take(now)) > 0:
            at[number] = now + wait + rng.random() * jitter
        elif service.takes(now):
            buckets[number].speed_up(now)
            passed[number] += 1
        else:
            buckets[number].slow_down(now)
            refused[number] += 1
    return passed, refused


def test_rate_under_backlog_is_the_configured_one():
    """A busy minute lets through two a second, no more and hardly less."""
    taken = drain(Bucket(rate=2.0, burst=5, now=0.0), seconds=60)
    assert 119 <= len(taken) <= 122


@given(st.floats(min_value=0.1, max_value=1_000), st.floats(min_value=0, max_value=1e6))
def test_waiting_as_long_as_told_is_enough(rate, now):
    """Whoever waits as long as the bucket says finds a token: no second wait, too short for a clock
    to move.
    """
    bucket = Bucket(rate=rate, burst=5, now=now)
    bucket.take(now)
    for _ in range(20):
        now += bucket.take(now)
        assert bucket.take(now) == 0.0


def test_start_does_not_burst():
    """After a restart the service may remember our last burst, so ours begins with one token."""
    taken = drain(Bucket(rate=2.0, burst=5, now=0.0), seconds=2)
    assert len(taken) <= 5


@given(st.lists(st.floats(min_value=0, max_value=0.2), min_size=200, max_size=200))
def test_network_jitter_gives_no_refusal(jitter):
    """Calls that arrive up to 200 ms late, each by its own delay, still find a token at the service."""
    taken = drain(Bucket(rate=2.0, burst=5, now=0.0), seconds=100)
    assert service_refusals([at + late for at, late in zip(taken, jitter, strict=False)]) == 0


def test_idle_time_saves_up_one_less_than_the_burst():
    """After idling, four calls go at once and the fifth waits: the service keeps one token for stragglers."""
    bucket = Bucket(rate=2.0, burst=5, now=0.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0] * 4
    assert bucket.take(100.0) == pytest.approx(0.5)


def test_refusals_slow_down_once_a_second():
    """A volley of 429s counts as one; a second later the next one counts again."""
    bucket = Bucket(rate=2.0, burst=5, now=0.0)
    for _ in range(10):
        bucket.slow_down(1.0)
    assert bucket.rate == pytest.approx(1.6)
    bucket.slow_down(2.5)
    assert bucket.rate == pytest.approx(1.28)


def test_rate_never_stops_and_comes_back():
    """However many refusals, an eighth of the rate stays, and ten seconds of calls that pass bring all of it
    back.
    """
    bucket = Bucket(rate=2.0, burst=5, now=0.0)
    for second in range(2, 200, 2):
        bucket.slow_down(float(second))
    assert bucket.rate == pytest.approx(0.25)
    bucket.speed_up(200.0)
    for second in range(201, 206):
        bucket.speed_up(float(second))
    assert bucket.rate == pytest.approx(2.0)


def test_increase_is_by_time():
    """Many calls that pass within a second give back no more than one does; an idle night gives back five
    seconds.
    """
    bucket = Bucket(rate=10.0, burst=5, now=0.0)
    for second in range(2, 200, 2):
        bucket.slow_down(float(second))
    bucket.speed_up(199.0)
    slow = bucket.rate
    for tenth in range(1, 11):
        bucket.speed_up(199.0 + tenth / 10)
    assert bucket.rate == pytest.approx(slow + 1.0)
    bucket.slow_down(200.0)
    slow = bucket.rate
    bucket.speed_up(50_000.0)
    assert bucket.rate == pytest.approx(min(slow + 5.0, 10.0))


@pytest.mark.parametrize(("share", "least"), [(0.0, 1.99), (0.05, 1.75), (0.5, 0.7), (0.8, 0.12)])
def test_what_passes_when_a_share_is_refused_anyway(share, least):
    """Where slowing down is of no use, it costs little: of half of all calls refused, 0.7 of 1.0 that could
    pass do.
    """
    passed, refused = converse(Service(share=share), [Bucket(rate=2.0, burst=5, now=0.0)], seconds=1_000)
    assert passed[0] >= least * 1_000
    assert share or not refused[0]


def test_two_callers_of_an_account_share():
    """Two relays without a common pace get half of it each, and neither is pushed aside."""
    buckets = [Bucket(rate=2.0, burst=5, now=0.0) for _ in range(2)]
    passed, refused = converse(Service(), buckets, seconds=1_000)
    assert min(passed) >= 700
    assert sum(refused) <= 700


def test_rate_configured_far_too_high():
    """Ten times what the service allows: all that it allows passes, and the calls are no more than half of
    those set.
    """
    passed, refused = converse(Service(), [Bucket(rate=20.0, burst=5, now=0.0)], seconds=1_000)
    assert passed[0] >= 1_990
    assert refused[0] <= 8_500


async def test_waiters_go_in_order():
    """Those who wait for a turn get it in the order in which they came."""
    pace = Pace(rate=200.0, burst=1, clock=asyncio.get_running_loop().time)
    order = []

    async def caller(number):
        await pace.turn()
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(caller(number))
    assert order == list(range(10))


async def test_cancelled_waiter_leaves_the_gate_open():
    """A caller that gives up while it waits does not block the next."""
    pace = Pace(rate=1.0, burst=1, clock=asyncio.get_running_loop().time)
    await pace.turn()
    impatient = asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    async with asyncio.timeout(5):
        await pace.turn()
