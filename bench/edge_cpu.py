"""The work of the SMTP edge for one mail: everything that a receiver computes, but the spool's commit and the
kernel's part.

    python -m bench.edge_cpu [--rounds 40] [--only NAME] [--tail] [--profile]

Sessions of our own protocol class on uvloop, fed in this process with the octets of an `smtp-source` dialog.
The spool answers at once, and the log goes to /dev/null, by the thread that writes it in the daemon. Prints
microseconds of CPU a mail, the best and the median of interleaved rounds: fit to compare two states of the
code on a busy machine, since no other process takes part.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.smtp import CONFIG
from relay import telemetry
from relay.cli.progress import tracked
from relay.config.load import load_config
from relay.smtp.connection import Connection
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import Limiter
from relay.smtp.listeners import Listeners
from relay.smtp.protocol import Conversation
from relay.smtp.server import Server
from relay.spool.local.intake import LocalIntake
from relay.spool.model import Receipt, Submission
from relay.tail.wanted import EVERYTHING

_SESSIONS = 10  # that many have something to say in one turn of a busy loop
_CHUNK = 65_536  # what one read of a large mail brings on loopback
_HEAD = (
    b"From: <ada@customer.example>\r\nTo: <support@example.com>\r\nDate: Mon, 23 Nov 2026 15:12:52 +0000 (UTC)\r\n"
    b"Message-Id: <0882.0003.%04x@bench.example>\r\n\r\n"
)
_LINE = b"%d" + b"X" * 78 + b"\r\n"
_COMMANDS = (b"MAIL FROM:<ada@customer.example>\r\n", b"RCPT TO:<support@example.com>\r\n", b"DATA\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One row: mails of a size, each in a connection of its own or not."""

    name: str
    octets: int
    reused: bool
    mails: int


LOADS = (
    Load(name="2 KB, reused", octets=2_000, reused=True, mails=500),
    Load(name="2 KB", octets=2_000, reused=False, mails=500),
    Load(name="20 KB", octets=20_000, reused=False, mails=500),
    Load(name="200 KB", octets=200_000, reused=False, mails=100),
)


class Quick(LocalIntake):
    """The spool with everything but its commit."""

    async def put(self, submission: Submission) -> Receipt:
        return Receipt(spool_id=submission.spool_id, duplicate=False)

    def begin_put(self, submission: Submission) -> asyncio.Future[Receipt]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(Receipt(spool_id=submission.spool_id, duplicate=False))
        return done


class Link(asyncio.Transport):
    """The server's side of a connection that leads nowhere."""

    def __init__(self, port: int) -> None:
        super().__init__({"peername": ("127.0.0.1", port)})
        self.said = b""

    def write(self, data: Any) -> None:
        self.said = data

    def close(self) -> None:
        """Nothing is under way."""

    def pause_reading(self) -> None:
        """Nothing is under way."""

    def resume_reading(self) -> None:
        """Nothing is under way."""


class Bench:
    """One receiver's station, and sessions made for it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "relay.toml"
        path.write_text(CONFIG.format(data_dir=folder / "data", port=2525))
        config = load_config(str(path), environ={})
        config.data_dir.mkdir()
        self.intake = Quick(config)
        self.listeners = Listeners(config=config, intake=self.intake)
        self.server: Server = Server(
            intake=self.intake, limits=config.limits, limiter=Limiter(SharedCounters(folder / "tally"))
        )
        self.listeners._server = self.server  # noqa: SLF001 - a server without sockets
        self.listeners._compile(config)  # noqa: SLF001 - a server without sockets
        self.settings = self.server.settings[0]
        self._port = 40_000

    def connect(self) -> tuple[Connection, Link]:
        """A session that has been greeted and has said HELO."""
        self._port += 1
        session, link = Conversation(self.settings, self.server).connection, Link(self._port)
        session.connection_made(link)
        session.data_received(b"HELO bench.example\r\n")
        return session, link

    async def run(self, load: Load) -> float:
        """Microseconds of CPU a mail."""
        tail = b"".join(_LINE % (at % 10) for at in range(load.octets // 81)) + b".\r\n"
        opened = [self.connect() for _ in range(_SESSIONS)] if load.reused else []
        begun = time.process_time()
        for first in range(0, load.mails, _SESSIONS):
            if not load.reused:
                opened = [self.connect() for _ in range(_SESSIONS)]
            for command in _COMMANDS:
                for session, _ in opened:
                    session.data_received(command)
                await asyncio.sleep(0)
            for at, (session, _) in enumerate(opened):
                mail = _HEAD % (first + at) + tail
                for start in range(0, len(mail), _CHUNK):
                    session.data_received(mail[start : start + _CHUNK])
            while any(session.busy for session, _ in opened):  # noqa: ASYNC110 - the turns are what is measured
                await asyncio.sleep(0)
            if not load.reused:
                self._part(opened)
                await asyncio.sleep(0)
        spent = (time.process_time() - begun) / load.mails * 1e6
        if load.reused:
            self._part(opened)
        return spent

    @staticmethod
    def _part(opened: list[tuple[Connection, Link]]) -> None:
        for session, link in opened:
            if not link.said.startswith(b"250 2.0.0 Ok: queued"):
                raise RuntimeError(f"250 was expected: {link.said!r}")
            session.data_received(b"QUIT\r\n")
            session.connection_lost(None)


class Reader:
    """Somebody who reads transcripts of all sessions, as fast as they come."""

    wanted = EVERYTHING

    def send(self, line: bytes, *, events: int = 1) -> None:
        """Take the line."""


async def compare(loads: list[Load], rounds: int, *, tail: bool) -> None:
    """The table."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if tail:
            bench.server.begin_telling(Reader())
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as the daemon's receivers have it
        found: dict[str, list[float]] = {load.name: [] for load in loads}
        for _ in tracked("bench.edge_cpu", range(rounds), is_silent=True):
            for load in loads:
                found[load.name].append(await bench.run(load))
        for name, spent in found.items():
            print(f"{name:14} best {min(spent):7.1f} µs   median {statistics.median(spent):7.1f} µs")
        bench.server.close()
        await bench.intake.close()


def main() -> None:
    """Print the figures, and with --profile where they come from."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default="")
    parser.add_argument("--tail", action="store_true", help="while somebody reads the transcripts")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    loads = [load for load in LOADS if load.name.startswith(options.only)]
    stderr = sys.stderr
    with Path("/dev/null").open("w", encoding="utf-8") as sys.stderr:
        telemetry.queue_log()
        telemetry.configure("json", "info", process="receiver-0")
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        uvloop.run(compare(loads, options.rounds, tail=options.tail))
        profile.disable()
    sys.stderr = stderr
    telemetry.configure("json", "info")
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
