"""What the spool of a fleet takes beside an emulator: mails accepted a second, the processor time of each,
and deliveries while the leader claims.

    python -m bench.fleet [--mails 300] [--at-once 16] [--kilobytes 8] [--slow 0.05]

The emulator (ministack) runs beside it and shares the processors, so its rates say little of AWS; the
processor time is this process's own. Claims are compared with attempts that wait: each attempt lasts for
`--slow` seconds, and 16 of them at once would take mails / 16 times that if none ever waited for a claim.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from fleet_helpers import ROOT, environment, fleet_config, make_table, run_ministack
from spool_helpers import build_submission

from relay.spool.fleet.intake import FleetIntake
from relay.spool.fleet.outbox import FleetOutbox
from relay.spool.model import Entry

_CONCURRENCY = 16


async def accept(
    intake: FleetIntake, *, mails: int, at_once: int, size: int
) -> tuple[float, float, list[float]]:
    """Accept so many mails. Returns the seconds, the processor time, and the seconds of each."""
    waits: list[float] = []
    left = iter(range(mails))

    async def send() -> None:
        for number in left:
            mail = build_submission(intake.new_id(), body=b"Subject: %d\r\n\r\n" % number + b"x" * size)
            begun = time.perf_counter()
            await intake.put(mail)
            waits.append(time.perf_counter() - begun)

    begun, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send() for _ in range(at_once)))
    return time.perf_counter() - begun, time.process_time() - processor, waits


async def deliver(outbox: FleetOutbox, *, mails: int, slow: float) -> tuple[float, float, float]:
    """Deliver so many mails by attempts that only wait. Returns the seconds, the processor time, and the
    seconds in which a claim was under way.
    """
    running: set[asyncio.Task[None]] = set()
    done, claiming = 0, 0.0

    async def attempt(entry: Entry) -> None:
        nonlocal done
        await asyncio.sleep(slow)
        await outbox.finish(entry, contact_id=f"c-{entry.reference}", now=outbox.now())
        done += 1

    begun, processor = time.perf_counter(), time.process_time()
    while done < mails:
        running = {task for task in running if not task.done()}
        if free := _CONCURRENCY - len(running):
            asked = time.perf_counter()
            entries = await outbox.claim(now=outbox.now(), limit=free, lease_seconds=600)
            claiming += time.perf_counter() - asked
            running |= {asyncio.create_task(attempt(entry)) for entry in entries}
        if running:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return time.perf_counter() - begun, time.process_time() - processor, claiming


async def run(home: Path, url: str, arguments: argparse.Namespace) -> None:
    config = fleet_config(home / "data", make_table(url), node="bench", lease_seconds=120.0)
    intake, outbox = FleetIntake(config), FleetOutbox(config)
    mails, slow = arguments.mails, arguments.slow
    await accept(intake, mails=20, at_once=1, size=100)  # clients, routes
    await outbox.recover(now=outbox.now())
    await deliver(outbox, mails=20, slow=0.0)
    units = intake._store.meter.units["write"]  # noqa: SLF001 - the count of the store
    seconds, processor, waits = await accept(
        intake, mails=mails, at_once=arguments.at_once, size=arguments.kilobytes * 1_000
    )
    units = intake._store.meter.units["write"] - units  # noqa: SLF001
    waits.sort()
    print("| Accepted | a second | processor time of each | median | p99 | units written for each |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {mails} of {arguments.kilobytes} KB, {arguments.at_once} at once | {mails / seconds:.0f} "
        f"| {processor / mails * 1_000:.1f} ms | {waits[mails // 2] * 1_000:.0f} ms "
        f"| {waits[mails * 99 // 100] * 1_000:.0f} ms | {units / mails:.1f} |"
    )
    seconds, processor, claiming = await deliver(outbox, mails=mails, slow=slow)
    ideal = mails / _CONCURRENCY * slow
    print(
        "\n| Delivered | a second | processor time of each | a claim was under way | if no attempt waited |"
    )
    print("|---|---|---|---|---|")
    print(
        f"| {mails}, {_CONCURRENCY} at once of {slow * 1_000:.0f} ms | {mails / seconds:.0f} "
        f"| {processor / mails * 1_000:.1f} ms | {claiming / seconds:.0%} of the time | {mails / ideal:.0f} a second |"
    )
    await intake.close()
    await outbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mails", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--kilobytes", type=int, default=8)
    parser.add_argument("--slow", type=float, default=0.05, help="seconds of an attempt")
    arguments = parser.parse_args()
    if not (ROOT / ".venv-fleet" / "bin" / "ministack").exists():
        print("left out: ministack is not here; `make system` sets it up in .venv-fleet")
        return
    with tempfile.TemporaryDirectory() as folder, run_ministack(Path(folder)) as url:
        os.environ.update(environment(url))
        asyncio.run(run(Path(folder), url, arguments))


if __name__ == "__main__":
    main()
