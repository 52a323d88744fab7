"""How long the event loop of a receiver waits while a large mail comes in: worst lag of a task due every
millisecond.

    chrt -f 5 python -m bench.lag_in [--rounds 5] [--only NAME] [--check]

The real listeners and a real spool on uvloop, the sender and the scanner in processes of their own. *loop* is
the processor time that the loop's own thread spends between two ticks: what other programs, and other threads
of this process, do to it is not in there. `chrt` (root) has other programs wait meanwhile, so that the first
two columns show what the receiver does to itself. --check fails where the median round is over 20 ms. Needs
the Debian package clamav-daemon for the rows with clamd, which are left out without.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from auth.signing import NAME, make_field, record, rsa_key, sign
from dns_server import DnsServer
from harness import until

from relay import telemetry
from relay.auth.body_hash import Canonicalisation, hash_body
from relay.cli.progress import tracked
from relay.config.model import Config
from relay.smtp.listeners import Listeners
from relay.smtp.sockets import open_socket
from relay.spool.opening import open_intake

#: Seconds; what is promised of a signed mail of 25 MB.
TARGET = 0.020
_TICK = 0.001
_HEADER = b"From: The Bank <service@bank.example>\r\nTo: support@example.com\r\nSubject: A file\r\n\r\n"
_CLAMD = "/usr/sbin/clamd"
_PLAIN, _CHECKED, _SCANNED = range(3)


@dataclass(slots=True, kw_only=True)
class Lags:
    """The lags of one round: on the wall, and in processor time of the loop."""

    wall: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)


def build_mails(only: str = "") -> dict[str, tuple[int, bytes]]:
    """The mails by name, each with the listener that takes it; those whose names have these words."""
    line = b"YmFzZTY0IG9mIGEgZmlsZSB0aGF0IHNvbWVib2R5IHNlbmRzIHdpdGggaGlzIHF1ZXN0aW9uLCBhbmQ=\r\n"
    key = rsa_key(2_048)

    def build(octets: int, *forms: Canonicalisation) -> bytes:
        """A mail of this size, with a signature for each form; dkimpy would take a minute for the body."""
        body = line * (octets // len(line))
        fields = b""
        for form in forms:
            digest = base64.b64encode(hash_body(body, form).whole).decode()
            fields = make_field(fields + _HEADER, key, body=False, bh=digest, c=f"relaxed/{form}") + fields
        return fields + _HEADER + body

    relaxed, simple = Canonicalisation.RELAXED, Canonicalisation.SIMPLE
    mails: dict[str, tuple[int, Callable[[], bytes]]] = {
        "25 MB, no checks": (_PLAIN, lambda: build(25_000_000)),
        "25 MB signed, checked": (_CHECKED, lambda: build(25_000_000, relaxed)),
        "25 MB signed in both forms, checked": (_CHECKED, lambda: build(25_000_000, relaxed, simple)),
        "26 MB to clamd": (_SCANNED, lambda: build(26_000_000)),
        "26 MB signed, checked, to clamd": (_SCANNED, lambda: build(26_000_000, relaxed)),
    }
    return {name: (listener, make()) for name, (listener, make) in mails.items() if only in name}


@contextlib.contextmanager
def _clamd(home: Path) -> Iterator[str]:
    """The socket of a clamd that knows one virus; "" where there is no clamd."""
    if not os.access(_CLAMD, os.X_OK):
        yield ""
        return
    (home / "db").mkdir()
    (home / "db/test.ndb").write_text(f"Test:0:*:{b'a virus for the bench'.hex()}\n")
    (home / "clamd.conf").write_text(
        f"DatabaseDirectory {home}/db\nLocalSocket {home}/socket\nForeground yes\nTemporaryDirectory {home}\n"
        f"StreamMaxLength 100M\nMaxScanSize 100M\nMaxFileSize 100M\n"
    )
    command = [_CLAMD, "--config-file", str(home / "clamd.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until((home / "socket").exists, so="clamd listens")
            yield f"{home}/socket"
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def _receiving(home: Path, clamd: str) -> AsyncIterator[list[int]]:
    """The ports of three listeners: one checks nothing, one the origin of mail, one has it scanned, too."""
    zone = {
        (NAME, "TXT"): [f'"{text[:250]}" "{text[250:]}"' for text in [record(rsa_key(2_048)).decode()]],
        ("_dmarc.bank.example", "TXT"): ['"v=DMARC1; p=reject"'],
    }
    binds = [{"bind": "127.0.0.1:0", "tls": "none", "scan": number == _SCANNED} for number in range(3)]
    roles = [{"role": "trusted"}, {"role": "mx"}, {"role": "mx"}]
    async with DnsServer(zone) as dns:
        config = Config.model_validate(
            {
                "hostname": "mx.test.example",
                "data_dir": str(home / "spool"),
                "s3": {"bucket": "unused"},
                "connect": {"instance_id": "00000000-0000-0000-0000-000000000000"},
                # A mail whose signature were not good would end the run.
                "routes": [{"match": ["support@example.com"], "policy": {"dkim.fail": "reject"}}],
                "listeners": [each | role for each, role in zip(binds, roles, strict=True)],
                "spool": {"min_free_bytes": 0, "min_free_inodes": 0, "duplicate_window_hours": 0},
                "dns": {"servers": [f"127.0.0.1:{dns.port}"]},
                "scan": {"clamd": {"address": clamd, "seconds": 60.0}} if clamd else {},
            }
        )
        sockets = {number: [open_socket("127.0.0.1:0")] for number in range(3)}
        intake = open_intake(config)
        listeners = Listeners(config=config, intake=intake)
        await listeners.start(sockets)
        try:
            yield [sockets[number][0].getsockname()[1] for number in range(3)]
        finally:
            await listeners.drain(0.0)
            await intake.close()


async def _tick(lags: Lags) -> None:
    while True:
        due, spent = time.perf_counter() + _TICK, time.thread_time()
        await asyncio.sleep(_TICK)
        lags.wall.append(time.perf_counter() - due)
        lags.loop.append(time.thread_time() - spent)


async def measure(rounds: int, only: str) -> dict[str, list[Lags]]:
    """The lags of each round, by the name of the mail."""
    found: dict[str, list[Lags]] = {}
    mails = build_mails(only)  # which takes seconds: a loop that stands still sends peers away
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        clamd = stack.enter_context(_clamd(home))
        async with _receiving(home, clamd) as ports:
            first = sign(_HEADER + b"Hello\r\n", rsa_key(2_048))
            await _watch_mail(ports[_SCANNED], home, first)
            found["idle"] = [await _watch(asyncio.sleep(0.5)) for _ in range(rounds)]
            for name, (listener, mail) in tracked("bench.lag_in", list(mails.items()), is_silent=True):
                if clamd or listener != _SCANNED:
                    found[name] = [await _watch_mail(ports[listener], home, mail) for _ in range(rounds)]
    return found


async def _watch(work: Awaitable[object]) -> Lags:
    """The lags while something is awaited."""
    lags = Lags()
    ticking = asyncio.create_task(_tick(lags))
    try:
        await work
    finally:
        ticking.cancel()
    return lags


async def _watch_mail(port: int, home: Path, mail: bytes) -> Lags:
    """The lags while one mail comes from another process, which was started before."""
    path = home / "mail"
    path.write_bytes(mail)
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.source",
        str(port),
        str(path),
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert sender.stdin
    assert sender.stdout
    await sender.stdout.readline()
    sender.stdin.write(b"go\n")
    lags = await _watch(sender.stdout.readline())
    if code := await sender.wait():
        raise SystemExit(f"the sender ended with {code}")
    return lags


def _tell(name: str, rounds: Sequence[Lags]) -> None:
    walls = [max(each.wall) for each in rounds]
    loops = [max(each.loop) for each in rounds]
    figures = (statistics.median(walls), max(walls), statistics.median(loops), max(loops))
    print(f"| {name} | " + " | ".join(f"{each * 1e3:.1f} ms" for each in figures) + " |")


def main() -> int:
    """Print the table; with --check, 1 when the promise is broken."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=5, help="times that each mail is sent")
    arguments.add_argument("--only", default="", help="mails whose names have these words")
    arguments.add_argument("--check", action="store_true", help="exit 1 where the lag is over its target")
    chosen = arguments.parse_args()
    telemetry.configure("json", "error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(chosen.rounds, chosen.only))
    print("| | worst of a round, median | worst of all | loop, median | loop, worst |\n|" + " --- |" * 5)
    for name, rounds in found.items():
        _tell(name, rounds)
    checked = "25 MB signed, checked"
    broken = checked in found and statistics.median(max(each.wall) for each in found[checked]) >= TARGET
    return 1 if chosen.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
