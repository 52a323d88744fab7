"""The doorbell: heard at once, never in the way."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from spool_helpers import build_submission

from relay.spool.local.wake import Bell, Ringer, ring


async def is_rung(bell) -> bool:
    """Whether a wait ends long before its time-out."""
    begun = time.monotonic()
    await bell.wait(5.0)
    return time.monotonic() - begun < 4.0


async def test_ring_is_heard(tmp_path):
    """A ring ends a wait, before it or during it, and many rings end one wait."""
    with Bell(tmp_path) as bell:
        for _ in range(500):
            ring(tmp_path)
        assert await is_rung(bell)
        waiting = asyncio.create_task(is_rung(bell))
        await asyncio.sleep(0)
        ring(tmp_path)
        assert await waiting


async def test_ringer_is_heard_by_every_bell_after_it(tmp_path):
    """A deliverer that starts anew hears the receiver that was there before it, at a path of any length."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    ringer = Ringer(folder)
    ringer.ring()
    for _ in range(2):
        with Bell(folder) as bell:
            ringer.ring()
            assert await is_rung(bell)
    ringer.close()
    ringer.close()
    ringer.ring()


async def test_wait_without_a_ring_ends_by_its_time_out(tmp_path):
    """Nobody rings: the wait ends all the same, and a ring of before does not count twice."""
    with Bell(tmp_path) as bell:
        ring(tmp_path)
        assert await is_rung(bell)
        begun = time.monotonic()
        await bell.wait(0.05)
        assert time.monotonic() - begun >= 0.04


def test_ring_without_a_bell(tmp_path):
    """Nobody listens, or there is no folder at all: nothing happens."""
    ring(tmp_path)
    ring(tmp_path / "nowhere")
    ring(tmp_path / ("x" * 300))


async def test_ring_never_waits_for_a_deaf_bell(tmp_path):
    """A deliverer that hangs does not hold up receivers, however often they ring."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "wake"))
        begun = time.monotonic()
        for _ in range(1_000):
            ring(tmp_path)
        assert time.monotonic() - begun < 5


async def test_bell_in_a_folder_with_a_long_name(tmp_path):
    """A path too long for a Unix socket's address works too."""
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    with Bell(folder) as bell:
        ring(folder)
        assert await is_rung(bell)


async def test_bell_replaces_what_a_dead_one_left(tmp_path):
    """A socket file left by SIGKILL is in nobody's way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "wake"))
    with Bell(tmp_path) as bell:
        ring(tmp_path)
        assert await is_rung(bell)


async def test_bell_that_cannot_listen_still_waits(tmp_path):
    """Where no socket can be made, polling goes on."""
    with Bell(tmp_path / "nowhere") as bell:
        await bell.wait(0.01)


async def test_put_and_operators_ring(spool, intake, desk):
    """An accepted mail, a retry, a release and a resume each wake the deliverer."""
    with Bell(spool.config.data_dir) as bell:
        receipt = await intake.put(build_submission(intake.new_id()))
        assert await is_rung(bell)
        now = build_submission(intake.new_id()).envelope.received_at
        for act in (
            lambda: desk.retry([receipt.spool_id], now=now),
            lambda: desk.release([receipt.spool_id], now=now),
            lambda: desk.resume("delivery"),
        ):
            act()
            assert await is_rung(bell)


@pytest.mark.parametrize("times", [1, 2])
async def test_close_takes_the_socket_away(tmp_path, times):
    """After closing, once or twice, nothing lies about."""
    bell = Bell(tmp_path)
    for _ in range(times):
        bell.close()
    assert list(tmp_path.iterdir()) == []
