"""The clocks of the machine, and waits that an event can cut short.

Owns the reading of the wall clock for all who take `now` as an argument, the clock that nobody can set, and
the time-out of a wait. Never sets an event: the caller's code does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

#: The kernel's name for this start of the machine; Linux only (random(4)).
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: The variable with the same name, where a service manager hides that file (systemd's ProcSubset=pid).
_BOOT_VARIABLE = "BOOT_ID"
#: It goes on while the machine sleeps (clock_gettime(2)); other systems have only a clock that may stand.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def utc_now() -> datetime:
    """The present instant by the wall clock, aware, in UTC."""
    return datetime.now(UTC)


def _read_wall() -> int:
    return time.time_ns() // 1_000


def _read_passed() -> int:
    return time.clock_gettime_ns(_STEADY) // 1_000


def _read_boot() -> str:
    try:
        name = _BOOT_ID.read_text(encoding="ascii")
    except (OSError, ValueError):
        name = os.environ.get(_BOOT_VARIABLE, "")
    return name.strip().replace("-", "")  # systemd writes it without hyphens


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The two clocks of a machine, in microseconds, and the name of its start.

    The wall clock shows the time since 1970, and anybody may set it. `passed` counts from the start of the
    machine, its sleep included, and nobody can set it. `boot` tells one start from another; it is ""
    where the system has no such name.
    """

    wall: Callable[[], int] = _read_wall
    passed: Callable[[], int] = _read_passed
    boot: Callable[[], str] = _read_boot


MACHINE = Clocks()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most `seconds`. Returns whether the event is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
