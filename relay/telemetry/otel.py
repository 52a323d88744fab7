"""The spans of mails in OpenTelemetry's SDK, exported by OTLP over HTTP.

Owns the SDK: nothing else imports it, and it is imported only where spans are exported. Each process starts
its own after the fork. An exporter that hangs, refuses or is flooded delays no mail: spans wait in a bounded
queue for one thread, and what finds no room, or is not taken, is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE, OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

import relay
from relay.config.otel import Otel
from relay.errors import RemoteError
from relay.spool.model import Entry
from relay.telemetry.daemon import fault_caught, spans_dropped, spans_exported
from relay.telemetry.spans import MailEnd
from relay.telemetry.trace_ids import find_trace_ids

#: Spans that wait at most, where OTEL_BSP_MAX_QUEUE_SIZE says nothing (its default).
_MOST_WAITING: Final = 2_048
#: The name and the kind of the span of each step.
_STEPS: Final = {
    "understand": ("understand", SpanKind.INTERNAL),
    "s3": ("s3 put", SpanKind.CLIENT),
    "connect": ("connect request", SpanKind.CLIENT),
}
_NANOSECONDS: Final = 1_000_000_000


class _Ids(IdGenerator):
    """The ids of new spans: those that were set for the next ones, else chance."""

    def __init__(self) -> None:
        self._chance = RandomIdGenerator()
        self.trace = self.span = 0

    def generate_trace_id(self) -> int:
        trace, self.trace = self.trace, 0
        return trace or self._chance.generate_trace_id()

    def generate_span_id(self) -> int:
        span, self.span = self.span, 0
        return span or self._chance.generate_span_id()


class _Told(SpanExporter):
    """An exporter that counts what waits for it, and tells what it did not take."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lock = threading.Lock()
        self._waiting = 0
        self._fails = False

    def admit(self, most: int) -> bool:
        """Count one more span that waits. Returns whether there is room for it."""
        with self._lock:
            if self._waiting >= most:
                return False
            self._waiting += 1
            return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans, or count them as dropped."""
        why = "the collector did not take them"
        try:
            result = self._exporter.export(spans)
        except Exception as exc:  # noqa: BLE001 - whatever an exporter raises, its spans are lost
            result, why = SpanExportResult.FAILURE, type(exc).__name__
        with self._lock:
            self._waiting -= len(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed:
            spans_dropped(cause="failed", spans=len(spans), why=why, again=self._fails)
        elif self._fails:
            spans_exported()
        self._fails = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Bounded(SpanProcessor):
    """A batch processor before which spans are dropped and counted when too many wait."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._most = _read_most()
        self._exporter = _Told(exporter)
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=self._most)
        self._full = False

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._exporter.admit(self._most):
            self._full = False
            self._batches.on_end(span)
        else:
            spans_dropped(
                cause="full", spans=1, why="too many spans wait for the collector", again=self._full
            )
            self._full = True

    def shutdown(self) -> None:
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)


def _read_most() -> int:
    try:
        return max(int(os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE, "")), 1)
    except ValueError:
        return _MOST_WAITING


def is_turned_off() -> bool:
    """Returns whether the environment turns the export of spans off."""
    variables = {"OTEL_TRACES_EXPORTER": "none", "OTEL_SDK_DISABLED": "true"}
    return any(os.environ.get(name, "").strip().lower() == word for name, word in variables.items())


def ask_collector(otel: Otel, *, seconds: float) -> bool:
    """Send the collector an export without spans. Returns whether it takes that within so many seconds."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(endpoint=otel.endpoint or None, timeout=seconds)
    try:
        return exporter.export(()) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def open_spans(
    otel: Otel, *, process: str, hostname: str, exporter: SpanExporter | None = None
) -> OtelSpans | None:
    """The exporter of this process's spans. Returns None where OTEL_TRACES_EXPORTER is "none", or
    OTEL_SDK_DISABLED "true".
    """
    if is_turned_off():
        return None
    # Its lines would come with each batch; what is lost is counted, and told once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource: dict[str, str | int] = {
        "service.name": "connect-mail-relay",
        "service.version": relay.__version__,
        "host.name": hostname,
        "process.pid": os.getpid(),
        "process.runtime.version": platform.python_version(),
        "relay.process": process,
    }
    if OTEL_SERVICE_NAME in os.environ:
        del resource["service.name"]
    provider = TracerProvider(
        resource=Resource.create(resource), id_generator=(ids := _Ids()), shutdown_on_exit=False
    )
    provider.add_span_processor(_Bounded(exporter or OTLPSpanExporter(endpoint=otel.endpoint or None)))
    return OtelSpans(provider, ids)


class OtelSpans:
    """The spans of this process. Those of reception are told by the event loop's thread alone."""

    def __init__(self, provider: TracerProvider, ids: _Ids) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("relay", relay.__version__)

    def tell_mail(self, end: MailEnd) -> None:
        """Export the spans of a mail's reception: its connection until the reply, the transaction, the
        commit. A further mail of the connection has a trace of its own, which begins as early.
        """
        with _guarded():
            self._tell_mail(end)

    def _tell_mail(self, end: MailEnd) -> None:
        now, ids = end.ended_at, find_trace_ids(end.spool_id)
        links = [Link(self._find_parent(end.first_id))] if end.first_id is not None else []
        self._ids.trace, self._ids.span = ids.trace, ids.connection
        root = self._tracer.start_span(
            "connection",
            context=Context(),
            kind=SpanKind.SERVER,
            start_time=now - int(end.connected_seconds * _NANOSECONDS),
            attributes={"relay.protocol": end.protocol, "relay.tls": end.is_encrypted},
        )
        if root.is_recording():
            self._ids.span = ids.mail
            mail = self._tracer.start_span(
                "mail",
                context=set_span_in_context(root, Context()),
                start_time=now - int(end.seconds * _NANOSECONDS),
                attributes={
                    "relay.spool_id": end.first_id or end.spool_id,
                    "relay.route": end.routes,
                    "relay.result": end.disposition,
                    "relay.reply": end.reply,
                    "relay.size": end.size,
                    "relay.duplicate": end.first_id is not None,
                },
                links=links,
            )
            if end.put_at is not None:
                self._tracer.start_span(
                    "commit", context=set_span_in_context(mail, Context()), start_time=end.put_at
                ).end(now)
            mail.end(now)
        root.end(now)

    async def trace_attempt(self, entry: Entry, attempt: Coroutine[Any, Any, None]) -> None:
        """The attempt to deliver an entry, within a span below that of its mail."""
        span: Span = INVALID_SPAN
        with _guarded():
            parent = NonRecordingSpan(self._find_parent(entry.spool_id))
            span = self._tracer.start_span(
                "delivery attempt",
                context=set_span_in_context(parent, Context()),
                attributes={
                    "relay.spool_id": entry.spool_id,
                    "relay.entry": entry.reference,
                    "relay.route": entry.destination.route,
                    "relay.attempt": entry.attempts,
                    "relay.size": entry.size,
                },
            )
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            await attempt

    def tell_outcome(self, facts: Mapping[str, str | int]) -> None:
        """Note the outcome of the attempt within whose span the caller is."""
        span = get_current_span()
        if span.is_recording():
            span.set_attributes({f"relay.{name}": value for name, value in facts.items() if value != ""})
            if facts["result"] not in ("done", "postponed"):
                span.set_status(StatusCode.ERROR)

    @contextmanager
    def trace_step(self, step: str, sizes: Mapping[str, int]) -> Iterator[None]:
        """A span for a step within that of an attempt; nothing outside of one."""
        if not get_current_span().is_recording():
            yield
            return
        name, kind = _STEPS[step]
        span: Span = INVALID_SPAN
        with _guarded():
            attributes = {f"relay.{each}": size for each, size in sizes.items()}
            span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except BaseException as exc:
                _tell_error(span, exc)
                raise

    def close(self, seconds: float) -> None:
        """Export what waits, within so many seconds, and stop."""
        # The SDK's own waits for half a minute; a daemon that is to end does not.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(seconds)

    def _find_parent(self, spool_id: str) -> SpanContext:
        """The span of a mail's transaction, sampled as the process decided, or decides, that received it."""
        ids = find_trace_ids(spool_id)
        sampled = self._provider.sampler.should_sample(Context(), ids.trace, "connection")
        flags = TraceFlags.SAMPLED if sampled.decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        return SpanContext(ids.trace, ids.mail, is_remote=True, trace_flags=TraceFlags(flags))


@contextmanager
def _guarded() -> Iterator[None]:
    """Catch what the SDK, or a sampler that the environment names, raises: a span is no reason to lose a
    reply or an attempt.
    """
    try:
        yield
    except Exception:  # noqa: BLE001 - told, and the mail goes on
        fault_caught(where="telemetry.otel")


def _tell_error(span: Span, error: BaseException) -> None:
    """Note an error by its word; its sentence may name an address."""
    word = f"{error.service}.{error.code}" if isinstance(error, RemoteError) else type(error).__name__
    span.set_attribute("error.type", word)
    span.set_status(StatusCode.ERROR)
