"""The wake-up in a fleet: other nodes accept mail without a word, so a leader looks at intervals.

Owns that wait.
"""

from __future__ import annotations

import asyncio

from relay.spool.interface import Wake


class Poll(Wake):
    """A wake-up that never comes before its time: other nodes accept mail without a word."""

    async def wait(self, timeout_seconds: float) -> None:
        """Return after the time-out."""
        await asyncio.sleep(timeout_seconds)
