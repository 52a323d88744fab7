"""Events of a running daemon: a receiver that hangs keeps no mail waiting, and is told all of it later."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import Daemon, build_mail, send, subjects, until

pytestmark = pytest.mark.process

KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def receiver():
    """A webhook that answers when it may. Gives its URL, the documents that it took, and the permission."""
    taken, may = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            may.wait(30)
            taken.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Nothing: the test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", taken, may
    may.set()
    server.shutdown()
    server.server_close()


def test_receiver_that_hangs_keeps_no_mail_waiting(box, tmp_path, receiver):
    """Mails become contacts while the receiver gives no answer; once it does, it is told of each, with the id
    of its contact.
    """
    url, taken, may = receiver
    extra = f'[events]\nwebhook = "{url}"\nwebhook_key = "{KEY}"\n'
    with Daemon(tmp_path, env=box.environ(), extra=extra).start() as daemon:
        names = [f"event{number}" for number in range(3)]
        for name in names:
            send(daemon.port, build_mail(name))
        until(lambda: len(box.contacts()) == 3)
        assert taken == []
        may.set()
        contacts = {each["contact_id"] for each in box.contacts()}
        until(lambda: {each["contact_id"] for each in taken if each["type"] == "delivered"} == contacts)
        assert sorted(subjects(box.contacts())) == [f"Mail {name}" for name in names]
        until(lambda: json.loads(daemon.run("events", "status", "--json").stdout)["waiting"] == 0)
        assert daemon.stop() == 0
