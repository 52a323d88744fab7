"""The spans of mails, where they are exported: one trace for each mail, from its connection to its contact.

Owns the switch. While it is off, a fact costs one comparison with None, and nothing of OpenTelemetry is
imported. A span names the mail by its spool id, and has words, sizes and durations; never an address, a
subject or content.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from relay.config.otel import Otel
from relay.envelope import SpoolId
from relay.spool.model import Entry
from relay.telemetry.daemon import spans_refused

#: Seconds that a process waits at its end for spans that were not exported yet.
_LAST_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailEnd:
    """The end of a transaction with data, as its spans tell it."""

    #: The id of the transaction, which a refusal carries, too.
    spool_id: SpoolId
    #: The id of the mail of which this one is a retransmission; None if it is none.
    first_id: SpoolId | None
    disposition: str
    #: The reply's code and enhanced code.
    reply: str
    routes: tuple[str, ...]
    protocol: str
    is_encrypted: bool
    size: int
    #: The instant of the reply, as `span_instant` tells it.
    ended_at: int
    #: Seconds from the peer's connection, and from MAIL, to the reply.
    connected_seconds: float
    seconds: float
    #: When the commit began, as `instant` tells it; None if there was none.
    put_at: int | None


class Spans(Protocol):
    """The exporter of spans."""

    def tell_mail(self, end: MailEnd) -> None:
        """Export the spans of a mail's reception."""

    def trace_attempt(self, entry: Entry, attempt: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """The attempt to deliver an entry, within a span."""

    def tell_outcome(self, facts: Mapping[str, str | int]) -> None:
        """Note the outcome of the attempt within whose span the caller is; nothing outside of one."""

    def trace_step(self, step: str, sizes: Mapping[str, int]) -> AbstractContextManager[None]:
        """A span for a step within that of an attempt; nothing outside of one."""

    def close(self, seconds: float) -> None:
        """Export what waits, within so many seconds, and stop."""


_spans: Spans | None = None


def current_spans() -> Spans | None:
    """The exporter of this process; None while no spans are exported."""
    return _spans


def begin_spans(otel: Otel, *, process: str, hostname: str, exporter: Any = None) -> None:
    """Begin to export spans, if the configuration says so. Call it after the fork: it starts a thread.

    `exporter` is one of the SDK's in place of that by OTLP. Where the environment's settings are not to be
    used, that is told, and mail goes on without spans.
    """
    global _spans  # noqa: PLW0603 - one exporter a process
    if not otel.spans or _spans is not None:
        return
    try:
        module = importlib.import_module("relay.telemetry.otel")
        _spans = module.open_spans(otel, process=process, hostname=hostname, exporter=exporter)
    except Exception as exc:  # noqa: BLE001 - whatever the SDK makes of its variables: mail matters more
        spans_refused(why=f"{type(exc).__name__}: {exc}")


def end_spans() -> None:
    """Export what waits, for two seconds at most, and stop."""
    global _spans
    if _spans is not None:
        ending, _spans = _spans, None
        ending.close(_LAST_SECONDS)


def span_instant() -> int | None:
    """This instant for a span, in nanoseconds since 1970; None while no spans are exported."""
    return None if _spans is None else time.time_ns()


def attempt_traced(entry: Entry, attempt: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """The attempt to deliver an entry, within a span where spans are exported."""
    return attempt if _spans is None else _spans.trace_attempt(entry, attempt)
