"""The lease of an entry while its attempt goes on.

Owns its renewal: slow uploads or a slow pace may outlast one lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from relay import telemetry
from relay.errors import LeaseLostError, SpoolError
from relay.spool.interface import Outbox
from relay.spool.model import Entry


async def keep_lease(
    outbox: Outbox, entry: Entry, *, seconds: Callable[[], float], now: Callable[[], datetime]
) -> None:
    """Renew the lease three times in each of its lengths, until cancelled or lost."""
    while True:
        await asyncio.sleep(seconds() / 3)
        try:
            await outbox.renew(entry, lease_seconds=seconds(), now=now())
        except LeaseLostError:
            return  # logged where the outcome is recorded
        except SpoolError as exc:
            telemetry.spool_failed(where="runner.renew", why=str(exc), spool_id=entry.spool_id)
