"""A campaign: a daemon under load is killed again and again, and what it leaves is held against the promise.

every acknowledged mail is in the spool, or is a contact, once for each of its destinations
an entry that is done has its contact; one that waits has its octets, whole
held and dead are only those that were made to be
"""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import smtplib
import time
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from crash.points import STRIKES, Strike
from crash.programs import DESK, ProgramLoad
from harness import Daemon, Senders, build_mail, octets_of, send, sha256, until
from resources import check_growth

from relay.config.load import load_config
from relay.sandbox.limits import Refusal
from relay.sandbox.service import Sandbox
from relay.spool.model import Entry, Filter, State
from relay.spool.opening import open_desk

SUPPORT, SALES, HELD = "support@example.com", "sales@example.com", "held@example.com"
#: Over and under spool.large_message_bytes, once in base64.
LARGE, SMALL = 300_000, 6_000
ROUTES = """
[[routes]]
match = ["held@example.com"]
on = { auto-reply = "hold" }
"""


def file_of(number: str) -> bytes | None:
    """The attachment of a mail: one in four is large, one in four has none."""
    size = (LARGE, 0, SMALL, SMALL)[int(number.rpartition("-")[2]) % 4]
    return b"%PDF-1.7\n" + random.Random(number).randbytes(size) if size else None


def recipients_of(number: str) -> tuple[str, ...]:
    """One mail in three goes to two desks."""
    return (SUPPORT, SALES) if int(number.rpartition("-")[2]) % 3 == 0 else (SUPPORT,)


class Campaign:
    """One daemon, its senders, its killer, and the book of what was promised."""

    def __init__(self, home: Path, box: Sandbox, *, seed: int) -> None:
        self.box = box
        self.rng = random.Random(seed)
        self.kills = 0
        self.struck: Counter[str] = Counter()
        self.daemon = Daemon(home, env=box.environ(), extra=ROUTES)
        self.config = load_config(str(self.daemon.config_path))
        self._numbers: dict[str, str] = {}
        #: SHA-256 of each mail as it is sent, by its number.
        self._sums: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._dropped: set[str] = set()
        #: Of those held, what a person let go: it becomes a contact, once, whatever its route says
        #: (spool.md).
        self._released: set[str] = set()
        self._may_be_dead = False
        self._count = itertools.count(1)
        self.senders = Senders(
            self.daemon.port,
            count=2,
            make=self._make,
            arrived=lambda: (len(box.book) - len(self.programs.contacts())) * 3 // 4,
            ahead=15,
        )
        #: Begun by those who want it.
        self.programs = ProgramLoad(home, box, port=self.daemon.port)

    def _make(self, number: str) -> EmailMessage:
        mail = build_mail(number, attachment=file_of(number), to=", ".join(recipients_of(number)))
        self._numbers[str(mail["Message-ID"])] = number
        self._sums[number] = sha256(octets_of(mail))
        return mail

    def arrived(self) -> Counter[tuple[str, str]]:
        """(number, destination) of every contact; twice there is a broken promise."""
        found: Counter[tuple[str, str]] = Counter()
        for contact in self.box.book.select():
            request = contact.request
            if request["DestinationEmailAddress"] == DESK:
                continue
            subject = request["EmailMessage"]["RawMessage"]["Subject"]
            found[subject.removeprefix("Mail "), request["DestinationEmailAddress"]] += 1
        return found

    def strike(self, strike: Strike, *, nth: int = 1) -> None:
        """Start the daemon and have it, or a command beside it, killed at a step; then the power goes."""
        fault = {"RELAY_FAULT_POINT": f"{strike.point}:{nth}"}
        self.box.connect.planned[:] = [Refusal(code=code, message="as planned") for code in strike.errors]
        self._may_be_dead = self._may_be_dead or strike.point == "spool.bury.committed"
        if strike.command:
            self.daemon.start()
            self._strike_command(strike, fault)
        else:
            self.daemon.start(wait=False, **fault, **strike.env)
            if strike.held:
                self._send_held()
            self._wait_for_end(strike)
        self.cut()
        self.struck[strike.point] += 1
        self.box.connect.planned.clear()
        self.check()

    def kill_at_random(self) -> None:
        """Kill it at a moment of chance: one time in three perhaps before it is up."""
        self.daemon.start(wait=self.rng.random() > 0.33)
        time.sleep(self.rng.uniform(0.0, 0.5))  # the moment itself
        self.cut()
        self.check()

    def cut(self) -> None:
        """SIGKILL to all processes."""
        self.daemon.kill()
        self.kills += 1

    def _wait_for_end(self, strike: Strike) -> None:
        def ended() -> bool:
            told = (line for line in self.daemon.events if line.get("event") == strike.told)
            return any(line.get("code") == -signal.SIGKILL or line.get("kind") == "killed" for line in told)

        until(ended, seconds=40, so=f"a process killed at {strike.point}: {self.daemon.log()}")

    def _send_held(self) -> str:
        """A large mail that its route holds, accepted; its Message-ID."""
        number = f"held-{next(self._count) * 4}"  # by four: a large one
        mail = self._make(number)
        mail.replace_header("To", HELD)
        mail["Auto-Submitted"] = "auto-replied"
        self._sums[number] = sha256(octets_of(mail))
        end = time.monotonic() + 30
        while True:
            try:
                send(self.daemon.port, mail, (HELD,))
            except (OSError, smtplib.SMTPException):
                assert time.monotonic() < end, "the mail to be held was not accepted"
                time.sleep(0.05)  # a mail server's retry
            else:
                break
        self._held[number] = str(mail["Message-ID"])
        return self._held[number]

    def _strike_command(self, strike: Strike, fault: dict[str, str]) -> None:
        message_id = self._send_held()
        with contextlib.closing(open_desk(self.config)) as desk:
            (entry,) = until(
                lambda: [e for e in desk.trace(message_id) if e.state is State.HELD], so="it is held"
            )
        words = [word.format(id=entry.spool_id) for word in strike.command]
        ended = self.daemon.run(*words, **fault)
        assert ended.returncode == -signal.SIGKILL, (ended.stdout, ended.stderr)
        changed = self._dropped if "drop" in words else self._released
        changed.add(self._numbers[message_id])

    def check(self, *, stopped: bool = False) -> list[Entry]:
        """Hold what lies there against the table of states; `stopped`: after an orderly end nothing is on its
        way.
        """
        promised = [subject.removeprefix("Mail ") for subject in list(self.senders.acknowledged)]
        promised_to_programs = self.programs.promised()
        if not self.config.data_dir.joinpath("spool", "spool.db").exists():
            assert not promised
            return []
        with contextlib.closing(open_desk(self.config)) as desk:
            everything = list(desk.select(Filter(limit=10**6)))
            theirs = [entry for entry in everything if entry.destination.address == DESK]
            entries = [entry for entry in everything if entry.destination.address != DESK]
            self.programs.check(theirs, promised_to_programs, may_be_dead=self._may_be_dead)
            arrived = self.arrived()
            twice = [pair for pair, count in arrived.items() if count > 1]
            assert not twice, f"mails became two contacts: {twice}: {self._tell(twice, entries)}"
            found = Counter((self._numbers[e.message_id or ""], e.destination.address) for e in entries)
            assert [pair for pair, count in found.items() if count > 1] == [], "a mail is in the spool twice"
            for number in promised:
                for address in recipients_of(number):
                    pair = (number, address)
                    assert found[pair] or arrived[pair], f"mail {number} to {address} is lost"
            for number in self._held.keys() - self._dropped:
                kept = found[number, HELD] or (number in self._released and arrived[number, HELD])
                assert kept, f"the held mail {number} is lost"
            for number in self._dropped:
                assert not found[number, HELD], f"the dropped mail {number} is back"
            for entry in entries:
                self._check_entry(entry, arrived)
            for entry in everything:
                if entry.state is not State.DONE:
                    assert desk.export(entry.spool_id), "the octets of a waiting mail are gone"
                if stopped:
                    assert entry.state in (State.DONE, State.HELD), entry
        self._check_files(everything, stopped=stopped)
        return everything

    def _tell(self, pairs: list[tuple[str, str]], entries: list[Entry]) -> str:
        """The contacts and the entries of these mails, for the message of a failing test."""
        requests = [contact.request for contact in self.box.book.select()]
        subjects = {f"Mail {number}" for number, _ in pairs}
        contacts = [
            (request["DestinationEmailAddress"], request["ClientToken"], request["Attributes"])
            for request in requests
            if request["EmailMessage"]["RawMessage"]["Subject"] in subjects
        ]
        numbers = {number for number, _ in pairs}
        return (
            f"{contacts} {[entry for entry in entries if self._numbers[entry.message_id or ''] in numbers]}"
        )

    def _check_files(self, entries: list[Entry], *, stopped: bool) -> None:
        named = {e.spool_id for e in entries if e.size > self.config.spool.large_message_bytes}
        there = {path.name for path in (self.config.data_dir / "spool" / "raw").rglob("*") if path.is_file()}
        assert named <= there, "a large mail has lost its file"
        if stopped:
            assert named == there, "a file belongs to no mail"

    def _check_entry(self, entry: Entry, arrived: Counter[tuple[str, str]]) -> None:
        number = self._numbers[entry.message_id or ""]
        match entry.state:
            case State.DONE:
                # Killed after Connect took the request, then told 404: the request is made anew, and Connect
                # knows its token (409), so the contact is there and its id is not known here.
                assert entry.contact_id or entry.reason == "already_there", entry
                assert arrived[number, entry.destination.address] == 1, f"{number} is done and is no contact"
            case State.HELD:
                assert number in self._held, f"{number} is held: {entry.reason} {entry.detail}"
            case State.DEAD:
                assert self._may_be_dead, f"{number} is dead: {entry.reason} {entry.detail}"

    def finish(self) -> int:
        """Let everything through, and hold the contacts against what was promised; how many mails
        that were.
        """
        with self.daemon.start():
            before = self.daemon.footprints()
            self.senders.finish(seconds=120)
            self.programs.finish(seconds=180)
            with contextlib.closing(open_desk(self.config)) as desk:
                dead = [entry.spool_id for entry in desk.select(Filter(states=(State.DEAD,), limit=10**6))]
                desk.retry(dead, now=datetime.now(UTC))
            promised = {subject.removeprefix("Mail ") for subject in self.senders.acknowledged}
            wanted = {(number, address) for number in promised for address in recipients_of(number)}
            wanted |= {(number, HELD) for number in self._released}
            until(lambda: self.arrived().keys() >= wanted, seconds=120, so="all contacts")
            self.programs.check_contacts(seconds=120)
            until(lambda: all(c["attachments"] == [] or all(f["sha256"] for f in c["attachments"])
                              for c in self.box.contacts()), seconds=60, so="all files fetched")  # fmt: skip
            counts = [State.QUEUED, State.LEASED]
            with contextlib.closing(open_desk(self.config)) as desk:
                until(lambda: not any(desk.counts()[state] for state in counts), so="nothing waits")
            # Whatever hundreds of deaths have left in the spool, its reader holds no more for it. The process
            # is a fresh one: its first delivery alone reads the models of S3 and Connect.
            check_growth(before, self.daemon.footprints(), octets=96 << 20)
            assert self.daemon.stop() == 0
        assert self.arrived() == Counter(dict.fromkeys(wanted, 1))
        for contact in self.box.contacts():
            if contact["request"]["DestinationEmailAddress"] == DESK:
                continue
            number = contact["request"]["EmailMessage"]["RawMessage"]["Subject"].removeprefix("Mail ")
            data = file_of(number)
            sums = [file["sha256"] for file in contact["attachments"]]
            adaptations = contact["request"]["Attributes"].get("relay_adaptations", "")
            if "message.not_understood" in adaptations:
                assert sums == [self._sums[number]], f"the original of {number}"
                continue
            if "attachment.refused" in adaptations:
                assert sums == [], f"the attachments of {number}, which Connect was told to refuse"
                continue
            assert sums == ([sha256(data)] if data else []), f"the attachments of {number}"
        self.check(stopped=True)
        return len(promised)


def strikes_of(*, thorough: bool) -> list[tuple[Strike, int]]:
    """Every step once; thorough, those that are taken often at later passes too."""
    later = (0, 1, 4) if thorough else (0,)
    return [(strike, strike.first + more) for more in later for strike in STRIKES if not more or strike.often]
