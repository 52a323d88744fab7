"""The form of a log line: JSON for programs, columns for a person, and nothing that a terminal obeys.

Owns the set-up of structlog and of the libraries' own logging. Never decides what is said: `relay.telemetry`
does. A line is written before every 250, so the chain is short: one encoder made once, plain values left as
they are, one step in place of structlog's four, and one write for all lines of a turn of the event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog

from relay.telemetry.addresses import Hide
from relay.telemetry.log_queue import QueuedStream
from relay.terminal import write_out

#: Seconds that a process waits at its end for a sink that has stalled.
_LAST_SECONDS = 1.0
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _leave(text: str) -> str:
    return text


#: Hides the addresses of a text, as the configuration asks for it.
_hide: Hide = _leave

#: Characters of one value, so that no peer fills our disk; a sentence of ours, which may quote a peer, may
#: have more.
_VALUE = 200
_SENTENCE = 1_000
_SENTENCES = frozenset({"detail", "why"})
#: Characters of all values of a list together; lines that are kept of a traceback, at its beginning and its
#: end.
_LIST = 4_000
_FIRST_LINES, _LAST_LINES = 20, 80
#: Values that fit into a list for certain when each is within its own limit.
_FEW = _LIST // _VALUE
#: Types whose values are short; they are left as they are.
_SHORT = frozenset({int, float, bool, type(None)})


def _shorten(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut every value to its limit, whoever chose it; a value that was cut says how long it was."""
    for name, value in event.items():
        kind = type(value)
        if kind is str:
            if len(value) > _VALUE:
                event[name] = _shorten_text(name, value)
        elif kind is list or kind is tuple:
            event[name] = _shorten_list(value, _limit(name))
        elif kind not in _SHORT and name != "exc_info":
            words = value if isinstance(value, str) else repr(value)
            event[name] = _shorten_text(name, words)
    return event


def _limit(name: str) -> int:
    return _SENTENCE if name in _SENTENCES else _VALUE


def _shorten_text(name: str, text: str) -> str:
    return _shorten_lines(text) if name == "exception" else _cut(text, _limit(name))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _shorten_list(values: Sequence[Any], limit: int) -> list[str]:
    """The first values of a list, with a last one that counts those left out."""
    for each in values:
        if type(each) is not str or len(each) > _VALUE:
            break
    else:
        if len(values) <= _FEW:
            return list(values)
    kept: list[str] = []
    room = _LIST
    for value in values:
        text = _cut(str(value), limit)
        room -= len(text)
        if room < 0:
            return [*kept, f"… and {len(values) - len(kept):,} more"]
        kept.append(text)
    return kept


def _shorten_lines(text: str) -> str:
    lines = [_cut(line, _SENTENCE) for line in text.split("\n")]
    if len(lines) > _FIRST_LINES + _LAST_LINES:
        lines[_FIRST_LINES:-_LAST_LINES] = [f"… {len(lines) - _FIRST_LINES - _LAST_LINES:,} lines more"]
    return "\n".join(lines)


def _is_short(line: str) -> bool:
    """Returns whether a line of JSON has no value over its limit: no stretch without a quotation mark is long
    enough for one.

    A few jumps from mark to mark, where a look at each value costs several times as much. Returns False where
    a value may be too long, a sentence of ours for one.
    """
    at, end = 0, len(line)
    if end > _LIST:
        return False
    while end - at > _VALUE + 1:
        at = line.rfind('"', at + 1, at + _VALUE + 2)
        if at < 0:
            return False
    return True


def _hide_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide the addresses in every value but a Message-ID, before values are cut and become one line."""
    if _hide is _leave:
        return event
    for name, value in event.items():
        kind = type(value)
        if kind is str:
            event[name] = value if name == "message_id" else _hide(value)
        elif kind is list or kind is tuple:
            event[name] = [_hide(str(each)) for each in value]
        elif kind not in _SHORT and name != "exc_info":
            event[name] = _hide(value if isinstance(value, str) else repr(value))
    return event


def _shorten_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return _shorten(event)


def _disarm(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write out, as escapes, the characters that a terminal would obey; the lines of a traceback stay
    lines.
    """
    for name, value in event.items():
        if name == "exception":
            event[name] = "\n".join(map(write_out, value.split("\n")))
        elif isinstance(value, str):
            event[name] = write_out(value)
        elif isinstance(value, list):
            event[name] = [write_out(str(each)) for each in value]
    return event


# The encoder for what orjson refuses: lone surrogates, integers beyond 64 bits.
_encode_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=repr).encode


def _encode(event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        return _encode_any(event)


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    """The date and time of RFC 3339 to the second, cached for the lines of that second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One line of JSON, disarmed and cut. Most lines are seen to be harmless as a whole, at a tenth of the
    cost.
    """
    event["level"] = method
    now = time.time_ns()
    event["at"] = f"{_second(now // 1_000_000_000)}.{now // 1_000 % 1_000_000:06d}Z"
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    if _hide is not _leave:
        event = _hide_event(logger, method, event)
    line = _encode(event)
    # JSON escapes C0 controls with a backslash; a line without one, in ASCII, is harmless.
    if line.isascii() and "\\" not in line and "\x7f" not in line and _is_short(line):
        return line
    return _encode(_disarm(logger, method, _shorten(event)))


class _OfLibraries(logging.Formatter):
    """The form of the libraries' lines, which may quote a peer: disarmed and cut as our own lines are."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message on one line."""
        return write_out(_cut(_hide(super().formatMessage(record)), _SENTENCE))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The traceback, disarmed, line by line."""
        return "\n".join(map(write_out, _shorten_lines(_hide(super().formatException(ei))).split("\n")))


class Lines:
    """The stream of rendered lines: written whole, those of one turn of the event loop with one write.

    A warning or an error is written at once, with the lines that wait before it; so is every line where no
    loop runs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        #: The event loop that will call `flush`.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # threads write lines, too

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
        """Write the lines that wait."""
        with self._lock:
            self._loop = None
            if self._waiting:
                self._waiting.append("")
                text = "\n".join(self._waiting)
                self._waiting.clear()
                if not self._stream.closed:  # by who lent it to us, when its program ended
                    self._stream.write(text)
                    self._stream.flush()


_lines = Lines(sys.stderr)


def queue_stderr(*, count: Callable[[int], object], tell: Callable[[int], object]) -> None:
    """Replace sys.stderr by a `QueuedStream`, for the log and everything else that this process writes there.

    Call it before `configure_logs`.
    """
    if isinstance(sys.stderr, QueuedStream):
        return
    with suppress(OSError):  # a stream in memory has no descriptor, and cannot stall
        sys.stderr = QueuedStream(sys.stderr.fileno(), count=count, tell=tell)


def _quicken(filtering: Any) -> Any:
    """The logger of structlog with a shorter way for `info`, the level of the one line that each mail has.

    structlog looks up the method, copies the context and goes through a chain (measured: 4 µs a line), where
    our chain for JSON is one step.
    """

    class Quick(filtering):  # type: ignore[misc]  # made by a function of theirs, which promises Any
        def info(self, event: str, *words: Any, **values: Any) -> Any:
            if words or self._processors[0] is not _render:  # as in structlog.testing
                return super().info(event, *words, **values)
            line = _render(self._logger, "info", {**self._context, **values, "event": event})
            return self._logger.info(line)

    return Quick


def write_line(event: MutableMapping[str, Any]) -> None:
    """Write a line of JSON for a program that reads the log, whatever the log's form and level."""
    _lines.info(_encode(event))


def flush_last() -> None:
    """Write the last lines of a process whose loop has ended."""
    _lines.flush()
    if isinstance(sys.stderr, QueuedStream):
        sys.stderr.drain(_LAST_SECONDS)


atexit.register(flush_last)


def configure_logs(log_format: str = "auto", level: str = "info", *, hide: Hide | None = None) -> None:
    """Set the form of the log: JSON lines on stderr, or columns where stderr is a terminal ("auto") or asked
    for ("console"), with their addresses hidden by `hide`.
    """
    global _lines, _hide  # noqa: PLW0603 - one log a process
    _lines.flush()
    _hide = hide or _leave
    _lines = Lines(sys.stderr)
    human = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    chain: list[Any] = [_render]
    if human:
        chain = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="at"),
            structlog.processors.format_exc_info,
            _hide_event,
            _shorten_event,
            _disarm,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24),
        ]
    filtering = structlog.make_filtering_bound_logger(_LEVELS[level])
    structlog.configure(
        processors=chain,
        wrapper_class=filtering if human or _LEVELS[level] > logging.INFO else _quicken(filtering),
        logger_factory=lambda *_: _lines,
        cache_logger_on_first_use=False,
    )
    # Libraries log through `logging`; their lines below WARNING are left out.
    speaker = logging.StreamHandler(sys.stderr)
    speaker.setFormatter(_OfLibraries("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[speaker], force=True)
    for noisy in ("mail.log", "aiobotocore", "botocore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
