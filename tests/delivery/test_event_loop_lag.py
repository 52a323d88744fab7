"""The deliverer's event loop while a large mail passes through it."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from bench.lag import TARGET, open_desk, sandbox_beside
from bench.parse import samples

pytestmark = pytest.mark.process

#: A block of ours is there in each round; a tick that met several things at once is not.
ROUNDS = 8


async def worst_lag(folder, clock):
    """The worst lag of the best round, in seconds."""
    mails = samples()
    async with open_desk(folder) as desk:
        await desk.lags(mails["2 KB text"])  # what only the first mail of a process pays for
        best = float("inf")
        for _ in range(ROUNDS):
            lags = await desk.lags(mails["25 MB"], clock=clock)
            assert len(lags) > 20
            best = min(best, max(lags))
            if best < TARGET:
                break
        return best


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param(time.thread_time, id="processor"),
        # Waits of the loop are in it, too, and so is everybody else on this machine.
        pytest.param(time.perf_counter, id="wall", marks=pytest.mark.long),
    ],
)
def test_loop_is_free_while_25_mb_are_delivered(tmp_path, clock):
    """No task waits 20 ms for its turn while a mail of 25 MB is understood, stored and sent."""
    with sandbox_beside(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(worst_lag(tmp_path, clock)) < TARGET
