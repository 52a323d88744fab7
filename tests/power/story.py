"""A story to be cut short: a daemon over the disk that keeps a log, its mail, and what the world saw when.

Owns the run: mail in and out, requests whose answers are lost, mail that waits for an operator and is
released or dropped, the end of all processes in the middle and a second start. What peers, operators and
Connect saw has the instants of the wall clock, as the log has.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import CONFIG, ROOT, Daemon, Senders, build_mail, octets_of, send, until
from spool_helpers import build_config

from relay.sandbox.service import Sandbox
from relay.spool.model import State
from relay.spool.opening import open_desk

_PYTHON = ROOT / ".venv" / "power" / "bin" / "python"
SUPPORT, SALES, HELD = "support@example.com", "sales@example.com", "held@example.com"
_ROUTES = """
[[routes]]
match = ["held@example.com"]
on = { auto-reply = "hold" }
"""
#: Over and under spool.large_message_bytes, once in base64.
_LARGE, _SMALL = 300_000, 6_000
#: Requests that fail, and answers of Connect that are lost: the mail is in doubt until it is sent again.
_FAULTS = {"error": 0.1, "lose_reply": 0.15}


class Contact(NamedTuple):
    """A contact that Connect has started."""

    at: int
    number: str
    destination: str
    token: str
    contact_id: str


class Mail(NamedTuple):
    """A mail as it is sent, each time."""

    octets: bytes
    recipients: tuple[str, ...]


@dataclass(slots=True)
class Seen:
    """What the world saw of a story, and its log."""

    log: Path
    mails: dict[str, Mail] = field(default_factory=dict)
    #: When each mail was sent first, and when its 250 was read.
    begun: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    contacts: list[Contact] = field(default_factory=list)
    #: When an operator began to release or to drop a mail, and when that was told to be done.
    released: dict[str, tuple[int, int]] = field(default_factory=dict)
    dropped: dict[str, tuple[int, int]] = field(default_factory=dict)

    def is_dropped(self, number: str, at: int) -> bool:
        """Returns whether the mail may be gone by then, because an operator had begun to drop it."""
        return number in self.dropped and self.dropped[number][0] < at

    def is_kept(self, number: str, at: int) -> bool:
        """Returns whether the mail may still be held then, since no release of it was done."""
        if HELD not in self.mails[number].recipients:
            return False
        return number not in self.released or self.released[number][1] >= at


class _Acknowledged(list):
    """The subjects that `Senders` has seen a 250 for, with the instant of each."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def append(self, subject: str) -> None:
        self._seen.acknowledged[number_of(subject)] = time.time_ns()
        super().append(subject)


def number_of(subject: str) -> str:
    """The number of the mail with this subject."""
    return subject.removeprefix("Mail ")


def contacts_of(box: Sandbox) -> list[Contact]:
    """What Connect has, oldest first."""
    found = []
    for contact in box.book.select():
        request = contact.request
        found.append(
            Contact(
                int(contact.received_at.timestamp() * 1e6) * 1_000,
                number_of(request["EmailMessage"]["RawMessage"]["Subject"]),
                request["DestinationEmailAddress"],
                request["ClientToken"],
                contact.contact_id,
            )
        )
    return found


@contextlib.contextmanager
def logging_disk(home: Path) -> Iterator[Path]:
    """A mounted disk that keeps the log `home/log`; skips where none can be mounted."""
    if not (_PYTHON.exists() and ctypes.util.find_library("fuse") and Path("/dev/fuse").exists()):
        pytest.skip("needs /dev/fuse, libfuse2 and requirements-power.lock; .ci/programs installs the latter")
    place, folder, log = home / "disk", home / "behind", home / "log"
    place.mkdir()
    folder.mkdir()
    program = [str(_PYTHON), str(Path(__file__).with_name("disk.py")), str(folder), str(place), str(log)]
    with (home / "disk.log").open("wb") as said:
        process = subprocess.Popen(program, stdout=said, stderr=said)
    try:
        until(lambda: place.is_mount() or process.poll() is not None, so="the disk is mounted")
        if process.poll() is not None:
            pytest.skip(f"no file system can be mounted here: {(home / 'disk.log').read_text()}")
        yield place
    finally:
        # Lazily: a test that failed may still have a file open. The log is whole when the program has ended.
        subprocess.run(["umount", "-l", str(place)], check=process.poll() is None, capture_output=True)
        process.wait(timeout=30)


def daemon_on(home: Path, data_dir: Path, box: Sandbox) -> Daemon:
    """A daemon of this data_dir, not started; its configuration and its log are in `home`."""
    home.mkdir(exist_ok=True)
    daemon = Daemon(home, env=box.environ())
    text = CONFIG.format(
        data_dir=data_dir, port=daemon.port, receivers=2, rate=1_000, burst=1_000, extra=_ROUTES
    )
    daemon.config_path.write_text(text)
    return daemon


def _send_held(daemon: Daemon, seen: Seen, number: str, rng: random.Random) -> str:
    """Send a mail that its route holds. Returns its Message-ID."""
    file = rng.randbytes(rng.choice((_LARGE, _SMALL)))
    mail = build_mail(number, attachment=file, to=HELD)
    mail["Auto-Submitted"] = "auto-replied"
    seen.mails[number] = Mail(octets_of(mail), (HELD,))
    seen.begun[number] = time.time_ns()
    send(daemon.port, mail, (HELD,))
    seen.acknowledged[number] = time.time_ns()
    return str(mail["Message-ID"])


def _operate(data_dir: Path, daemon: Daemon, seen: Seen, *, turn: int, rng: random.Random) -> None:
    """An operator's day: of three mails that are held one is released, one dropped, and one left."""
    ids = [_send_held(daemon, seen, f"held-{turn}-{number}", rng) for number in range(3)]
    with contextlib.closing(open_desk(build_config(data_dir))) as desk:

        def held() -> list[str]:
            entries = [desk.trace(message_id)[0] for message_id in ids]
            return [entry.spool_id for entry in entries if entry.state is State.HELD]

        until(lambda: len(held()) == len(ids), so="the deliverer has held them")
        found = held()
        for number, change, told in ((0, desk.release, seen.released), (1, desk.drop, seen.dropped)):
            begun = time.time_ns()
            assert change([found[number]], now=datetime.now(UTC)).count == 1
            told[f"held-{turn}-{number}"] = (begun, time.time_ns())


def tell(home: Path, box: Sandbox, *, mails: int, seed: int) -> Seen:
    """Let so many mails through, with an end of all processes after half of them."""
    seen, chance = Seen(log=home / "log"), random.Random(seed)

    def make(number: str):
        rng = random.Random(f"{seed} {number}")
        size = rng.choice((_LARGE, 0, _SMALL, _SMALL))
        recipients = (SUPPORT, SALES) if rng.random() < 0.3 else (SUPPORT,)
        file = b"%PDF-1.7\n" + rng.randbytes(size) if size else None
        mail = build_mail(number, attachment=file, to=", ".join(recipients))
        seen.mails[number] = Mail(octets_of(mail), recipients)
        seen.begun[number] = time.time_ns()
        return mail

    box.chaos(connect=_FAULTS)
    with logging_disk(home) as place, daemon_on(home / "story", place / "data", box) as daemon:
        senders = Senders(daemon.port, count=2, make=make, arrived=lambda: len(box.book), ahead=10)
        senders.acknowledged = _Acknowledged(seen)
        daemon.start()
        senders.start()
        _operate(place / "data", daemon, seen, turn=1, rng=chance)
        until(lambda: len(seen.acknowledged) >= mails // 2, seconds=120, so="half of the mails")
        daemon.kill()
        daemon.start()
        _operate(place / "data", daemon, seen, turn=2, rng=chance)
        until(lambda: len(seen.acknowledged) >= mails, seconds=120, so="all mails")
        senders.finish()
        done = [number for number in seen.acknowledged if not seen.is_kept(number, time.time_ns())]
        wanted = sum(len(seen.mails[number].recipients) for number in done)
        until(lambda: len(box.book) >= wanted, seconds=120, so="all contacts")
        assert daemon.stop() == 0
    box.chaos({})
    seen.contacts = contacts_of(box)
    return seen
