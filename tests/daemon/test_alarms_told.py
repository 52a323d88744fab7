"""Alarms of a real daemon on their way to a webhook and a topic that a reload has named."""

from __future__ import annotations

import signal

import pytest
from harness import Daemon, build_mail, send, until

from relay.sandbox.limits import Refusal

pytestmark = pytest.mark.process

TOPIC = "arn:aws:sns:eu-central-1:123456789012:relay"


def words(documents):
    """What pairs an alarm and its end, and which of the two it is."""
    return [(each["alarm"], each["subject"], each["raised"]) for each in documents]


def test_reload_names_whom_to_tell(box, ear, tmp_path):
    """[alarms] of a reload is in force at the next look: a route's alarm and its end reach the webhook and
    the topic.
    """
    url, heard = ear
    env = box.environ() | {"AWS_ENDPOINT_URL_SNS": url}
    with Daemon(tmp_path, env=env, extra="[alarms]\nevery_seconds = 0.2").start() as daemon:
        text = daemon.config_path.read_text()
        more = f'[alarms]\nwebhook = "{url}/hook"\nsns_topic_arn = "{TOPIC}"\nevery_seconds = 0.3'
        daemon.config_path.write_text(text.replace("[alarms]\nevery_seconds = 0.2", more))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        refusal = Refusal(code="ResourceNotFoundException", message="Contact flow not found")
        box.connect.planned.extend([refusal] * 1_000)
        send(daemon.port, build_mail("denied"))
        until(lambda: heard["hook"] and heard["topic"])
        box.connect.planned.clear()
        expected = [("route_held", "support@example.com", True), ("route_held", "support@example.com", False)]
        until(lambda: words(heard["hook"]) == words(heard["topic"]) == expected)
        assert heard["hook"] == heard["topic"]
        assert daemon.stop() == 0
