"""The state of a fleet, read from its table.

Owns which questions it takes. Reads some items and the index of what is owed, and nothing that grows with
finished mail.
"""

from __future__ import annotations

import asyncio

from relay.aws.database import SECONDS
from relay.config.model import Config
from relay.spool.fleet import beats, control
from relay.spool.fleet.figures import read_owed
from relay.spool.fleet.leader import Leadership
from relay.spool.fleet.store import Store
from relay.spool.status import FleetStatus, Leader
from relay.timing import Clocks


async def read_status(config: Config, *, clocks: Clocks) -> FleetStatus:
    """One look at a fleet.

    Raises:
        SpoolError: its table cannot be read.
    """
    store = Store(config, clocks=clocks)
    seconds = config.fleet.lease_seconds
    try:
        lease = await Leadership(store, lease_seconds=seconds).look(seconds=SECONDS)
        told, looked, owed = await asyncio.gather(beats.look(store), control.look(store), read_owed(store))
        leader = None
        if lease is not None:
            leader = Leader(
                node=lease.node,
                epoch=lease.epoch,
                age_seconds=lease.age_seconds(store.clock.microseconds()),
                is_released=lease.is_released,
            )
        return FleetStatus(
            table=config.fleet.table,
            now=store.clock.now(),
            leader=leader,
            lease_seconds=seconds,
            beats=tuple(told),
            owed=owed.counts(),
            oldest_at=owed.oldest_at(),
            paused=looked.paused,
        )
    finally:
        await store.close()
