"""Waiting so long, or until something has happened."""

from __future__ import annotations

import asyncio

import pytest

from relay.timing import is_set_within


async def test_what_has_happened_is_not_waited_for():
    """An event that is set answers at once, even where there is no time at all."""
    event = asyncio.Event()
    event.set()
    assert await is_set_within(event, 0)
    assert await is_set_within(event, 3_600)


async def test_what_happens_meanwhile_ends_the_wait():
    """The wait ends with the event, long before its time."""
    event = asyncio.Event()
    waiting = asyncio.create_task(is_set_within(event, 3_600))
    await asyncio.sleep(0)
    event.set()
    assert await waiting


async def test_time_that_is_up_is_no():
    """Nothing has happened, and the answer says so."""
    assert not await is_set_within(asyncio.Event(), 0.001)


async def test_whoever_waits_can_be_cancelled():
    """A cancelled wait is no time-out."""
    waiting = asyncio.create_task(is_set_within(asyncio.Event(), 3_600))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
