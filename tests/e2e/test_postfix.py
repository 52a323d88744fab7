"""A real Postfix, as a company runs it, hands its mail on to the relay."""

from __future__ import annotations

import smtplib

import pytest
from harness import Daemon, build_mail, free_port, sha256, subjects, until

from bench.postfix import Postfix, missing
from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def postfix(tmp_path, daemon):
    """A Postfix that sends everything to the relay."""
    with Postfix(
        tmp_path / "postfix",
        port=free_port(),
        relayhost=f"[127.0.0.1]:{daemon.port}",
        minimal_backoff_time="1s",
        maximal_backoff_time="2s",
        queue_run_delay="1s",
    ) as running:
        yield running


@pytest.fixture
def box():
    settings = settings_of(builtin_config(), requests_per_second=1_000.0, burst=1_000)
    with running_sandbox(settings=settings) as sandbox:
        yield sandbox


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ()).start() as running:
        yield running


def test_postfix_forwards(box, daemon, postfix):
    """A mail given to Postfix arrives as a contact, its file whole, and Postfix logs our spool id."""
    file = b"%PDF-1.7\n" + bytes(range(256)) * 100
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.send_message(build_mail("by Postfix", attachment=file), to_addrs=["support@example.com"])
    until(
        lambda: [f for c in box.contacts() for f in c["attachments"] if f["sha256"]],
        so="a contact with its file",
    )
    (contact,) = box.contacts()
    assert subjects([contact]) == ["Mail by Postfix"]
    assert contact["attachments"][0]["sha256"] == sha256(file)
    accepted = daemon.wait_for("transaction.accepted")
    assert accepted["helo"] == "legacy.test"
    until(lambda: f"queued as {accepted['spool_id']}" in postfix.log())


def test_postfix_keeps_its_mail_while_the_relay_is_away(box, daemon, postfix):
    """Mail that comes while the relay is dead waits in Postfix, and is one contact each when it is back."""
    daemon.kill()
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        for number in range(5):
            client.send_message(build_mail(number), to_addrs=["support@example.com"])
    until(lambda: "Connection refused" in postfix.log())
    daemon.start()
    until(lambda: len(box.contacts()) >= 5)
    assert sorted(subjects(box.contacts())) == [f"Mail {number}" for number in range(5)]
