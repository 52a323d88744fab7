"""Replays the dialogs once more, against `relay serve` with its processes and its spool.

Those, that is, that ask for nothing special of configuration or spool; and what they say of the spool is
looked at in
`test_dialogs.py`, where it can be looked into.
"""

from __future__ import annotations

import json
import os
import socket
import tomllib

import pytest
from harness import Daemon, free_port
from serving import ROUTES
from test_dialogs import DIALOGS, Dialog, is_plain

_LOOKS = ("SPOOLED", "BODY", "TRACE", "ENVELOPE", "CONFIRMED")


def listener_of(path):
    """What the dialog says of its listener, as the end of a [[listeners]] table."""
    told = {"tls": "starttls"}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("@ listener "):
            told |= tomllib.loads(line.removeprefix("@ listener "))
    return told.pop("bind", "127.0.0.1:0").rpartition(":")[0], table(told)


def table(values):
    """Keys and values that TOML and JSON write alike."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


PLAIN = [path for path in DIALOGS if is_plain(path)]
PORTS = {listener: free_port() for listener in sorted({listener_of(path) for path in PLAIN})}


class Host:
    """What a dialog wants of a server: connections."""

    def __init__(self, listener):
        self.host, self.port = listener[0].strip("[]"), PORTS[listener]

    def connect(self, *, source=None):
        return socket.create_connection(
            (self.host, self.port), timeout=10, source_address=(source, 0) if source else None
        )

    def __exit__(self, *_):
        """The daemon goes on: it has more dialogs before it."""


class Replay(Dialog):
    """One file, replayed against the daemon."""

    def __init__(self, path, papers, daemon):
        super().__init__(path, papers, "", daemon.data_dir / "refusals")
        self.serving = Host(listener_of(path))
        self.lines = [(number, line) for number, line in self.lines if not line.startswith("@")]

    def look(self, word, rest):
        assert word in _LOOKS, "no such line; see README.md"


@pytest.fixture(scope="module")
def daemon(papers, tmp_path_factory):
    """One daemon with a listener for each of the dialogs' wishes."""
    home = tmp_path_factory.mktemp("dialogs")
    files = {"certificate": str(papers.certificate), "key": str(papers.key), "client_ca": str(papers.ca)}
    config = [
        'hostname = "mx.test.example"\n',
        f'data_dir = "{home}/spool"\n',
        "[tls]\n" + table(files),
        "[server]\n" + table({"users_file": str(papers.users), "receivers": 2}),
        "[spool]\nmin_free_bytes = 0\n",
        '[s3]\nbucket = "test-bucket"\n',
        '[connect]\ninstance_id = "00000000-0000-0000-0000-000000000000"\n',
        '[admin]\nbind = "127.0.0.1:0"\n[log]\nformat = "json"\n',
        *("[[routes]]\n" + table(route) for route in ROUTES),
        *(f'[[listeners]]\nbind = "{host}:{port}"\n{rest}' for (host, rest), port in PORTS.items()),
    ]
    running = Daemon(home, env=dict(os.environ), config="".join(config))
    running.args = ["--role", "receive"]
    with running.start():
        yield running
        assert running.stop() == 0
        assert not [
            event
            for event in running.events
            if event["event"] in ("fault.caught", "spool.failed", "child.ended") and not event.get("expected")
        ]


@pytest.mark.process
@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.stem)
def test_dialog_with_a_daemon(path, papers, daemon):
    """The daemon answers as the dialog says."""
    Replay(path, papers, daemon).replay()


def test_most_dialogs_are_plain():
    """At least 120 dialogs are replayed against the daemon."""
    assert len(PLAIN) >= 120
