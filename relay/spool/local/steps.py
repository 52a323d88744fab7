"""Long work on the spool in short transactions, with a pause after each.

Owns the pause between two steps, in which other processes have the write lock. Never knows what a step does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from relay.spool.interface import Pause

#: Seconds of the shortest pause: several groups of acceptances are committed in it, at 2 to 5 ms each.
_SHORTEST_SECONDS = 0.02


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False


async def run_steps(step: Callable[[], Awaitable[bool]], pause: Pause | None = None) -> bool:
    """Run a step until it returns False (all is done). Returns whether a pause ended the work before.

    A pause lasts as long as its step did, so the steps never have more than half of the time, on a slow disk
    too. The default is a sleep.
    """
    pause = pause or _sleep
    clock = asyncio.get_running_loop().time
    began = clock()
    while await step():
        if await pause(max(_SHORTEST_SECONDS, clock() - began)):
            return True
        began = clock()
    return False
