"""The receivers of alarms as `relay check --alarm` tries them: a real webhook, and one that is away."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aws_parts import nobody

from relay.check.finding import Level
from relay.check.receivers import examine_receivers
from relay.config.builtin import builtin_config


@contextmanager
def webhook(status):
    """The URL of a webhook that answers so, and the documents that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    server.shutdown()
    server.server_close()


def findings(url):
    """What is said of a webhook."""
    return list(examine_receivers(builtin_config(alarms={"webhook": url})))


def test_webhook_that_works_gets_an_alarm_and_its_end():
    """A pager that opens an incident at the first closes it at the second: both have one key."""
    with webhook(204) as (url, got):
        (finding,) = findings(url)
    assert (finding.level, finding.subject) == (Level.OK, "alarms webhook")
    assert [(each["alarm"], each["subject"], each["raised"]) for each in got] == [
        ("test", "", True),
        ("test", "", False),
    ]
    assert "nothing is wrong" in got[0]["detail"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_webhook_that_refuses_is_a_fail(status):
    """The alarm that matters would not be taken either."""
    with webhook(status) as (url, _):
        (finding,) = findings(url)
    assert finding.level is Level.FAIL
    assert finding.detail == (
        f"did not take a test alarm (status {status}); look at the receiver, or mend alarms.webhook"
    )


def test_webhook_that_is_away_is_a_fail():
    """A port that nobody listens at takes no alarm."""
    with nobody() as url:
        (finding,) = findings(url)
    assert (finding.level, "ClientConnectorError" in finding.detail) == (Level.FAIL, True)


def test_topic_is_tried_with_the_daemons_client(monkeypatch):
    """A topic that cannot be reached is a fail of its own; without a Region no client can be made."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    topic = "arn:aws:sns:eu-central-1:123456789012:relay"
    with nobody() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url)
        (finding,) = examine_receivers(builtin_config(alarms={"sns_topic_arn": topic}))
    assert (finding.level, finding.subject) == (Level.FAIL, "alarms sns")
    assert finding.detail.endswith("mend alarms.sns_topic_arn")


def test_no_receiver_is_a_warning():
    """Nobody would be called: that is worth a line where it was asked for."""
    (finding,) = findings("")
    assert finding.level is Level.WARN
