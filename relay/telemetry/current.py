"""The log of this process, to which the facts are written.

Owns the one bound logger. Never decides what is said, nor how it looks: `relay.telemetry.log` has the looks.
"""

from __future__ import annotations

import sys
from typing import Any

import structlog

from relay.telemetry.addresses import Hide
from relay.telemetry.log import configure_logs

# Until it is configured, as in a command: standard output is for what the command prints.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

_log: Any = structlog.get_logger()
_tells_debug = True


def configure(
    log_format: str = "auto", level: str = "info", *, process: str = "", hide: Hide | None = None
) -> None:
    """Set the form and the level of the log, the name of the process that each line carries, and how
    addresses are hidden.
    """
    global _log, _tells_debug  # noqa: PLW0603 - one log a process
    configure_logs(log_format, level, hide=hide)
    _tells_debug = level == "debug"
    # Bound once: a lazy logger would be bound anew for each line of a session.
    _log = structlog.get_logger().bind(**({"process": process} if process else {}))


def tells_debug() -> bool:
    """Returns whether lines of the level "debug" are written. Ask before a line that each session would
    have: to make its values costs more than to leave it out.
    """
    return _tells_debug


def current_log() -> Any:
    """The logger as `configure` bound it."""
    return _log
