"""What tests of the whole path share: a real daemon as a process, senders that retry as mail servers do,
waiting.

Nothing here sleeps in place of a condition: `until` looks again and again until its condition holds or its
time is over, and then says what it saw last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from pathlib import Path
from typing import Any, Self

from prepared import PreparedProcess, run_prepared
from resources import Footprint, footprint_of

ROOT = Path(__file__).parent.parent
#: The program that is forked from one that has imported it already.
_RELAY = [sys.executable, "-m", "relay"]
#: The beginnings of variables that are read once, when a program starts: libraries, memory, modes of Python.
_READ_AT_START = (
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "PYTHONMALLOC",
    "PYTHONDEVMODE",
    "PYTHONHASHSEED",
    "PYTHONTRACEMALLOC",
)

CONFIG = """
hostname = "mx.test"
data_dir = "{data_dir}"
[[listeners]]
bind = "127.0.0.1:{port}"
role = "trusted"
tls = "none"
[server]
receivers = {receivers}
drain_seconds = 10
[spool]
min_free_bytes = 0
[deliver]
backoff_min_seconds = 0.2
backoff_max_seconds = 2
poll_seconds = 0.2
probe_seconds = 0.5
capacity_seconds = 0.5
[s3]
bucket = "relay-sandbox"
[connect]
instance_id = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
requests_per_second = {rate}
burst = {burst}
[admin]
bind = "127.0.0.1:0"
[log]
format = "json"
{extra}
[[routes]]
match = ["support@example.com", "help@example.com"]
destination = "support@example.com"
[[routes]]
match = ["sales@example.com"]
[[routes]]
match = ["@example.com"]
"""


def until(what: Callable[[], Any], *, seconds: float = 30.0, so: str = "") -> Any:
    """The first truthy answer of `what`; AssertionError with the last answer when the time is over."""
    begun = time.monotonic()
    while not (answer := what()):
        waited = time.monotonic() - begun
        if waited > seconds:
            raise AssertionError(f"not within {seconds} s: {so or what} (last seen: {answer!r})")
        # Between two looks, each of which may be a request: what takes long is looked at less often.
        time.sleep(0.02 if waited < 1 else 0.1)
    return answer


#: Below the range that the kernel gives to those who call out (32,768 up), so that nobody takes one
#: meanwhile.
_PORTS = range(12_000, 32_000)
_port_chance = random.SystemRandom()
#: Ports of this process: a hundred listeners of one daemon would else meet by chance in one run of five.
_ports_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that nobody has at the moment, and that nobody is given."""
    while True:
        port = _port_chance.choice(_PORTS)
        if port in _ports_given:
            continue
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            _ports_given.add(port)
            return port


def _byte_code(env: Mapping[str, str]) -> dict[str, str]:
    """What lets a start find our modules compiled: to compile hundreds takes each process of it a second and
    more.
    """
    return {"PYTHONDONTWRITEBYTECODE": ""} if env.get("PYTHONDONTWRITEBYTECODE") else {}


def _can_be_forked(env: Mapping[str, str]) -> bool:
    """Returns whether a process that runs already has all that these variables ask for."""
    names = {name for name in (*env, *os.environ) if name.startswith(_READ_AT_START)}
    return all(env.get(name) == os.environ.get(name) for name in names)


class Daemon:
    """`relay serve` as a process group of its own, started as often as one likes on the same port
    and spool.
    """

    def __init__(
        self,
        home: Path,
        *,
        env: dict[str, str],
        extra: str = "",
        receivers: int = 1,
        rate: float = 1_000,
        burst: int = 1_000,
        config: str | None = None,
    ) -> None:
        self.port = free_port()
        self.data_dir = home / "spool"
        self.config_path = home / "relay.toml"
        self.config_path.write_text(
            config
            or CONFIG.format(
                data_dir=self.data_dir,
                port=self.port,
                extra=extra,
                receivers=receivers,
                rate=rate,
                burst=burst,
            )
        )
        self.env = {
            "AWS_CA_BUNDLE": str(ROOT / "tests" / "nobody.pem"),
            "RELAY_IDENTITY__ENABLED": "false",  # tests of the checks name a DNS server on loopback
            **env,
            "PYTHONPATH": str(ROOT),
        }
        self.env |= _byte_code(env)
        #: A line that begins otherwise is started as a program, not forked.
        self.program = self._line("serve")
        self.args: list[str] = []
        self._log_path = home / "daemon.log"
        self._log_offset = 0
        self._events: list[dict[str, Any]] = []
        self.other_lines: list[str] = []
        self.process: subprocess.Popen[str] | PreparedProcess | None = None

    def _line(self, *words: str) -> list[str]:
        return [*_RELAY, *words, "--config", str(self.config_path)]

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """What another command says of the same configuration, in the same environment."""
        line, environ = self._line(*words), self.env | env
        if line[:3] == _RELAY and _can_be_forked(environ):
            return run_prepared(line[3:], env=environ, folder=ROOT)
        return subprocess.run(
            line, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )

    def start(self, *, wait: bool = True, pass_fds: Sequence[int] = (), **env: str) -> Daemon:
        """Start it; with `wait`, return when every process of it works."""
        self._events = []
        with self._log_path.open("ab") as log:
            self._log_offset = log.tell()
            line, environ = [*self.program, *self.args], self.env | env
            if line[:3] == _RELAY and not pass_fds and _can_be_forked(environ):
                self.process = PreparedProcess(line[3:], env=environ, folder=ROOT, stderr=self._log_path)
            else:
                self.process = subprocess.Popen(
                    line, env=environ, cwd=ROOT, stderr=log, pass_fds=pass_fds, start_new_session=True
                )
        if wait:
            try:
                self.wait_for("daemon.ready")
            except BaseException:
                self.kill()
                raise
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has logged since the last start; the log is a file, read on as it grows."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._log_offset += len(line)
                try:
                    self._events.append(json.loads(line))
                except ValueError:
                    self.other_lines.append(line.decode().rstrip())
        return self._events

    def forget(self) -> None:
        """Look only at what is logged from now on; where its pages are stays known, and who its children
        are.
        """
        kept = ("admin.opened", "child.started")
        self._events = [line for line in self.events if line.get("event") in kept]

    def wait_for(self, event: str, *, seconds: float = 30.0, **fields: Any) -> dict[str, Any]:
        """The first log line with this event and these fields."""

        def look() -> dict[str, Any] | None:
            for line in self.events:
                if line.get("event") == event and all(
                    line.get(key) == value for key, value in fields.items()
                ):
                    return line
            assert self.process
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log()}")
            return None

        return until(look, seconds=seconds, so=f"{event} {fields}: {self.log()}")

    def footprints(self) -> dict[str, Footprint]:
        """What each process of it holds; one that ended by itself and was started again is an error of the
        test.
        """
        assert self.process
        pids = {"supervisor": self.process.pid}
        for event in self.events:
            if event.get("event") == "child.started":
                assert event["child"] not in pids, f"{event['child']} was started again: {self.log()}"
                pids[event["child"]] = event["pid"]
        return {name: footprint_of(pid) for name, pid in pids.items()}

    def ask(self, page: str) -> tuple[int, str]:
        """Status and text of a page of its admin."""
        bind = self.wait_for("admin.opened")["bind"]
        try:
            with urllib.request.urlopen(f"http://{bind}/{page}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def log(self) -> str:
        """The end of what it said, for the message of a failing test."""
        return "\n".join([*self.other_lines[-20:], *(json.dumps(line) for line in self.events[-20:])])

    def kill(self) -> None:
        """SIGKILL to every process of it at once: a power cut, as far as processes can tell."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._ended()

    def stop(self, *, seconds: float = 30.0) -> int:
        """SIGTERM to the supervisor, as a service manager does; the exit code."""
        assert self.process
        self.process.terminate()
        self.process.wait(timeout=seconds)
        return self._ended()

    def _ended(self) -> int:
        assert self.process
        return self.process.wait(timeout=30)

    def __enter__(self) -> Self:
        """Nothing is started here: what is, ends with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


def build_mail(
    number: int | str, *, attachment: bytes | None = None, to: str = "support@example.com"
) -> EmailMessage:
    """An ordinary mail with a Message-ID and a subject of its own."""
    mail = EmailMessage()
    mail["From"] = "Ada Customer <ada@customer.example>"
    mail["To"] = to
    mail["Subject"] = f"Mail {number}"
    mail["Date"] = localtime()
    mail["Message-ID"] = make_msgid(str(number), domain="customer.example")
    mail.set_content(f"This is the text of mail {number}.\n")
    if attachment is not None:
        mail.add_attachment(attachment, maintype="application", subtype="pdf", filename=f"file {number}.pdf")
    return mail


def octets_of(mail: EmailMessage) -> bytes:
    """The octets that `send` hands over."""
    return mail.as_bytes().replace(b"\n", b"\r\n")


def send(
    port: int,
    mail: EmailMessage | bytes,
    to: Sequence[str] = ("support@example.com",),
    *,
    sender: str = "ada@customer.example",
    timeout: float = 30.0,
) -> None:
    """Hand over one mail in a session of its own; raises what smtplib raises."""
    with smtplib.SMTP("127.0.0.1", port, timeout=timeout, local_hostname="client.test") as client:
        octets = mail if isinstance(mail, bytes) else octets_of(mail)
        client.sendmail(sender, list(to), octets)


class Senders:
    """Several mail servers that send until told to stop, and try each mail again until they see a 250."""

    def __init__(
        self,
        port: int,
        *,
        count: int,
        make: Callable[[str], EmailMessage],
        arrived: Callable[[], int],
        ahead: int = 40,
    ) -> None:
        self._port = port
        #: How many contacts there are: nobody sends more than `ahead` mails before they have come through.
        self._arrived = arrived
        self._ahead = ahead
        self._make = make
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)
        ]
        #: Subjects of mails that got a 250.
        self.acknowledged: list[str] = []
        self.tries = 0
        self.errors: list[BaseException] = []

    def start(self) -> Senders:
        """Begin to send."""
        for thread in self._threads:
            thread.start()
        return self

    def finish(self, *, seconds: float = 60.0) -> None:
        """Begin no new mail; return when every mail that was begun has its 250."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=seconds)
            assert not thread.is_alive(), "a mail was refused until the end"
        assert not self.errors, self.errors

    def _run(self, sender: int) -> None:
        count = 0
        while not self._stop.is_set():
            if len(self.acknowledged) > self._arrived() + self._ahead:
                time.sleep(0.02)  # between two looks at what has arrived
                continue
            count += 1
            mail = self._make(f"{sender}-{count}")
            try:
                self._send_until_accepted(mail)
            except BaseException as exc:  # noqa: BLE001 - told to the test in finish()
                self.errors.append(exc)
                return
            self.acknowledged.append(str(mail["Subject"]))

    def _send_until_accepted(self, mail: EmailMessage) -> None:
        end = time.monotonic() + 120
        while True:
            self.tries += 1
            try:
                return send(self._port, mail, str(mail["To"]).split(", "), timeout=20)
            except (OSError, smtplib.SMTPException) as exc:
                refused = isinstance(exc, smtplib.SMTPResponseException) and exc.smtp_code >= 500
                if refused or time.monotonic() > end:
                    raise
                time.sleep(0.05)  # a mail server's retry, in small


def sha256(octets: bytes) -> str:
    """Lower-case hexadecimal."""
    return hashlib.sha256(octets).hexdigest()


def subjects(contacts: Sequence[dict[str, Any]]) -> list[str]:
    """The subject of each contact."""
    return [contact["request"]["EmailMessage"]["RawMessage"]["Subject"] for contact in contacts]
