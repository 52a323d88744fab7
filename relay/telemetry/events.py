"""The facts about events that are told to a receiver outside (docs/events.md)."""

from __future__ import annotations

from relay.telemetry.current import current_log
from relay.telemetry.metrics import EVENTS_DEAD, EVENTS_TOLD, EVENTS_WAITING


def events_told(*, taken: int, failed: int, given_up: int, why: str) -> None:
    """A batch of events went to the receiver: so many were taken, and so many failed or were given up."""
    for outcome, count in (("taken", taken), ("failed", failed), ("given_up", given_up)):
        EVENTS_TOLD.labels(outcome).inc(count)
    log = current_log()
    if given_up:
        log.error("events.given_up", events=given_up, why=why)
    elif failed:
        log.warning("events.failed", events=failed, why=why)
    else:
        log.debug("events.taken", events=taken)


def feed_measured(*, waiting: int, given_up: int) -> None:
    """The events that wait, and those that were given up."""
    EVENTS_WAITING.set(waiting)
    EVENTS_DEAD.set(given_up)
