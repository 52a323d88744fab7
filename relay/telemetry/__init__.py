"""The log and the metrics: one function for each fact, which writes its log line and moves its metric.

Owns the rules of all facts: an event is dotted, past tense, noun first; no body is logged, and no subject at
INFO; values that a peer chose are disarmed before they are rendered, so one event is one line and no terminal
obeys it. The facts stand by half: `sessions`, `spool`, `deliveries`, `workers`, `daemon`. docs/operations.md
lists events and metrics.
"""

from __future__ import annotations

from relay.telemetry.current import configure, current_log
from relay.telemetry.daemon import (
    admin_opened,
    admin_refused,
    alarm_told,
    alarm_untold,
    child_cannot_work,
    child_ended,
    child_hung,
    child_stacks,
    child_started,
    config_reloaded,
    daemon_ready,
    daemon_started,
    daemon_stopped,
    fault_caught,
    log_dropped,
    queue_log,
)
from relay.telemetry.deliveries import (
    Outcome,
    clock_moved,
    delivery_attempted,
    route_held,
    route_resumed,
    rung_refused,
    service_moved,
)
from relay.telemetry.metrics import exposition
from relay.telemetry.sessions import (
    certificate_loaded,
    certificate_refused,
    command_refused,
    commit_late,
    gate_moved,
    handshake_failed,
    intake_moved,
    listener_awaited,
    listener_opened,
    login_refused,
    proxy_refused,
    recipient_refused,
    session_closed,
    session_opened,
    session_refused,
    transaction_aborted,
    transaction_ended,
)
from relay.telemetry.spool import (
    queue_seen,
    spool_expired,
    spool_failed,
    spool_record_corrupt,
    spool_recovered,
    spool_swept,
)
from relay.telemetry.workers import mail_was_slow, worker_died, worker_faulted, workers_failed

__all__ = [
    "Outcome",
    "admin_opened",
    "admin_refused",
    "alarm_told",
    "alarm_untold",
    "certificate_loaded",
    "certificate_refused",
    "child_cannot_work",
    "child_ended",
    "child_hung",
    "child_stacks",
    "child_started",
    "clock_moved",
    "command_refused",
    "commit_late",
    "config_reloaded",
    "configure",
    "current_log",
    "daemon_ready",
    "daemon_started",
    "daemon_stopped",
    "delivery_attempted",
    "exposition",
    "fault_caught",
    "gate_moved",
    "handshake_failed",
    "intake_moved",
    "listener_awaited",
    "listener_opened",
    "log_dropped",
    "login_refused",
    "mail_was_slow",
    "proxy_refused",
    "queue_log",
    "queue_seen",
    "recipient_refused",
    "route_held",
    "route_resumed",
    "rung_refused",
    "service_moved",
    "session_closed",
    "session_opened",
    "session_refused",
    "spool_expired",
    "spool_failed",
    "spool_record_corrupt",
    "spool_recovered",
    "spool_swept",
    "transaction_aborted",
    "transaction_ended",
    "worker_died",
    "worker_faulted",
    "workers_failed",
]
