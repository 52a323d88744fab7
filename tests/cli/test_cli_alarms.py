"""`relay alarms test`: a real webhook, and what it answered."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aws_parts import nobody
from click.testing import CliRunner
from test_cli_queue import CONFIG

from relay.cli import main


@contextmanager
def webhook(*answers):
    """The URL of a webhook that gives these answers (status, body), then 204, and the documents it got."""
    got, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = left.pop(0) if left else (204, b"")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tell(tmp_path):
    """`relay alarms test` with a webhook: its exit code, and what it printed."""

    def run(url, *words):
        path = tmp_path / "relay.toml"
        path.write_text(CONFIG.format(data_dir=tmp_path / "spool") + f'\n[alarms]\nwebhook = "{url}"\n')
        done = CliRunner().invoke(main, ["alarms", "test", "--config", str(path), *words])
        return done.exit_code, done.stdout, done.stderr

    return run


def test_answers_are_told(tell):
    """Each answer stands with its status and its first line, and the alarm and its end share a key."""
    with webhook((200, b"ok\nmore")) as (url, got):
        code, said, _ = tell(url)
    assert (code, said.splitlines()) == (
        0,
        ["webhook: the test alarm: status 200: ok", "webhook: its end: status 204"],
    )
    assert [(each["alarm"], each["subject"], each["raised"]) for each in got] == [
        ("test", "", True),
        ("test", "", False),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_refusal_is_told_in_the_receivers_words(tell, number):
    """A receiver that takes only one of the two fails; its words are harmless for a terminal, and short."""
    answers = [(200, b""), (200, b"")]
    answers[number] = (400, b"\n \x1b[31minvalid_payload\xff " + b"x" * 5000)
    with webhook(*answers) as (url, _):
        code, said, _ = tell(url)
    line = said.splitlines()[number]
    assert code == 1
    assert "status 400: \\x1b[31minvalid_payload" in line
    assert len(line) < 250
    assert said.splitlines()[-1] == "webhook: not taken; look at the receiver, or mend alarms.webhook"


def test_receiver_that_is_away_is_told(tell):
    """No answer is an answer, too."""
    with nobody() as url:
        code, said, _ = tell(url)
    assert (code, "the test alarm: ClientConnectorError" in said) == (1, True)


def test_json_has_the_same(tell):
    """One object for each receiver."""
    with webhook((500, b"out of order")) as (url, _):
        code, said, _ = tell(url, "--json")
    assert code == 1
    assert json.loads(said) == {
        "receivers": [
            {
                "receiver": "webhook",
                "taken": False,
                "raised": "status 500: out of order",
                "ended": "status 204",
            }
        ]
    }


def test_no_receiver_is_a_failure(tell):
    """Nobody would be called: a script that asks must not believe the contrary."""
    code, said, note = tell("")
    assert (code, said) == (1, "")
    assert "no receiver is named" in note
