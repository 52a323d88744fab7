"""Load by programs that others wrote: smtp-source (Postfix) and swaks, run again until they see every 250.

Neither can send the same octets twice: a mail that is sent again, because its 250 was lost, is another mail
with a
Message-ID of its own. So a subject has one contact for each mail that was acknowledged, and at most one for
each that
was tried; a Message-ID has one; a spool id has one; and the files of swaks are whole.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import sha256, until

from relay.sandbox.service import Sandbox
from relay.spool.model import Entry, State

#: Nobody else writes to it.
DESK = "programs@example.com"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SENDER = "ada@customer.example"
#: Mails that a program may be ahead of its contacts.
_AHEAD = 15


@dataclass(frozen=True, kw_only=True)
class Program:
    """One of them, the Debian package that has it, and how it sends under a subject."""

    name: str
    package: str
    #: Mails of one run.
    mails: int
    command: Callable[[int, str, Path], Sequence[str]]
    file: Callable[[str], bytes | None] = lambda _: None


def _smtp_source(port: int, subject: str, _: Path) -> Sequence[str]:
    """Four mails in two sessions; every fifth time over spool.large_message_bytes."""
    octets = "300000" if subject.endswith(("0", "5")) else "4000"
    return ("smtp-source", "-s", "2", "-m", "4", "-l", octets, "-S", subject, "-f", _SENDER, "-t", DESK, f"127.0.0.1:{port}")  # fmt: skip


def _file(subject: str) -> bytes:
    size = 250_000 if subject.endswith("0") else 5_000
    return b"%PDF-1.7\n" + random.Random(subject).randbytes(size)


def _swaks(port: int, subject: str, folder: Path) -> Sequence[str]:
    path = folder / f"{subject}.pdf"
    path.write_bytes(_file(subject))
    return ("swaks", "--server", "127.0.0.1", "--port", str(port), "--timeout", "20", "--from", _SENDER, "--to", DESK,
            "--h-Subject", subject, "--body", "See the file.", "--attach-type", "application/pdf",
            "--attach-name", f"{subject}.pdf", "--attach", f"@{path}")  # fmt: skip


PROGRAMS = (
    Program(name="smtp-source", package="postfix", mails=4, command=_smtp_source),
    Program(name="swaks", package="swaks", mails=1, command=_swaks, file=_file),
)


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What tells one contact from another."""

    subject: str
    spool_id: str
    message_id: str


class ProgramLoad:
    """Each program that is here, in a thread that runs it again and again."""

    def __init__(self, home: Path, box: Sandbox, *, port: int) -> None:
        self._box = box
        self._port = port
        self._folder = home / "programs"
        self._folder.mkdir()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        #: Runs by subject, and the program that each subject belongs to once its run was accepted whole.
        self.tries: Counter[str] = Counter()
        self.acknowledged: dict[str, Program] = {}
        self._threads: list[threading.Thread] = []
        self._arrived: list[Arrived] = []
        self._read = 0
        self._reading = threading.Lock()

    def start(self) -> None:
        """Begin; a program that is not here is left out, and said."""
        for program in PROGRAMS:
            if shutil.which(program.name, path=_PATH) is None:
                print(f"no load by {program.name}: install the Debian package {program.package}")
                continue
            self._threads.append(threading.Thread(target=self._run, args=(program,), daemon=True))
            self._threads[-1].start()

    def finish(self, *, seconds: float) -> None:
        """Begin no new run; return when each that was begun was accepted."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=seconds)
            assert not thread.is_alive(), "a program was refused until the end"
        assert not self._errors, self._errors

    def promised(self) -> int:
        """Mails that were acknowledged."""
        return sum(program.mails for program in tuple(self.acknowledged.values()))

    def _run(self, program: Program) -> None:
        try:
            number = 0
            while not self._stop.is_set():
                if self.promised() > len(self.contacts()) + _AHEAD:
                    time.sleep(0.1)  # between two looks at what has arrived
                    continue
                number += 1
                subject = f"{program.name}-{number}"
                self._run_until_accepted(program, subject)
                self.acknowledged[subject] = program
        except BaseException as exc:  # noqa: BLE001 - told to the test in finish()
            self._errors.append(exc)

    def _run_until_accepted(self, program: Program, subject: str) -> None:
        end = time.monotonic() + 120
        while True:
            self.tries[subject] += 1
            done = subprocess.run(
                program.command(self._port, subject, self._folder),
                env={"PATH": _PATH},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=60,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < end, f"{program.name}: {done.stdout[-300:]} {done.stderr[-300:]}"
            time.sleep(0.1)  # a mail server's retry, in small

    def contacts(self) -> Sequence[Arrived]:
        """What has arrived of this load; each contact is read once, for some are large."""
        with self._reading:
            for contact in reversed(self._box.book.newest(after=self._read, limit=1_000_000)):
                self._read = contact.number
                if DESK.encode() in contact.raw:
                    self._arrived.append(_arrived(contact.request))
            return tuple(self._arrived)

    def check(self, entries: Sequence[Entry], promised: int, *, may_be_dead: bool) -> None:
        """Every acknowledged mail is in the spool or is a contact; none is held or dead that was not made to
        be.
        """
        arrived = {contact.spool_id for contact in self.contacts()}
        found = {str(entry.spool_id) for entry in entries} | arrived
        assert len(found) >= promised, f"{promised - len(found)} mails of the programs are lost"
        allowed = {State.QUEUED, State.LEASED, State.DONE} | ({State.DEAD} if may_be_dead else set())
        assert [entry for entry in entries if entry.state not in allowed] == []

    def check_contacts(self, *, seconds: float) -> None:
        """At the end: how many contacts each subject has, that nothing is there twice, and the files."""

        def missing() -> list[str]:
            found = Counter(contact.subject for contact in self.contacts())
            return [
                subject for subject, program in self.acknowledged.items() if found[subject] < program.mails
            ]

        until(lambda: not missing(), seconds=seconds, so="the contacts of the programs")
        arrived = self.contacts()
        for seen in (
            Counter(contact.spool_id for contact in arrived),
            Counter((contact.subject, contact.message_id) for contact in arrived),
        ):
            assert [each for each, count in seen.items() if count > 1] == [], "a mail became two contacts"
        for subject, count in Counter(contact.subject for contact in arrived).items():
            assert count <= self.acknowledged[subject].mails * self.tries[subject], subject
        for contact in self._box.contacts():
            subject = _arrived(contact["request"]).subject
            if (program := self.acknowledged.get(subject)) is not None:
                octets = program.file(subject)
                sums = [file["sha256"] for file in contact["attachments"]]
                changes = contact["request"]["Attributes"].get("relay_adaptations", "")
                # The campaign's refusals strike this load, too: the file stays in S3, or within the original.
                if "message.not_understood" in changes:
                    assert len(sums) == 1, f"the original of {subject}"
                elif "attachment.refused" in changes:
                    assert sums == [], f"the attachments of {subject}, which Connect was told to refuse"
                else:
                    assert sums == ([sha256(octets)] if octets else []), subject


def _arrived(request: Mapping[str, Any]) -> Arrived:
    return Arrived(
        subject=request["EmailMessage"]["RawMessage"]["Subject"],
        spool_id=request["Attributes"]["relay_spool_id"],
        message_id=request["Attributes"]["relay_message_id"],
    )
