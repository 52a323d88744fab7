"""How a line of the log looks: JSON for programs, columns for a person, and nothing that a terminal obeys.

Owns the set-up of structlog and of the libraries' own logging. Never decides what is said: `relay.telemetry` does.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


# Controls of C0 and C1, marks that turn the writing direction, line separators, lone surrogates.
_ARMED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _disarm(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write out what a terminal would obey, an ESC as its escape; the lines of a traceback stay lines."""
    for name, value in event.items():
        if name == "exception":
            event[name] = "\n".join(map(_written, value.split("\n")))
        elif isinstance(value, str):
            event[name] = _written(value)
        elif isinstance(value, list):
            event[name] = [_written(str(each)) for each in value]
    return event


def _written(text: str) -> str:
    return _ARMED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def configure_logs(log_format: str = "auto", level: str = "info", *, process: str = "") -> None:
    """Set how the log looks: JSON lines on stderr, or lines for a person where stderr is a terminal ("auto")."""
    human = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
        if human
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human, key="at"),
            structlog.processors.format_exc_info,
            _disarm,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    if process:
        structlog.contextvars.bind_contextvars(process=process)
    # Libraries speak through logging; what they say below WARNING is theirs to keep.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
    for noisy in ("mail.log", "aiobotocore", "botocore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
