"""How a line of the log looks: JSON for programs, columns for a person, and nothing that a terminal obeys.

Owns the set-up of structlog and of the libraries' own logging. Never decides what is said: `relay.telemetry` does.
The line of a transaction is on the way of every 250, so its chain is short: one encoder made once, values that are
plain left as they are, one step instead of structlog's four, and the lines of one turn of the event loop written
together.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog

from relay.log_queue import QueuedStream

#: What the end of a process waits for a sink that has stalled: its last words are worth a moment, and no more.
_LAST_SECONDS = 1.0
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


# For what orjson does not take: lone surrogates, integers beyond 64 bits.
_encode_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=repr).encode


def _encode(event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        return _encode_any(event)


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    """The date and time of RFC 3339; a second's lines share one."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One line of JSON, disarmed; most lines are seen to be harmless as a whole, at a tenth of the cost."""
    event["level"] = method
    now = time.time_ns()
    event["at"] = f"{_second(now // 1_000_000_000)}.{now // 1_000 % 1_000_000:06d}Z"
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    line = _encode(event)
    # JSON writes out C0, with a backslash; beyond ASCII there may be anything.
    if line.isascii() and "\\" not in line and "\x7f" not in line:
        return line
    return _encode(_disarm(logger, method, event))


class Lines:
    """Where rendered lines go: to a stream, whole, and those of one turn of the event loop with one write.

    A warning or an error is written at once, and what waits before it; so is everything where no loop runs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        #: The loop that will flush.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # threads have things to say, too

    def info(self, line: str) -> None:
        """Write the line before the loop's next turn ends."""
        with self._lock:
            self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self.flush)

    debug = info

    def error(self, line: str) -> None:
        """Write the line now."""
        with self._lock:
            self._waiting.append(line)
        self.flush()

    warning = error

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._loop = None
            if self._waiting:
                self._waiting.append("")
                text = "\n".join(self._waiting)
                self._waiting.clear()
                self._stream.write(text)
                self._stream.flush()


_lines = Lines(sys.stderr)


def queue_stderr(*, count: Callable[[int], object], tell: Callable[[int], object]) -> None:
    """Have all that this process writes to sys.stderr from now on, log or not, wait in a queue: see QueuedStream.

    To be called before `configure_logs`.
    """
    if isinstance(sys.stderr, QueuedStream):
        return
    with suppress(OSError):  # a stream in memory has no descriptor, and cannot stall
        sys.stderr = QueuedStream(sys.stderr.fileno(), count=count, tell=tell)


def _flush_last() -> None:
    """The last words of a process whose loop has ended."""
    _lines.flush()
    if isinstance(sys.stderr, QueuedStream):
        sys.stderr.drain(_LAST_SECONDS)


atexit.register(_flush_last)


def configure_logs(log_format: str = "auto", level: str = "info") -> None:
    """Set how the log looks: JSON lines on stderr, or lines for a person where stderr is a terminal ("auto")."""
    global _lines  # noqa: PLW0603 - one log a process
    _lines.flush()
    _lines = Lines(sys.stderr)
    human = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    chain: list[Any] = [_render]
    if human:
        chain = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="at"),
            structlog.processors.format_exc_info,
            _disarm,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24),
        ]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _lines,
        cache_logger_on_first_use=False,
    )
    # Libraries speak through logging; what they say below WARNING is theirs to keep.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
    for noisy in ("mail.log", "aiobotocore", "botocore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
