"""The words of the log and the metrics for the life of a process: it begins, hangs, ends, and its log stalls.

Owns the facts that are of no session, no mail and no queue; `relay.telemetry` has those, and the rules of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay import telemetry
from relay.telemetry import log as logs
from relay.telemetry.metrics import HANGS, LOG_LINES_DROPPED


def queue_log() -> None:
    """Have the log of this process wait in a bounded queue: a sink that stalls stops nothing else."""
    logs.queue_stderr(count=LOG_LINES_DROPPED.inc, tell=_tell_dropped)


def _tell_dropped(lines: int) -> None:
    log_dropped(lines=lines)


def daemon_started(*, role: str, hostname: str, data_dir: str, version: str) -> None:
    """The supervisor runs."""
    telemetry.current_log().info(
        "daemon.started", role=role, hostname=hostname, data_dir=data_dir, version=version
    )


def daemon_ready() -> None:
    """Every child works: mail can come in, contacts can go out."""
    telemetry.current_log().info("daemon.ready")


def daemon_stopped(*, seconds: float) -> None:
    """The supervisor has stopped everything it started."""
    telemetry.current_log().info("daemon.stopped", seconds=round(seconds, 3))


def child_started(*, name: str, pid: int) -> None:
    """A receiver or the deliverer runs."""
    telemetry.current_log().info("child.started", child=name, pid=pid)


def child_ended(*, name: str, pid: int, code: int, expected: bool) -> None:
    """A receiver or the deliverer has ended; unexpected ends are restarted."""
    log = telemetry.current_log()
    (log.info if expected else log.error)("child.ended", child=name, pid=pid, code=code, expected=expected)


def child_cannot_work(*, why: str, **child: str) -> None:
    """A child could not begin, or go on; it is started again. The supervisor says which, as `child`."""
    telemetry.current_log().error("child.cannot_work", why=why, **child)


def log_dropped(*, lines: int) -> None:
    """The sink of the log takes lines again; so many had found no room meanwhile, or were refused."""
    telemetry.current_log().warning("log.dropped", lines=lines)


def child_hung(*, name: str, pid: int, seconds: float, state: str) -> None:
    """A receiver or the deliverer has shown no life for so long; it is ended, and started again."""
    HANGS.inc()
    telemetry.current_log().error(
        "child.hung", child=name, pid=pid, seconds=round(seconds, 1), state=state or "unknown"
    )


def child_stacks(*, name: str, pid: int, why: str, stacks: Sequence[str]) -> None:
    """The stacks of all threads of a process that hung or crashed, most recent call first; or why there are none."""
    telemetry.current_log().error("child.stacks", child=name, pid=pid, why=why, stacks=list(stacks))
