"""Delivering: the whole right half at full speed, and at the pace that Amazon Connect allows.

    python -m bench.delivery [--mails 1500] [--concurrency 8] [--only NAME] [--paced 240]

Mail waits in a real spool; then `relay serve --role deliver` starts, and S3 and Connect are the sandbox in
another
process, with its limits off, and on for --paced seconds. CPU is of the deliverer process alone, and all is
counted from the first
tenth of the contacts on. A profiler may attach to the process that is named on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import Daemon, build_mail, until
from spool_helpers import build_destination, build_submission

from bench.parse import samples
from bench.smtp import cpu_seconds
from relay.cli.progress import tracked
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.config.load import load_config
from relay.sandbox.service import running_sandbox, settings_of
from relay.spool.opening import open_intake

DESK = "support@example.com"
CONFIG = """
hostname = "mx.test"
data_dir = "{data_dir}"
[s3]
bucket = "relay-sandbox"
[connect]
instance_id = "{instance_id}"
requests_per_second = {rate}
burst = {burst}
[deliver]
concurrency = {concurrency}
[admin]
bind = ""
[log]
format = "json"
[[routes]]
match = ["support@example.com"]
"""


def serve(pipe: Connection, rate: float, burst: int) -> None:
    """The sandbox's process: how many contacts there are, when each came, and the CPU it has used."""
    settings = settings_of(builtin_config(), requests_per_second=rate, burst=burst)
    with running_sandbox(settings=settings) as box:
        pipe.send(box.environ())
        while (asked := pipe.recv()) != "end":
            if asked == "count":
                pipe.send(len(box.book))
            else:
                pipe.send(([contact.received_at.timestamp() for contact in box.book.select()],
                           all(file.state == "available" for contact in box.book.select() for file in contact.attachments),
                           time.process_time()))  # fmt: skip


class Sandbox:
    """The sandbox beside us, asked over a pipe."""

    def __init__(self, pipe: Connection, environ: dict[str, str]) -> None:
        self._pipe = pipe
        self.environ = environ

    def ask(self, what: str) -> Any:
        self._pipe.send(what)
        return self._pipe.recv()


@contextlib.contextmanager
def sandbox(*, rate: float, burst: int) -> Iterator[Sandbox]:
    """A sandbox in a process of its own, so that its interpreter is not counted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, rate, burst))
    process.start()
    try:
        yield Sandbox(ours, ours.recv())
    finally:
        ours.send("end")
        process.join(10)


async def fill(daemon: Daemon, raw: bytes, mails: int) -> None:
    """Put so many mails into the spool of a daemon that does not run yet."""
    intake = open_intake(load_config(str(daemon.config_path)))

    async def put() -> None:
        spool_id = intake.new_id()
        await intake.put(
            build_submission(
                spool_id,
                trace=b"",
                body=raw + f"{spool_id}\r\n".encode(),  # each its own mail
                message_id=None,
                destinations=(build_destination(DESK, DESK, INSTANCE_ID),),
                at=datetime.now(UTC),
            )
        )

    try:
        await asyncio.gather(*(put() for _ in range(mails)))
    finally:
        await intake.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run showed, from the first tenth of the contacts on."""

    per_second: float
    cpu_ms: float
    sandbox_cpu_ms: float
    #: Seconds from the start of the daemon's work at which Connect answered 429.
    refused: tuple[float, ...]


def run(raw: bytes, mails: int, *, concurrency: int, rate: float, burst: int, limit: float) -> Run:
    """Fill a spool, start a deliverer, and watch it empty the spool; `limit` is Connect's own rate."""
    with tempfile.TemporaryDirectory() as folder, sandbox(rate=limit, burst=burst) as box:
        daemon = Daemon(Path(folder), env=box.environ, config="x")
        daemon.config_path.write_text(
            CONFIG.format(
                data_dir=daemon.data_dir,
                instance_id=INSTANCE_ID,
                rate=rate,
                burst=burst,
                concurrency=concurrency,
            )
        )
        asyncio.run(fill(daemon, raw, mails))
        daemon.args = ["--role", "deliver"]
        with daemon.start():
            child = daemon.wait_for("child.started", child="deliverer")
            print(f"the deliverer is process {child['pid']}", file=sys.stderr)
            begun, warm = time.time(), max(mails // 10, 1)
            until(lambda: box.ask("count") >= warm, seconds=60)
            cpu, before, box_cpu = cpu_seconds([child["pid"]]), box.ask("count"), box.ask("times")[2]
            until(lambda: box.ask("count") >= mails, seconds=60 + mails * 2 / min(rate, 20))
            cpu = cpu_seconds([child["pid"]]) - cpu
            until(lambda: box.ask("times")[1], seconds=60, so="all files fetched")
            times, _, box_cpu_then = box.ask("times")
            assert daemon.stop() == 0
            refused = tuple(
                datetime.fromisoformat(line["at"]).timestamp() - begun
                for line in daemon.events
                if line.get("reason") == "connect.ThrottlingException"
            )
            others = [line for line in daemon.events if line.get("outcome") in ("buried", "held")]
            assert not others, others[:1]
    assert len(times) == mails, f"{len(times)} contacts of {mails} mails"
    counted = mails - before
    return Run(
        per_second=counted / (times[-1] - times[before - 1]),
        cpu_ms=cpu / counted * 1e3,
        sandbox_cpu_ms=(box_cpu_then - box_cpu) / counted * 1e3,
        refused=refused,
    )


def kinds() -> dict[str, bytes]:
    """The two kinds of mail of the table."""
    file = random.Random(1).randbytes(100_000)
    with_file = build_mail("bench", attachment=b"%PDF-1.7\n" + file).as_bytes().replace(b"\n", b"\r\n")
    return {"2 KB text": samples()["2 KB text"], "100 KB attachment": with_file}


def main() -> int:
    """Print the table in Markdown; 1 where the pace was not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mails", type=int, default=1_500)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--only", default="", help="part of a kind's name; none: the pace alone")
    parser.add_argument(
        "--paced", type=float, default=120.0, help="seconds with Connect's limits on; 0: not at all"
    )
    options = parser.parse_args()
    print(
        "| mail | deliveries/s | deliverer, CPU each | sandbox, CPU each |\n| --- | --- | --- | --- |",
        flush=True,
    )
    for name, raw in tracked("bench.delivery", list(kinds().items())):
        if options.only in name:
            found = run(
                raw, options.mails, concurrency=options.concurrency, rate=1_000, burst=1_000, limit=1e6
            )
            print(
                f"| {name} | {found.per_second:,.0f} | {found.cpu_ms:.2f} ms | {found.sandbox_cpu_ms:.2f} ms |",
                flush=True,
            )
    if not options.paced:
        return 0
    found = run(
        kinds()["2 KB text"],
        int(options.paced * 2),
        concurrency=options.concurrency,
        rate=2.0,
        burst=5,
        limit=2.0,
    )
    late = sum(at > 60 for at in found.refused)
    kept = abs(found.per_second - 2.0) <= 0.1 and not late
    print(f"\nConnect's limits on, {options.paced:g} s: {found.per_second:.3f} a second, {len(found.refused)} times 429, "
          f"{late} of them after the first minute: {'kept' if kept else 'BROKEN'}")  # fmt: skip
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
