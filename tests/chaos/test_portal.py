"""A captive portal before S3 and Connect: its pages and redirects are no answers, and cost the queue next to
nothing.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from chaos.proxy import forward, page, running_proxy
from harness import Daemon, build_mail, send, sha256, subjects, until
from sandboxes import fast_sandbox

pytestmark = pytest.mark.process

FILE = b"%PDF-1.7\n" + bytes(range(256)) * 40
MAILS = 24
_PROMPT = {
    "RELAY_DELIVER__BACKOFF_MAX_SECONDS": "4",
    "RELAY_DELIVER__PROBE_SECONDS": "2",
    "RELAY_ALARMS__EVERY_SECONDS": "0.3",
}


@contextmanager
def login_page():
    """The place that the portal sends everybody to; it says 200 to all, and counts them."""
    asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.readline())
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/login", asked
        server.shutdown()


def portal(elsewhere):
    """Redirects and pages in turn, as a portal gives them to programs that it does not know."""

    async def redirect(exchange):
        status = (301, 302, 303, 307, 308)[exchange.request.number % 5]
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
        await exchange.send(head.encode())

    return lambda request: redirect if request.number % 2 else page(200)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_portal_delivers_nothing_and_stops_claims(tmp_path, seconds):
    """While it answers for both services nothing is delivered and few calls are made; then each mail is one
    contact.
    """
    with (
        fast_sandbox(seed=5) as box,
        running_proxy(box.s3.url) as s3,
        running_proxy(box.connect_url) as connect,
        login_page() as (elsewhere, asked),
    ):
        box.fetch_from(s3.url)
        env = box.environ() | _PROMPT
        env |= {"AWS_ENDPOINT_URL_S3": s3.url, "AWS_ENDPOINT_URL_CONNECT": connect.url}
        with Daemon(tmp_path, env=env).start() as daemon:
            send(daemon.port, build_mail("before", attachment=FILE))
            # Connect fetches a file after it has answered: the portal comes when it has this one.
            until(lambda: [f["sha256"] for c in box.contacts() for f in c["attachments"]] == [sha256(FILE)])
            calls = len(s3.times) + len(connect.times)
            s3.plan(portal(elsewhere))
            connect.plan(portal(elsewhere))
            begun = time.monotonic()
            for number in range(MAILS):  # every other without a file: Connect alone is asked for it
                send(daemon.port, build_mail(number, attachment=FILE if number % 2 else None))
            daemon.wait_for("service.away")
            daemon.wait_for("alarm.raised", kind="service_away")
            until(lambda: time.monotonic() - begun >= seconds, seconds=seconds + 30)
            assert len(box.book) == 1
            lasted = time.monotonic() - begun
            calls = len(s3.times) + len(connect.times) - calls
            # The first failures of all that was under way, a HEAD for some, then one probe after the other.
            assert calls <= 2 * MAILS + 8 + 2 * lasted
            for proxy in (s3, connect):
                proxy.do(forward)
            until(lambda: len(box.book) >= MAILS + 1, seconds=60, so=daemon.log())
            attempts = [line for line in daemon.events if line["event"] == "delivery.attempted"]
            daemon.wait_for("service.back")
            assert daemon.stop() == 0
        assert asked == []
        contacts = box.contacts()
        assert sorted(subjects(contacts)) == sorted(["Mail before", *(f"Mail {n}" for n in range(MAILS))])
        assert len({contact["request"]["ClientToken"] for contact in contacts}) == MAILS + 1
        files = [file["sha256"] for contact in contacts for file in contact["attachments"]]
        assert files == [sha256(FILE)] * (MAILS // 2 + 1)
        assert {line["outcome"] for line in attempts} <= {"done", "deferred"}
        reasons = {line["reason"] for line in attempts if line["outcome"] == "deferred"}
        assert {reason.partition(".")[2] for reason in reasons} <= {
            "unproven",
            "unreachable",  # a redirect may close the connection before the file is all sent
            "redirect",
            "301",
            "302",
            "303",
            "307",
            "308",
        }
