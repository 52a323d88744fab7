"""The token bucket, its slowing down, and its asyncio shell."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.pace import Bucket, Pace


def drain(bucket, *, seconds, step=0.01):
    """How many tokens a busy caller gets out of a bucket in so many seconds from 0, and when it got them."""
    now, taken = 0.0, []
    while now < seconds:
        wait = bucket.take(now)
        if wait == 0.0:
            taken.append(now)
        now += max(wait, step) if wait else 0.0
    return taken


def service_refusals(instants, *, rate=2.0, burst=5):
    """How many of these calls a service would refuse that counts in a full bucket of its own."""
    tokens, last, refused = float(burst), 0.0, 0
    for at in sorted(instants):
        tokens, last = min(tokens + (at - last) * rate, burst), at
        if tokens >= 1.0:
            tokens -= 1.0
        else:
            refused += 1
    return refused


def test_rate_under_backlog_is_the_configured_one():
    """A busy minute lets through two a second, no more and hardly less."""
    taken = drain(Bucket(rate=2.0, burst=5, now=0.0), seconds=60)
    assert 119 <= len(taken) <= 122


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
    """However many refusals, an eighth of the rate stays, and successes bring all of it back."""
    bucket = Bucket(rate=2.0, burst=5, now=0.0)
    for second in range(2, 200, 2):
        bucket.slow_down(float(second))
    assert bucket.rate == pytest.approx(0.25)
    for _ in range(10):
        bucket.speed_up()
    assert bucket.rate == pytest.approx(2.0)


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
