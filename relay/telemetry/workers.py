"""The facts of the workers that read mail: a death, a slow mail, no worker at all.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.telemetry.current import current_log
from relay.telemetry.metrics import SLOW_MAILS, WORKER_DEATHS


def worker_died(*, kind: str, detail: str, spool_id: str, lane: str, seconds: float) -> None:
    """A worker ended in the middle of a mail; the mail is tried once more, or becomes `original`."""
    WORKER_DEATHS.labels(kind).inc()
    current_log().warning(
        "worker.died", kind=kind, detail=detail, spool_id=spool_id, lane=lane, seconds=round(seconds, 3)
    )


def worker_faulted(*, error: str, places: Sequence[str], spool_id: str) -> None:
    """A mail raised an exception where none should: a fault of ours, with its places in the code and no
    value.
    """
    WORKER_DEATHS.labels("fault").inc()
    current_log().error("worker.faulted", error=error, places=list(places), spool_id=spool_id)


def mail_was_slow(*, spool_id: str, seconds: float) -> None:
    """A mail has used as much CPU as an ordinary one never does; it goes on in the slow lane."""
    SLOW_MAILS.inc()
    current_log().info("mail.slow", spool_id=spool_id, cpu_seconds=round(seconds, 3))


def workers_failed(*, why: str) -> None:
    """No worker could be started; mail waits until one can."""
    current_log().error("workers.failed", why=why)
