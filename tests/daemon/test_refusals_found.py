"""The id in a refusal, from the reply of a daemon to what `relay trace` and the log say of it."""

from __future__ import annotations

import json
import os
import re
import smtplib

import pytest
from click.testing import CliRunner
from harness import Daemon, build_mail, octets_of, until

from relay.cli import main

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """The receiving half."""
    daemon = Daemon(tmp_path_factory.mktemp("refusals"), env=dict(os.environ), receivers=2)
    daemon.args = ["--role", "receive"]
    with daemon.start() as running:
        yield running


def trace(daemon, *words):
    """What `relay trace` prints, and its exit code; in this process, because a start takes a second."""
    return CliRunner().invoke(main, ["trace", "--config", str(daemon.config_path), *words])


def refused(daemon, *commands):
    """The reply to the last command, which is a refusal, and the id in it."""
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        for command in commands:
            code, text = client.docmd(command)
        assert code >= 500, text
    return text.decode(), re.search(rb"\[(\w+)\]$", text)[1].decode()


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (["STARTTLS"], "STARTTLS"),
        (["MAIL FROM: a@b.example> SIZE=x"], "MAIL FROM: a@b.example> SIZE=x"),
        (
            ["MAIL FROM:<a@b.example>", "RCPT TO:< nobody@elsewhere.example. >"],
            "RCPT TO:< nobody@elsewhere.example. >",
        ),
        (["MAIL FROM:<a@b.example>", "DATA"], "DATA"),
    ],
    ids=["command", "reverse-path", "forward-path", "no recipient"],
)
def test_id_of_a_refusal_finds_its_line(daemon, commands, said):
    """`relay trace` shows the peer, the command with its path as it was written, and the reply; the same id
    is in the log, with the same command.
    """
    text, reference = refused(daemon, *commands)
    until(lambda: trace(daemon, reference).exit_code == 0)
    for word in (reference, f"[{reference}]"):
        line = trace(daemon, word).output
        assert line.startswith(f"{reference}  refused 20")
        assert f"127.0.0.1 (client.test) at 127.0.0.1:{daemon.port}" in line
        assert f": {said}: " in line
        assert text.partition(" [")[0] in line
    (record,) = json.loads(trace(daemon, reference, "--json").output)
    assert (record["spool_id"], record["state"], record["said"]) == (reference, "refused", said)
    logged = [event for event in daemon.events if event.get("spool_id") == reference]
    assert said in [event.get("said") for event in logged]


def test_refusal_that_the_log_passes_over_is_found(daemon):
    """Of many refusals in a session the log has the first few; each of them is found."""
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        texts = [client.docmd(f"EXPN {number}")[1] for number in range(12)]
    reference = re.search(rb"\[(\w+)\]$", texts[-1])[1].decode()
    found = until(lambda: (lines := trace(daemon, reference).output.splitlines())[11:] and lines)
    assert len(found) == 12


def test_refused_mail_is_found_after_a_restart(daemon):
    """A mail refused at its end is found when the receivers that refused it are gone."""
    raw = octets_of(build_mail("strange")) + b"a bare\rCR\r\n"
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        client.mail("a@b.example")
        client.rcpt("support@example.com")
        code, text = client.data(raw)
    assert code >= 500, text
    reference = re.search(rb"\[(\w+)\]$", text)[1].decode()
    assert daemon.stop() == 0
    assert "from <a@b.example>: DATA: 5" in trace(daemon, reference).output
    daemon.start()
    assert trace(daemon, reference).exit_code == 0
