"""Spans of OpenTelemetry: one trace from a mail's connection to its contact, and no mail that waits."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from aws_parts import OneWay
from delivery.doubles import running_runner
from delivery.doubles import until as until_async
from harness import Daemon, build_mail, send, until
from prometheus_client import REGISTRY
from spool_helpers import build_destination, build_submission

from relay import telemetry
from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config
from relay.config.load import check_files
from relay.config.otel import Otel
from relay.delivery.attempt import Delivery
from relay.delivery.pace import Pace
from relay.sandbox.limits import Refusal
from relay.smtp.listeners import Listeners
from relay.smtp.sockets import open_socket
from relay.spool.model import Filter
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.telemetry import spans as switch
from relay.telemetry.trace_ids import find_trace_ids
from relay.timing import utc_now
from relay.understand.reading import open_reading

pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRETS = ("ada@", "customer.example", "example.com", "Mail ", "This is the text", ".pdf", "client.test")


def begin(exporter):
    telemetry.begin_spans(Otel(spans=True), process="test", hostname="mx.test", exporter=exporter)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine may take longer than a daemon waits at its end."""
    monkeypatch.setattr(switch, "_LAST_SECONDS", 30.0)


@pytest.fixture
def memory():
    """The SDK's exporter into memory; `finished` ends the export and gives the spans."""
    exporter = InMemorySpanExporter()
    begin(exporter)

    def finished():
        telemetry.end_spans()
        return exporter.get_finished_spans()

    yield SimpleNamespace(finished=finished)
    telemetry.end_spans()


@asynccontextmanager
async def relay_here(clients, tmp_path):
    """Both halves of a relay in this process, over real sockets; gives the port, the desk and the runner."""
    config = builtin_config(
        data_dir=tmp_path / "data",
        spool={"min_free_bytes": 0, "min_free_inodes": 0},
        deliver={"backoff_min_seconds": 0.1, "backoff_max_seconds": 0.2},
        routes=[{"match": ["support@example.com"], "name": "desk"}],
        listeners=[{"bind": "127.0.0.1:0", "tls": "none", "role": "trusted"}],
        identity={"enabled": False},
    )
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)
    listeners = Listeners(config=config, intake=intake)
    sock = open_socket("127.0.0.1:0")
    await listeners.start({0: [sock]})
    async with open_reading(config) as reading:
        clock = asyncio.get_running_loop().time
        delivery = Delivery(
            config=config,
            outbox=outbox,
            ways=OneWay(
                ConnectClient(clients.connect),
                Pace(rate=1_000, burst=100, clock=clock),
                AttachmentStore(clients.s3, config=config.s3, now=utc_now),
            ),
            understanding=reading,
            now=outbox.now,
        )
        async with running_runner(outbox, delivery, config.deliver, now=outbox.now, steady=clock):
            yield SimpleNamespace(port=sock.getsockname()[1], desk=desk)
    await listeners.drain(1)
    desk.close()
    await outbox.close()
    await intake.close()


def by_name(spans):
    return {span.name: span for span in spans}


def texts(span):
    return json.dumps([span.name, dict(span.attributes), str(span.status.description)], default=str)


@pytest.mark.process
async def test_mail_is_one_trace_from_connection_to_contact(memory, box, clients, tmp_path):
    """Reception and both attempts are one trace, whose id the spool id gives; the steps stand below the
    attempt; a retransmission has a trace of its own that leads to it; and no span has anything of the mail.
    """
    box.connect.planned.append(Refusal(code="InternalServiceException", message="ada@customer.example"))
    mail = build_mail("traced", attachment=b"%PDF-1.4 " + bytes(5_000))
    async with relay_here(clients, tmp_path) as relay:
        for _ in range(2):
            await asyncio.to_thread(send, relay.port, mail)
        await until_async(lambda: relay.desk.counts()["done"] == 1)
        (entry,) = relay.desk.select(Filter())
    spans = memory.finished()
    ids = find_trace_ids(entry.spool_id)
    mine = [span for span in spans if span.context.trace_id == ids.trace]
    attempts = [span for span in mine if span.name == "delivery attempt"]
    names = by_name(mine)
    assert sorted(span.name for span in mine) == sorted(
        ["connection", "mail", "commit", *["delivery attempt", "connect request"] * 2, "understand", "s3 put"]
    )
    parents = {span.context.span_id: span.name for span in mine}
    assert {(span.name, parents.get(span.parent.span_id) if span.parent else None) for span in mine} == {
        ("connection", None),
        ("mail", "connection"),
        ("commit", "mail"),
        ("delivery attempt", "mail"),
        *((step, "delivery attempt") for step in ("understand", "s3 put", "connect request")),
    }
    assert names["mail"].attributes["relay.route"] == ("desk",)
    assert names["mail"].attributes["relay.reply"] == "250 2.0.0"
    assert names["mail"].attributes["relay.size"] == entry.size
    assert names["s3 put"].attributes["relay.files"] == 1
    assert names["s3 put"].attributes["relay.size"] > 5_000
    assert [(span.attributes["relay.result"], span.status.status_code) for span in attempts] == [
        ("deferred", StatusCode.ERROR),
        ("done", StatusCode.UNSET),
    ]
    assert [span.attributes["relay.attempt"] for span in attempts] == [1, 2]
    assert attempts[1].attributes["relay.contact_id"] == entry.contact_id
    errors = [span.attributes.get("error.type") for span in mine if span.name == "connect request"]
    assert errors == ["connect.InternalServiceException", None]
    (again,) = (span for span in spans if span.name == "mail" and span not in mine)
    assert (again.attributes["relay.duplicate"], again.attributes["relay.spool_id"]) == (True, entry.spool_id)
    assert [link.context.trace_id for link in again.links] == [ids.trace]
    assert not [(word, span.name) for span in spans for word in SECRETS if word in texts(span)]
    for span in mine:
        assert span.start_time <= span.end_time


def tell_mail(number, **changes):
    facts = {
        "spool_id": f"S{number}",
        "first_id": None,
        "disposition": "accept",
        "reply": "250 2.0.0",
        "routes": ("desk",),
        "protocol": "ESMTP",
        "is_encrypted": True,
        "size": 7,
        "ended_at": time.time_ns(),
        "connected_seconds": 2.0,
        "seconds": 1.0,
        "put_at": None,
    }
    telemetry.current_spans().tell_mail(telemetry.MailEnd(**facts | changes))


async def test_both_halves_sample_the_same_traces(monkeypatch, tmp_path):
    """By a ratio, the trace of a mail has its reception and its deliveries, or nothing."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    config = builtin_config(data_dir=tmp_path / "data", spool={"min_free_bytes": 0, "min_free_inodes": 0})
    intake, outbox = open_intake(config), open_outbox(config)
    ids = [
        (await intake.put(build_submission(intake.new_id(), body=b"%d" % each))).spool_id
        for each in range(48)
    ]
    entries = await outbox.claim(now=outbox.now(), limit=48, lease_seconds=60)
    await outbox.close()
    await intake.close()
    exporters = InMemorySpanExporter(), InMemorySpanExporter()
    begin(exporters[0])
    for spool_id in ids:
        tell_mail(0, spool_id=spool_id)
    telemetry.end_spans()
    begin(exporters[1])
    for entry in entries:
        await telemetry.attempt_traced(entry, asyncio.sleep(0))
    telemetry.end_spans()
    received, delivered = (
        {span.context.trace_id for span in each.get_finished_spans()} for each in exporters
    )
    assert received == delivered
    assert 5 < len(received) < 43
    assert received < {find_trace_ids(spool_id).trace for spool_id in ids}


class Collector(SpanExporter):
    """An exporter that answers what it is told to, once it may."""

    def __init__(self):
        self.may_answer = threading.Event()
        self.called = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.spans = 0

    def export(self, spans):
        self.called.set()
        self.may_answer.wait(30)
        if isinstance(self.result, Exception):
            raise self.result
        if self.result is SpanExportResult.SUCCESS:
            self.spans += len(spans)
        return self.result


def dropped(cause):
    return REGISTRY.get_sample_value("relay_spans_dropped_total", {"cause": cause})


@pytest.fixture
def collector(monkeypatch):
    """Such an exporter, with a short queue before it that is emptied at once."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setattr(switch, "_LAST_SECONDS", 0.05)
    exporter = Collector()
    begin(exporter)
    yield exporter
    exporter.may_answer.set()
    telemetry.end_spans()


def events(capsys):
    return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines() if "spans." in line]


async def test_collector_that_hangs_holds_up_nothing(collector, capsys):
    """While an export hangs, spans of further mails are dropped, counted, and told once; the end of the
    process does not wait for it, either.
    """
    telemetry.configure("json", "info")
    before = dropped("full")
    tell_mail(0)
    assert await asyncio.to_thread(collector.called.wait, 10)
    for number in range(1, 50):
        tell_mail(number)
    assert dropped("full") - before == 2 * 50 - 8
    assert events(capsys) == ["spans.dropped"]
    begun = time.monotonic()
    telemetry.end_spans()
    assert time.monotonic() - begun < 5  # the SDK alone would wait for 30 seconds
    assert not collector.may_answer.is_set()


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, OSError("refused")], ids=["refuses", "raises"])
async def test_collector_that_refuses_is_told_once(collector, capsys, result):
    """Spans that a collector does not take are counted; the first refusal in a row is told, and its end."""
    telemetry.configure("json", "info")
    collector.result, before = result, dropped("failed")
    collector.may_answer.set()
    for number in range(3):
        tell_mail(number)
        await until_async(lambda: dropped("failed") - before == 2 * (number + 1))  # noqa: B023 - called at once
    collector.result = SpanExportResult.SUCCESS
    tell_mail(3)
    await until_async(lambda: collector.spans == 2)
    telemetry.end_spans()
    assert events(capsys) == ["spans.dropped", "spans.exported"]


async def test_variables_that_do_not_fit_keep_no_mail(monkeypatch, capsys):
    """Settings of the environment that the SDK refuses are told, and the relay goes on without spans."""
    telemetry.configure("json", "info")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9")
    begin(InMemorySpanExporter())
    assert telemetry.current_spans() is None
    assert events(capsys) == ["spans.refused"]


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
async def test_variables_turn_spans_off(monkeypatch, name, value):
    """What turns OpenTelemetry off elsewhere does so here."""
    monkeypatch.setenv(name, value)
    begin(InMemorySpanExporter())
    assert telemetry.current_spans() is None


async def test_sampler_that_raises_loses_no_mail(memory, monkeypatch, capsys):
    """A fault of the SDK, or of a sampler that the environment names, ends neither a reply nor an attempt."""
    telemetry.configure("json", "info")
    entry = SimpleNamespace(
        spool_id="S1", reference="S1.1", destination=build_destination(), attempts=1, size=1
    )

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(telemetry.current_spans()._provider.sampler, "should_sample", fail)
    tell_mail(1)
    done = []

    async def attempt():
        with telemetry.step_timed("understand", size=1):
            done.append(True)

    await telemetry.attempt_traced(entry, attempt())
    assert (done, capsys.readouterr().err.count("fault.caught")) == ([True], 2)
    assert memory.finished() == ()


@pytest.mark.process
async def test_nothing_is_imported_without_the_key():
    """A relay that exports no spans has nothing of OpenTelemetry, and wraps nothing."""
    code = (
        "import sys, relay.daemon.receiver, relay.daemon.deliverer\n"
        "from relay import telemetry\n"
        "from relay.config.otel import Otel\n"
        "telemetry.begin_spans(Otel(), process='p', hostname='h')\n"
        "attempt = (each for each in ())\n"
        "assert telemetry.current_spans() is None and telemetry.span_instant() is None\n"
        "assert telemetry.attempt_traced(None, attempt) is attempt\n"
        "print([each for each in sys.modules if each.startswith('opentelemetry')])"
    )
    line = [sys.executable, "-c", code]
    run = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


@pytest.mark.parametrize("package", ["opentelemetry.no_such", "no_such_package.sdk"])
async def test_spans_without_the_extra_are_refused(monkeypatch, tmp_path, package):
    """A configuration that asks for spans where nothing can export them says what to install."""
    monkeypatch.setattr("relay.config.load._OTEL_PACKAGES", (package,))
    tables = {"otel": {"spans": True}, "data_dir": tmp_path}
    (sentence,) = check_files(builtin_config(**tables))
    assert sentence.startswith(f"otel.spans = true: needs {package.removesuffix('.sdk')}; install the extra")
    monkeypatch.undo()
    assert check_files(builtin_config(**tables)) == ()


async def test_trace_is_found_from_a_line_of_the_log():
    """The trace id is what docs/operations.md tells an operator to compute."""
    digits = hashlib.sha256(b"relay trace\0" + b"3F7Q2K").hexdigest()[:32]
    assert f"{find_trace_ids('3F7Q2K').trace:032x}" == digits


@pytest.fixture
def endpoint():
    """A collector on loopback; gives its address, and the spans of each resource by its process."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in request.resource_spans:
                facts = {each.key: each.value.string_value for each in resource.resource.attributes}
                found.extend((facts, span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", found=found)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.process
async def test_daemon_exports_to_a_collector(box, tmp_path, endpoint):
    """The forked receiver and the forked deliverer each export their part of the same trace, as the standard
    variables say.
    """
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    with Daemon(tmp_path, env=box.environ() | env, extra="[otel]\nspans = true").start() as daemon:
        await asyncio.to_thread(send, daemon.port, build_mail("exported", attachment=b"%PDF-1.4"))
        await asyncio.to_thread(until, lambda: len(endpoint.found) >= 7)
        assert await asyncio.to_thread(daemon.stop) == 0
        spool_id = daemon.wait_for("transaction.accepted")["spool_id"]
        assert daemon.other_lines == []
    parts = {}
    for facts, span in endpoint.found:
        assert (facts["service.name"], facts["deployment.environment.name"]) == ("connect-mail-relay", "test")
        assert int.from_bytes(span.trace_id) == find_trace_ids(spool_id).trace
        parts.setdefault(facts["relay.process"], []).append(span.name)
    assert {process: sorted(names) for process, names in parts.items()} == {
        "receiver-0": ["commit", "connection", "mail"],
        "deliverer": ["connect request", "delivery attempt", "s3 put", "understand"],
    }
