"""`relay check` beside the running daemon: every kind of listener is known to be ours, and nobody is warned
of the look.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime

import pytest
from harness import Daemon, free_port, until

from relay.check.finding import Level
from relay.check.ports import examine_ports
from relay.config.load import load_config
from relay.spool.opening import open_desk

pytestmark = pytest.mark.process

CONFIG = """
hostname = "mx.test.example"
data_dir = "{home}/spool"
[tls]
certificate = "{papers.certificate}"
key = "{papers.key}"
client_ca = "{papers.ca}"
[server]
receivers = 1
[spool]
min_free_bytes = 0
[s3]
bucket = "relay-sandbox"
[connect]
instance_id = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
[admin]
bind = "127.0.0.1:{admin}"
[log]
format = "json"
[[routes]]
match = ["support@example.com"]
"""
LOCAL = 'proxy_protocol = ["127.0.0.0/8", "::1/128"]\n'
STRANGERS = 'role = "trusted"\nallow = ["192.0.2.0/24"]\n'
LMTP = 'role = "trusted"\nprotocol = "lmtp"\n'
IMPLICIT = 'tls = "implicit"\n'
ANSWERS, DENIES = "a relay answers", "a relay answers; this machine is not among those that it allows"
#: Host, what else the listener has, and what is said of it.
KINDS = {
    "mx": ("127.0.0.1", "", ANSWERS),
    "everywhere": ("0.0.0.0", "", ANSWERS),
    "required": ("127.0.0.1", 'tls = "required"\n', ANSWERS),
    "implicit": ("127.0.0.1", IMPLICIT, ANSWERS),
    "lmtp": ("127.0.0.1", LMTP, ANSWERS),
    "lmtp implicit": ("127.0.0.1", LMTP + IMPLICIT, ANSWERS),
    "proxy": ("127.0.0.1", LOCAL, ANSWERS),
    "proxy everywhere": ("0.0.0.0", LOCAL, ANSWERS),
    "proxy over IPv6": ("[::1]", LOCAL, ANSWERS),
    "proxy implicit": ("127.0.0.1", LOCAL + IMPLICIT, ANSWERS),
    "proxy lmtp": ("127.0.0.1", LOCAL + LMTP, ANSWERS),
    "proxy elsewhere": ("127.0.0.1", 'proxy_protocol = ["192.0.2.0/24"]\n', ANSWERS),
    "strangers": ("127.0.0.1", STRANGERS, DENIES),
    "strangers implicit": ("127.0.0.1", STRANGERS + IMPLICIT, DENIES),
    "strangers by proxy": ("127.0.0.1", STRANGERS + LOCAL + IMPLICIT, DENIES),
}


def daemon_with(home, papers, listeners, more=""):
    """The receiving half with these listeners."""
    config = CONFIG.format(home=home, papers=papers, admin=free_port()) + more
    config += "".join(f'[[listeners]]\nbind = "{bind}"\n{rest}' for bind, rest in listeners)
    daemon = Daemon(home, env=os.environ | {"RELAY_LOG__METRICS": "emf"}, config=config)
    daemon.args = ["--role", "receive"]
    return daemon


@pytest.fixture(scope="module")
def binds():
    """An address for each kind of listener."""
    return {kind: f"{host}:{free_port()}" for kind, (host, _, _) in KINDS.items()}


@pytest.fixture(scope="module")
def daemon(papers, binds, tmp_path_factory):
    """One daemon with a listener of each kind."""
    listeners = [(bind, KINDS[kind][1]) for kind, bind in binds.items()]
    with daemon_with(tmp_path_factory.mktemp("check"), papers, listeners).start() as running:
        yield running
        assert running.stop() == 0
        assert {event["event"] for event in running.events if event["level"] != "info"} <= {"intake.closed"}


def look(daemon):
    """What is said of each address."""
    findings = examine_ports(load_config(str(daemon.config_path)))
    return {finding.subject.partition(" ")[2]: finding for finding in findings}


def test_each_listener_is_known(daemon, binds):
    """Greeted or sent away, behind a proxy, under TLS, by LMTP: the port is not another program's."""
    found = look(daemon)
    assert {kind: found[bind].detail for kind, bind in binds.items()} == {
        kind: said for kind, (_, _, said) in KINDS.items()
    }
    assert {finding.level for finding in found.values()} == {Level.OK}


def test_metrics_are_told_in_the_log(daemon):
    """The supervisor gathers them from its children, as for /metrics, and writes them once all work."""
    told = daemon.wait_for("metrics.told")
    assert (told["Accepted"], told["IntakeClosed"], told["host"]) == (0, 0, "mx.test.example")
    assert "OldestSeconds" not in told  # only a deliverer knows


def test_listeners_of_a_paused_relay_are_known(daemon, binds):
    """While the intake is paused every peer is sent away at once: that is a warning, not another program."""
    with closing(open_desk(load_config(str(daemon.config_path)))) as desk:
        desk.pause("intake", now=datetime.now(UTC))
        until(lambda: [event for event in daemon.events if event["event"] == "intake.closed"])
        found = look(daemon)
        desk.resume("intake")
    assert {found[bind].level for bind in binds.values()} == {Level.WARN}
    assert {found[bind].detail for bind in binds.values()} == {
        'a relay answers, and sends peers away: "421 4.3.2 Not taking mail now, try again later"'
    }


def test_greeting_that_is_held_back_is_waited_for(papers, tmp_path):
    """limits.early_talker_seconds comes on top of the patience that any listener has."""
    bind = f"127.0.0.1:{free_port()}"
    more = "[limits]\nearly_talker_seconds = 3.2\n"
    with daemon_with(tmp_path, papers, [(bind, "")], more).start() as running:
        assert look(running)[bind].detail == ANSWERS
        assert running.stop() == 0
