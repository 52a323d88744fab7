"""The facts of the spool: recovery, retention, failures, and how the queue stands.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

from typing import Any

from relay.spool.model import QueueState
from relay.telemetry.current import current_log
from relay.telemetry.metrics import (
    CLOCK_STEP,
    LEDGER_ROWS,
    ROUTES_HELD,
    ROUTES_ON_STANDBY,
    SERVICES_AWAY,
    SPOOL_DISK_FULL,
    SPOOL_LOG_BYTES,
    SPOOL_MESSAGES,
    SPOOL_OLDEST,
    SPOOL_POLICY_HELD,
    SPOOL_SICK,
)


def spool_recovered(*, entries: int) -> None:
    """Entries that a dead runner had leased were returned to the queue at the start."""
    current_log().info("spool.recovered", entries=entries)


def spool_record_corrupt(*, spool_id: str, entry_id: str, detail: str) -> None:
    """A row of the spool cannot be read; the entry is set aside as dead."""
    current_log().error("spool.record_corrupt", spool_id=spool_id, entry_id=entry_id, detail=detail)


def spool_swept(*, files: int) -> None:
    """Raw mails that no entry names were removed at the start: their receivers died before the commit."""
    current_log().info("spool.swept", files=files)


def spool_expired(*, mails: int, left: int | None, early: bool = False) -> None:
    """Finished mails past their retention were removed; `early`: before its end, for want of room.

    `left`: finished entries that remain; None if the spool cannot count them.
    """
    current_log().info("spool.expired", mails=mails, left=left, early=early)


def ledger_shortened(*, records: int) -> None:
    """The oldest records of the ledger were forgotten before their time, for it had too many."""
    current_log().info("ledger.shortened", records=records)


def spool_failed(*, where: str, why: str, **facts: Any) -> None:
    """A step of the spool failed; the entry or the mail it was about stays as it was."""
    current_log().error("spool.failed", where=where, why=why, **facts)


def queue_seen(queue: QueueState) -> None:
    """The state of the queue at this moment, for the gauges."""
    current_log().debug("queue.seen", queued=queue.queued, held=queue.held, dead=queue.dead, sick=queue.sick)
    SPOOL_SICK.set(bool(queue.sick))
    if queue.sick:
        return
    for state in ("queued", "leased", "held", "dead", "done"):
        if (count := getattr(queue, state)) is not None:
            SPOOL_MESSAGES.labels(state).set(count)
    SPOOL_POLICY_HELD.set(queue.policy_held)
    SPOOL_OLDEST.set(queue.oldest_seconds)
    CLOCK_STEP.set(queue.clock_step_seconds)
    SPOOL_LOG_BYTES.set(queue.log_bytes)
    LEDGER_ROWS.set(queue.ledger_rows)
    SPOOL_DISK_FULL.set(queue.disk_full)
    ROUTES_HELD.set(len(queue.held_routes))
    ROUTES_ON_STANDBY.set(len(queue.standby))
    away = dict(queue.away)
    SERVICES_AWAY.clear()  # those of some instances only are there while they are away
    for service in ("s3", "connect", "credentials", *away):
        SERVICES_AWAY.labels(service).set(service in away)
