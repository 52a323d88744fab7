"""The facts of the daemon: its processes, its configuration, its log, its alarms, and faults that nothing
expected.

Owns one function a fact, which writes its log line and moves its metric; `relay.telemetry` has the rules of
all.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from relay import __version__
from relay.telemetry import log as logs
from relay.telemetry.current import current_log
from relay.telemetry.emf import Samples, build_line
from relay.telemetry.metrics import (
    ALARMS,
    BUILD_INFO,
    FILES_KEPT,
    HANGS,
    LOG_LINES_DROPPED,
    SPANS_DROPPED,
)
from relay.vocabulary import AlarmKind


def queue_log() -> None:
    """Have the log lines of this process wait in a bounded queue, so that a stalled sink stops nothing
    else.
    """
    logs.queue_stderr(count=LOG_LINES_DROPPED.inc, tell=_tell_dropped)


def flush_log() -> None:
    """Write the last lines of this process, which takes a second at most."""
    logs.flush_last()


def _tell_dropped(lines: int) -> None:
    log_dropped(lines=lines)


def daemon_started(*, role: str, hostname: str, data_dir: str, version: str) -> None:
    """The supervisor has started."""
    BUILD_INFO.labels(__version__, platform.python_version()).set(1)
    current_log().info("daemon.started", role=role, hostname=hostname, data_dir=data_dir, version=version)


def daemon_ready() -> None:
    """All children work: mail can come in, contacts can go out."""
    current_log().info("daemon.ready")


def daemon_stopped(*, seconds: float) -> None:
    """The supervisor has stopped everything that it started."""
    current_log().info("daemon.stopped", seconds=round(seconds, 3))


def child_started(*, name: str, pid: int) -> None:
    """A receiver or the deliverer has started."""
    current_log().info("child.started", child=name, pid=pid)


def child_ended(*, name: str, pid: int, code: int, expected: bool) -> None:
    """A receiver or the deliverer has ended; unexpected ends are restarted."""
    log = current_log()
    (log.info if expected else log.error)("child.ended", child=name, pid=pid, code=code, expected=expected)


def child_cannot_work(*, why: str, **child: str) -> None:
    """A child could not begin, or go on; it is started again. `child` names it where the supervisor reports
    for it.
    """
    current_log().error("child.cannot_work", why=why, **child)


def log_dropped(*, lines: int) -> None:
    """The sink of the log takes lines again; `lines` were dropped meanwhile, or were refused."""
    current_log().warning("log.dropped", lines=lines)


def child_hung(*, name: str, pid: int, seconds: float, state: str) -> None:
    """A receiver or the deliverer has shown no sign of life for `seconds`; it is ended, and started again."""
    HANGS.inc()
    current_log().error(
        "child.hung", child=name, pid=pid, seconds=round(seconds, 1), state=state or "unknown"
    )


def child_stacks(*, name: str, pid: int, why: str, stacks: Sequence[str]) -> None:
    """The stacks of all threads of a process that hung or crashed, most recent call first; `why` says why
    there are none.
    """
    current_log().error("child.stacks", child=name, pid=pid, why=why, stacks=list(stacks))


def config_reloaded(*, sentences: Sequence[str] = ()) -> None:
    """The configuration was read again (SIGHUP): it is in force, or `sentences` say why the old one stays."""
    if sentences:
        current_log().error("config.refused", why=list(sentences))
    else:
        current_log().info("config.reloaded")


def config_files_kept(*, sentences: Sequence[str]) -> None:
    """Some included files are wrong, as `sentences` say: each stays at its last good version, or is left out,
    while all others are in force. None ends that.
    """
    FILES_KEPT.set(len({sentence.partition(": ")[0] for sentence in sentences}))
    if sentences:
        current_log().error("config.files_kept", why=list(sentences))


def operator_action(
    *,
    number: int,
    happened_at: str,
    actor: str,
    via: str,
    command: str,
    about: Sequence[str],
    stage: str,
    counts: Sequence[str],
    reason: str,
    detail: str,
    begun: int | None,
) -> None:
    """A person did something, or read a mail: the row of the audit with this number."""
    current_log().info(
        "operator.action",
        number=number,
        happened_at=happened_at,
        actor=actor,
        via=via,
        command=command,
        about=list(about),
        stage=stage,
        counts=list(counts),
        reason=reason,
        detail=detail,
        begun=begun,
    )


def admin_opened(*, bind: str) -> None:
    """The address of health and metrics is open."""
    current_log().info("admin.opened", bind=bind)


def admin_refused(*, why: str) -> None:
    """The address of health and metrics cannot be opened; mail goes on without it."""
    current_log().error("admin.refused", why=why)


def alarm_told(
    *,
    kind: AlarmKind,
    raised: bool,
    detail: str,
    route: str = "",
    count: int | None = None,
    mild: bool = False,
) -> None:
    """An alarm was raised: a person should look, today or (`mild`) one of these days. Or it has ended."""
    facts = ({"route": route} if route else {}) | ({"count": count} if count is not None else {})
    if raised:
        ALARMS.labels(kind).inc()
        (current_log().warning if mild else current_log().error)(
            "alarm.raised", kind=str(kind), detail=detail, **facts
        )
    else:
        current_log().info("alarm.ended", kind=str(kind), detail=detail, **facts)


def alarm_untold(*, to: str, why: str, kind: AlarmKind, given_up: bool) -> None:
    """An alarm was not taken by its webhook or SNS topic; it is tried again until it is given up."""
    (current_log().error if given_up else current_log().warning)(
        "alarm.untold", to=to, why=why, kind=str(kind), given_up=given_up
    )


def spans_dropped(*, cause: Literal["full", "failed"], spans: int, why: str, again: bool) -> None:
    """Spans were not exported: too many waited, or the collector did not take them. `again`: not the first
    such in a row.
    """
    SPANS_DROPPED.labels(cause).inc(spans)
    (current_log().debug if again else current_log().warning)("spans.dropped", why=why, spans=spans)


def spans_exported() -> None:
    """Spans are exported again."""
    current_log().info("spans.exported")


def spans_refused(*, why: str) -> None:
    """The export of spans did not begin, for the environment's OTEL_ variables; mail goes on without."""
    current_log().error("spans.refused", why=why)


def metrics_told(
    now: Mapping[str, Samples], before: Mapping[str, Samples], *, host: str, at: datetime
) -> None:
    """The metrics of a minute, in the Embedded Metric Format of CloudWatch."""
    line = build_line(now, before, host=host, milliseconds=int(at.timestamp() * 1_000))
    logs.write_line({**line, "event": "metrics.told", "level": "info", "at": at.isoformat()})


def fault_caught(*, where: str, **facts: Any) -> None:
    """An exception that no code expects was caught; the mail it concerned was deferred or went out as its
    original.
    """
    current_log().error("fault.caught", where=where, exc_info=True, **facts)
