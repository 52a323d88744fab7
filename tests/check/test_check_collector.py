"""The collector of spans as `relay check` finds it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from harness import free_port

from relay.check import collector
from relay.check.collector import examine_collector
from relay.config.builtin import builtin_config

pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")


def findings(url):
    return [(each.level, each.subject) for each in examine(url)]


def examine(url):
    return list(examine_collector(builtin_config(otel={"spans": True, "endpoint": url})))


@pytest.fixture(params=[200, 401])
def endpoint(request):
    """A collector that answers each export so; gives its address and the answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", request.param
    server.shutdown()
    thread.join()
    server.server_close()


def test_collector_that_answers_is_heard(endpoint):
    """An export without spans is taken, or refused as the spans would be."""
    url, status = endpoint
    assert findings(url) == [("ok" if status == 200 else "warn", f"spans {url}")]


def test_collector_that_is_away_is_a_warning(monkeypatch):
    """Spans are lost without it, and mail is not."""
    monkeypatch.setattr(collector, "_SECONDS", 0.5)
    (finding,) = examine(f"http://127.0.0.1:{free_port()}/v1/traces")
    assert finding.level == "warn"
    assert "otel.endpoint" in finding.detail


def test_spans_that_the_environment_turns_off_are_told(monkeypatch):
    """Who has set otel.spans, and OTEL_SDK_DISABLED besides, waits for spans that never come."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    (finding,) = examine(f"http://127.0.0.1:{free_port()}/v1/traces")
    assert finding.level == "warn"
    assert "turns them off" in finding.detail


def test_nobody_is_asked_without_spans():
    """A configuration without spans has no finding."""
    assert list(examine_collector(builtin_config())) == []
