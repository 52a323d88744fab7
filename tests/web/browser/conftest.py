"""A real browser, and the page in both of its homes: the sandbox, and a daemon's queue."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from harness import CONFIG, ROOT, Daemon, free_port, until
from sandboxes import fast_sandbox

#: Where `.ci/programs` puts the libraries of requirements-browser.lock.
_LIBRARIES = sorted((ROOT / ".venv" / "browser").glob(f"lib/python3.{sys.version_info.minor}/site-packages"))
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: A browser beside others on two cores is slow; nothing here is judged by the clock.
_MILLISECONDS = 60_000


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser."""
    if _CHROMIUM is None or not _LIBRARIES:
        pytest.skip("needs Chromium and requirements-browser.lock; .ci/programs installs both")
    sys.path.append(str(_LIBRARIES[0]))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Home:
    """A page that runs, and the door of the daemon behind it."""

    name: str
    url: str
    port: int
    #: For the form, where there is one.
    token: str = ""
    seen: list[str] = field(default_factory=list)

    def send(
        self,
        *mails: EmailMessage,
        recipient: str = "support@example.com",
        sender: str = "ann@customer.example",
    ) -> None:
        """Send mails by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
            for mail in mails:
                smtp.sendmail(sender, [recipient], mail.as_bytes())


@pytest.fixture(scope="session", params=["sandbox", "queue"])
def home(request, tmp_path_factory, chromium) -> Iterator[Home]:
    """Both homes, one after the other."""
    place = tmp_path_factory.mktemp(request.param)
    with (_sandbox if request.param == "sandbox" else _queue)(place) as made:
        yield made


class _sandbox:  # noqa: N801 - a context manager, used as a function
    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> Home:
        smtp, http = free_port(), free_port()
        self.said = (self.place / "said").open("w+")
        self.log = (self.place / "log").open("w+")
        config = self.place / "relay.toml"
        config.write_text(
            f'hostname = "mx.test"\ndata_dir = "{self.place / "spool"}"\n'
            '[s3]\nbucket = "relay-sandbox"\n[connect]\ninstance_id = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"\n'
            "requests_per_second = 100\nburst = 100\n[spool]\nmin_free_bytes = 0\n"
            '[[routes]]\nmatch = ["support@example.com"]\non = { auto-reply = "hold" }\n'
            '[[routes]]\nmatch = ["@example.com"]\n'
        )
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "relay",
                "sandbox",
                "--config",
                str(config),
                "--smtp",
                f"127.0.0.1:{smtp}",
                "--http",
                f"127.0.0.1:{http}",
            ],
            cwd=ROOT,
            stdout=self.said,
            stderr=self.log,
        )

        def up() -> bool:
            assert self.process.poll() is None, (self.place / "log").read_text()
            return "Ctrl-C stops it." in (self.place / "said").read_text()

        until(up, seconds=150)
        return Home(name="sandbox", url=f"http://127.0.0.1:{http}", port=smtp)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self.said.close()
        self.log.close()


class _queue:  # noqa: N801 - a context manager, used as a function
    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> Home:
        self.box = fast_sandbox()
        box = self.box.__enter__()
        users, port = self.place / "page-users", free_port()
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        users.write_text(f"alice:{hasher.hash('good')}\n")
        extra = f'[web]\nbind = "127.0.0.1:{port}"\nusers_file = "{users}"\ncontent = true\nactions = true\n'
        config = CONFIG.format(
            data_dir=self.place / "spool", port="{port}", extra=extra, receivers=1, rate=1_000, burst=1_000
        ).replace(
            'destination = "support@example.com"\n',
            'destination = "support@example.com"\non = { auto-reply = "hold" }\n',
        )
        self.daemon = Daemon(self.place, env=box.environ(), config=config)
        path = self.daemon.config_path
        path.write_text(path.read_text().replace("{port}", str(self.daemon.port)))
        self.daemon.__enter__()
        self.daemon.start()
        self.daemon.wait_for("web.opened")
        return Home(name="queue", url=f"http://127.0.0.1:{port}", port=self.daemon.port, token="good")

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self.daemon.__exit__(None, None, None)
        self.box.__exit__(None, None, None)


@pytest.fixture
def page(chromium, home) -> Iterator[Any]:
    """A tab of a person who is signed in. At its end no error may have been told, and nothing may have been
    asked of anybody but the page's own home.
    """
    with opened(chromium, home) as made:
        yield made


class opened:  # noqa: N801 - a context manager, used as a function
    """A tab with these options."""

    def __init__(self, chromium: Any, home: Home, *, signed: bool = True, **options: Any) -> None:
        self.chromium, self.home, self.signed, self.options = chromium, home, signed, options

    def __enter__(self) -> Any:
        self.context = self.chromium.new_context(**self.options)
        self.context.set_default_timeout(_MILLISECONDS)
        self.told: list[str] = []
        page = self.context.new_page()
        page.on(
            "console",
            self._hear,
        )
        page.on("pageerror", lambda error: self.told.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        if self.signed and self.home.token:
            page.goto(self.home.url)
            page.get_by_label("Name").fill("alice")
            page.get_by_label("Token").fill(self.home.token)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_selector("#strip")
        self.told.clear()
        return page

    def _hear(self, message: Any) -> None:
        # What drives the browser looks into a frame where no script may run, and the browser says so.
        own = message.text.startswith("Blocked script execution in") and "/body'" in message.text
        if message.type in ("error", "warning") and not own:
            self.told.append(f"{message.text} ({message.location.get('url')})")

    def _note(self, url: str) -> None:
        if not url.startswith((self.home.url, "data:", "about:", "blob:")):
            self.told.append(f"asked elsewhere: {url}")

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert self.told == []


class Elsewhere:
    """A server that no page may ask; it remembers who did."""

    def __init__(self) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>Elsewhere</title>Elsewhere")

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """The server of a stranger."""
    made = Elsewhere()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.fixture
def open_mail(page, home):
    """Opens the mail with a subject, once it is a contact (or in the state that is named)."""

    def open_it(subject: str, state: str = "contact") -> Any:
        def there() -> bool:
            page.goto(f"{home.url}/?q={subject.split(maxsplit=1)[0]}")
            row = page.locator(".row").filter(has_text=subject)
            return row.count() == 1 and state in row.locator(".state").inner_text()

        until(there, seconds=90)
        page.locator(".row").filter(has_text=subject).locator("a").first.click()
        page.wait_for_selector(f"#mail h1:has-text('{subject}')")
        return page

    return open_it
