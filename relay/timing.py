"""The present instant, and waits that an event can cut short.

Owns the reading of the wall clock for those that take `now` as an argument, and the time-out of a wait. Never
sets an event: the caller's code does.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most `seconds`. Returns whether the event is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
