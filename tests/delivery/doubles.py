"""Doubles of the runner's world: a clock, a bell that nobody rings, and a runner that runs meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from relay.delivery.runner import Runner
from relay.timing import Clocks


def count_microseconds(at):
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Clock:
    """The spool's clock, moved by the test: time goes on, or somebody sets the wall clock beside it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.was_set = timedelta()

    def set(self, by: timedelta) -> None:
        self.was_set += by

    def steady(self) -> float:
        return self.now.timestamp()

    def wall(self) -> datetime:
        return self.now + self.was_set

    def machine(self) -> Clocks:
        """Both clocks as a spool reads them; the machine started when the test began."""
        return Clocks(
            wall=lambda: count_microseconds(self.wall()),
            passed=lambda: count_microseconds(self.now),
            boot=lambda: "a start",
        )

    def __call__(self) -> datetime:
        return self.now


class Polls:
    """A bell that nobody rings: the runner looks again after so long at most."""

    def __init__(self, seconds: float = 0.005) -> None:
        self.seconds = seconds

    async def wait(self, timeout_seconds):
        await asyncio.sleep(min(timeout_seconds, self.seconds))


@asynccontextmanager
async def running_runner(outbox, delivery, limits, *, now, steady, polls_seconds=0.005, wall=None):
    """A runner at work until the block ends."""
    runner = Runner(
        outbox=outbox,
        delivery=delivery,
        wake=Polls(polls_seconds),
        limits=limits,
        now=now,
        steady=steady,
        wall=wall,
        rng=Random(1),
    )
    task = asyncio.create_task(runner.run())
    yield runner
    await runner.stop(5)
    await task


async def until(condition, *, seconds=60.0):
    """Return when the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
