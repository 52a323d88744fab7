"""How long the event loop of the deliverer waits while a large mail is delivered: worst lag of a task due
every millisecond.

    python -m bench.lag [--rounds 5] [--check]

A real spool, real clients, S3 and Connect simulated in another process, so that its interpreter is not
counted.
The idle row is what the machine itself does to a loop; --check fails where the median round is over 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from spool_helpers import build_destination, build_submission

from bench.parse import HEADER, leaf, samples
from relay.aws.clients import open_clients
from relay.cli.progress import tracked
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.delivery.attempt import Delivery
from relay.delivery.outcome import Delivered
from relay.delivery.ways import Ways
from relay.sandbox.service import running_sandbox, settings_of
from relay.spool.interface import Intake, Outbox
from relay.spool.opening import open_intake, open_outbox
from relay.understand.reading import open_reading

#: Seconds; the product's own promise for a mail of 25 MB.
TARGET = 0.020
TICK = 0.001
_DESK = "support@example.com"
_FAST = {"requests_per_second": 1_000.0, "burst": 1_000}


def _serve(pipe: Connection) -> None:
    with running_sandbox(settings=settings_of(builtin_config(), **_FAST)) as box:
        pipe.send(box.env)
        pipe.recv()


@contextmanager
def sandbox_beside() -> Iterator[None]:
    """A sandbox in a process of its own, and this process's environment pointing at it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    before = dict(os.environ)
    try:
        os.environ.update(ours.recv())
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        ours.send("end")
        process.join(10)


class Desk:
    """A spool and one delivery before it."""

    def __init__(self, intake: Intake, outbox: Outbox, delivery: Delivery, instance_id: str) -> None:
        self._intake = intake
        self._outbox = outbox
        self._delivery = delivery
        self._instance_id = instance_id

    async def lags(self, raw: bytes, *, clock: Callable[[], float] = time.perf_counter) -> list[float]:
        """The lag of each tick while one mail is claimed and delivered, in seconds.

        By `time.thread_time` it is the processor time that the loop spent on other tasks since the tick
        before: what other programs do to a busy machine is not in it, nor is what the loop waits for.
        """
        await self._accept(raw)
        found: list[float] = []
        ticking = asyncio.create_task(_tick(found, clock))
        try:
            now = datetime.now(UTC)
            (entry,) = await self._outbox.claim(now=now, limit=1, lease_seconds=60)
            outcome = await self._delivery.deliver(entry)
            if not isinstance(outcome, Delivered):
                raise SystemExit(f"not delivered: {outcome}")
            await self._outbox.finish(entry, contact_id=outcome.contact_id, now=datetime.now(UTC))
        finally:
            ticking.cancel()
        return found

    async def _accept(self, raw: bytes) -> None:
        spool_id = self._intake.new_id()
        await self._intake.put(
            build_submission(
                spool_id,
                trace=b"",
                body=raw + f"{spool_id}\r\n".encode(),  # a mail that came before is not delivered again
                message_id=None,
                destinations=(build_destination(_DESK, _DESK, self._instance_id),),
                at=datetime.now(UTC),
            )
        )


async def _tick(found: list[float], clock: Callable[[], float] = time.perf_counter) -> None:
    passes = TICK if clock is time.perf_counter else 0.0  # while it sleeps, a thread has no processor time
    while True:
        due = clock() + passes
        await asyncio.sleep(TICK)
        found.append(clock() - due)


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Everything that a delivery needs, as the deliverer opens it; the sandbox stands in the environment."""
    config = builtin_config(
        data_dir=folder,
        spool={"min_free_bytes": 0, "min_free_inodes": 0},
        connect={"instance_id": INSTANCE_ID, "requests_per_second": 1_000, "burst": 100},
    )
    intake, outbox = open_intake(config), open_outbox(config)
    try:
        async with open_clients(config) as clients, open_reading(config) as reading:
            delivery = Delivery(
                config=config,
                outbox=outbox,
                understanding=reading,
                ways=Ways(config=config, clients=clients, clock=asyncio.get_running_loop().time),
                now=lambda: datetime.now(UTC),
            )
            yield Desk(intake, outbox, delivery, config.connect.instance_id)
    finally:
        await outbox.close()
        await intake.close()


def mails() -> dict[str, bytes]:
    """The mail of the promise, and one whose words alone are larger than a contact can show."""
    words = "Wir warten noch immer auf das Paket für Köln.\r\n".encode() * 300_000
    return {
        "25 MB, one file": samples()["25 MB"],
        "14 MB of text": HEADER + leaf(b"text/plain; charset=utf-8", b"8bit", words),
    }


async def _measure(rounds: int) -> dict[str, list[list[float]]]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder)) as desk:
            await desk.lags(samples()["2 KB text"])  # models and pools that only the first mail pays for
            idle: list[list[float]] = []
            for _ in range(rounds):
                idle.append([])
                task = asyncio.create_task(_tick(idle[-1]))
                await asyncio.sleep(0.5)
                task.cancel()
            found = {"idle": idle}
            for name, raw in tracked("bench.lag", list(mails().items()), is_silent=True):
                found[name] = [await desk.lags(raw) for _ in range(rounds)]
            return found


def main() -> int:
    """Print the table; with --check, 1 when the promise is broken."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="deliveries of each mail")
    arguments.add_argument("--check", action="store_true", help="exit 1 where the lag is over its target")
    chosen = arguments.parse_args()
    with sandbox_beside(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_measure(chosen.rounds))
    print(f"{'':18}{'median lag':>12}{'99 %':>10}{'worst of a round: median':>27}{'worst of all':>15}")
    for name, rounds in found.items():
        lags = sorted(lag for lags in rounds for lag in lags)
        worst = [max(lags) for lags in rounds]
        print(
            f"{name:18}{statistics.median(lags) * 1e3:9.2f} ms{lags[len(lags) * 99 // 100] * 1e3:7.2f} ms"
            f"{statistics.median(worst) * 1e3:24.2f} ms{max(worst) * 1e3:12.2f} ms"
        )
    broken = statistics.median(map(max, found["25 MB, one file"])) >= TARGET
    return 1 if chosen.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
