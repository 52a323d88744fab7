"""The daemon while AWS is away: mail comes in, few attempts are spent, and all of it goes out soon after."""

from __future__ import annotations

import contextlib
import http.server
import json
import smtplib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from harness import Daemon, build_mail, free_port, send, subjects, until

from relay.config.load import load_config
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process

ALARMS = "[alarms]\nevery_seconds = 0.3"


def entries_of(daemon):
    """All entries of its spool."""
    desk = open_desk(load_config(str(daemon.config_path)))
    with contextlib.closing(desk):
        return desk.select(Filter(states=tuple(State), limit=10_000))


@contextlib.contextmanager
def metadata(port, keys):
    """A metadata service as containers have it, on this port of loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(
                {
                    "AccessKeyId": keys.access_key,
                    "SecretAccessKey": keys.secret_key,
                    "Token": "",
                    "Expiration": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_a_metadata_service_that_is_not_there_yet_ends_no_start(box, tmp_path):
    """A cold start without credentials receives, says so by log, alarm and metric, and delivers when they
    come.
    """
    port = free_port()
    env = {name: value for name, value in box.environ().items() if "KEY" not in name}
    env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{port}/role"
    env["RELAY_DELIVER__PROBE_SECONDS"] = "60"  # no mail looks; the credentials are looked at by themselves
    with Daemon(tmp_path, env=env, extra=ALARMS).start() as daemon:
        daemon.wait_for("service.away", service="credentials")
        daemon.wait_for("alarm.raised", kind="service_away")
        for number in range(5):
            send(daemon.port, build_mail(number))
        assert daemon.ask("readyz")[0] == 200
        metric = 'relay_service_away{process="deliverer",service="credentials"} 1.0'
        assert metric in daemon.ask("metrics")[1]
        assert [(entry.state, entry.attempts) for entry in entries_of(daemon)] == [(State.QUEUED, 0)] * 5
        with metadata(port, box.keys):
            assert sorted(subjects(box.wait(5))) == [f"Mail {number}" for number in range(5)]
            daemon.wait_for("service.back", service="credentials")
            daemon.wait_for("alarm.ended", kind="service_away")
        assert daemon.stop() == 0
    assert not [event for event in daemon.events if event["event"] in ("fault.caught", "child.cannot_work")]


@pytest.mark.parametrize(
    ("fault", "mails"),
    [
        ("refuse", 80),
        pytest.param("refuse", 200, marks=pytest.mark.long),
        pytest.param("error", 200, marks=pytest.mark.long),
    ],
)
def test_mails_wait_for_s3_with_few_attempts(box, tmp_path, fault, mails):
    """S3 refuses connections, or answers 500: a few mails find out, one at a time looks again, and all
    arrive after it.
    """
    box.chaos(s3={fault: 1})
    with Daemon(tmp_path, env=box.environ(), extra=ALARMS).start() as daemon:
        with smtplib.SMTP("127.0.0.1", daemon.port) as session:
            for number in range(mails):
                session.send_message(
                    build_mail(number, attachment=b"%PDF-1.7\n"),
                    "ann@customer.example",
                    ["support@example.com"],
                )
        daemon.wait_for("service.away", service="s3")
        since = len(daemon.events)
        until(lambda: len([e for e in daemon.events[since:] if e["event"] == "delivery.attempted"]) >= 3)
        entries = entries_of(daemon)
        assert {entry.state for entry in entries} <= {State.QUEUED, State.LEASED}
        attempts = sum(entry.attempts for entry in entries)
        assert 0 < attempts < 40
        box.chaos({})
        until(lambda: len(box.book) == mails, seconds=90)
        until(lambda: {entry.state for entry in entries_of(daemon)} == {State.DONE})
        after = entries_of(daemon)
        assert max(entry.attempts for entry in after) <= 4
        assert sum(entry.attempts for entry in after) <= mails + attempts + 8
        assert len({json.dumps(contact["request"]["ClientToken"]) for contact in box.contacts()}) == mails
        daemon.wait_for("service.back", service="s3")
        assert daemon.stop() == 0
