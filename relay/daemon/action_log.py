"""The audit in the log: a line for each row, whoever wrote it, while the daemon ran or before.

Owns when the spool is asked. A row is told once, or twice where the deliverer ends between the line and its
mark.
"""

from __future__ import annotations

import asyncio

from relay import telemetry
from relay.errors import SpoolError
from relay.spool.interface import Outbox
from relay.timing import is_set_within

#: Seconds between two looks: one read of a short index.
_LOOK_SECONDS = 5.0


async def tell_actions(outbox: Outbox, stopped: asyncio.Event) -> None:
    """Write the rows that nobody has told yet to the log, at intervals, until `stopped`."""
    pause = 0.0
    while not await is_set_within(stopped, pause):
        pause = _LOOK_SECONDS
        try:
            rows = await outbox.untold_actions()
            for row in rows:
                telemetry.operator_action(
                    number=row.number,
                    happened_at=row.at.isoformat(),
                    actor=row.action.actor,
                    via=row.action.via,
                    command=row.action.command,
                    about=row.action.about,
                    stage=row.stage,
                    counts=[f"{number} {name}" for name, number in row.counts.items()],
                    reason=row.action.reason,
                    detail=row.detail,
                    begun=row.begun,
                )
            if rows:
                await outbox.note_told(rows[-1].number)
                pause = 0.0  # there may be more
        except SpoolError as exc:
            telemetry.spool_failed(where="deliverer.audit", why=str(exc))
