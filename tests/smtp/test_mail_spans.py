"""The spans of reception, where they are exported: one trace for each mail of a connection."""

from __future__ import annotations

import smtplib

import pytest
from serving import Serving, build_config

from relay import telemetry
from relay.config.otel import Otel
from relay.telemetry.trace_ids import find_trace_ids

pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture
def exporter(monkeypatch):
    """The SDK's exporter into memory."""
    monkeypatch.setattr("relay.telemetry.spans._LAST_SECONDS", 30.0)
    exporter = InMemorySpanExporter()
    telemetry.begin_spans(Otel(spans=True), process="test", hostname="mx.test", exporter=exporter)
    yield exporter
    telemetry.end_spans()


def test_each_mail_of_a_connection_has_its_trace(exporter):
    """Two mails of one connection are two traces that begin with it; one that is refused is told with its
    reply, and has no commit.
    """
    with Serving(build_config(max_message_bytes=65_536)) as serving:
        with smtplib.SMTP("127.0.0.1", serving.ports[0], local_hostname="c.test") as client:
            for text in ("Subject: a\r\n\r\nx\r\n", "Subject: b\r\n\r\n" + "x" * 70_000):
                client.ehlo_or_helo_if_needed()
                client.mail("ada@customer.example")
                client.rcpt("support@example.com")
                client.data(text)
        (spool_id,) = (mail.spool_id for mail in serving.spool.mails)
    telemetry.end_spans()
    traces = {}
    for span in exporter.get_finished_spans():
        traces.setdefault(span.context.trace_id, {})[span.name] = span
    taken, refused = traces.pop(find_trace_ids(spool_id).trace), traces.popitem()[1]
    assert traces == {}
    assert (taken.keys(), refused.keys()) == ({"connection", "mail", "commit"}, {"connection", "mail"})
    told = [
        (each["mail"].attributes["relay.result"], each["mail"].attributes["relay.reply"])
        for each in (taken, refused)
    ]
    assert told == [("accept", "250 2.0.0"), ("reject", "552 5.3.4")]
    assert refused["connection"].start_time < taken["mail"].end_time < refused["mail"].end_time
    for trace in (taken, refused):
        assert trace["connection"].start_time <= trace["mail"].start_time
