"""Waiting that can be cut short: so long, or until something has happened.

Owns the time-out; what happens, and who says so, is the caller's.
"""

from __future__ import annotations

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set, as soon as it is, or after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
