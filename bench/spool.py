"""How fast the spool accepts mail: group commit beside one file a message, in the same run.

    python -m bench.spool [--seconds 2] [--rounds 3] [--size 2000] [--dir DIR] [--entries 100000]
        [--finished 0 1000 10000 100000] [--json]

Prints messages a second and the 99th percentile of `put` for 1, 10, 50 and 200 waiters, medians of
interleaved
rounds; then what 100,000 waiting entries cost: opening, claiming, listing. Read ratios: machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from spool_helpers import NOW, SHOWN, build_config, build_destination, build_submission, fill

from relay.cli.progress import tracked
from relay.envelope import SpoolId
from relay.spool.model import Filter, State, Submission
from relay.spool.opening import open_desk, open_intake, open_outbox

WAITERS = (1, 10, 50, 200)
_THREADS = 16  # the best of those tried for one file a message


def build_mail(spool_id: SpoolId, number: int, size: int, route: str = "support") -> Submission:
    """One like every other, but for its number."""
    return build_submission(
        spool_id,
        trace=b"Received: by bench.test\r\n",
        body=(b"Message-ID: <%d@bench>\r\n\r\n" % number).ljust(size, b"x"),
        message_id=f"<{number}@bench>",
        destinations=(build_destination(f"{route}@example.com", route),),
    )


class Files:
    """The rival: a temporary file, fsync, rename, fsync of the folder, in threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.pool = ThreadPoolExecutor(_THREADS)

    def write(self, name: str, octets: bytes) -> None:
        temporary = self.folder / f".{name}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, octets)
        os.fsync(handle)
        os.close(handle)
        temporary.rename(self.folder / name)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    async def put(self, submission: Submission) -> None:
        assert isinstance(submission.raw, bytes)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.pool, self.write, submission.spool_id, submission.raw)


async def drive(
    put: Callable[[Submission], Awaitable[object]],
    new_id: Callable[[], SpoolId],
    *,
    waiters: int,
    seconds: float,
    size: int,
) -> tuple[float, float, float]:
    """Messages a second, p99 in milliseconds, CPU in microseconds a message."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    number = 0

    async def wait() -> None:
        nonlocal number
        while time.perf_counter() < end:
            number += 1
            submission = build_mail(new_id(), number, size)
            begun = time.perf_counter()
            await put(submission)
            times.append(time.perf_counter() - begun)

    used = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    await asyncio.gather(*(wait() for _ in range(waiters)))
    elapsed = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    times.sort()
    return len(times) / elapsed, times[int(len(times) * 0.99)] * 1e3, cpu / len(times) * 1e6


async def compare(home: Path, *, rounds: int, seconds: float, size: int) -> dict[str, dict[int, list[float]]]:
    """For each way and number of waiters: the medians of rate, p99 and CPU."""
    seen: dict[str, dict[int, list[tuple[float, float, float]]]] = {
        way: {waiters: [] for waiters in WAITERS} for way in ("spool", "files")
    }
    for turn in tracked("bench.spool", range(rounds), is_silent=True):
        for waiters in WAITERS:
            for way in ("spool", "files"):
                folder = home / f"{way}-{turn}-{waiters}"
                intake = open_intake(build_config(folder / "data"))
                put = intake.put if way == "spool" else Files(folder / "files").put
                figures = await drive(put, intake.new_id, waiters=waiters, seconds=seconds, size=size)
                seen[way][waiters].append(figures)
                await intake.close()
                shutil.rmtree(folder)
    return {
        way: {
            waiters: [statistics.median(column) for column in zip(*figures, strict=True)]
            for waiters, figures in of_way.items()
        }
        for way, of_way in seen.items()
    }


async def measure_backlog(home: Path, entries: int) -> dict[str, float]:
    """Milliseconds, with so many entries waiting on ten routes."""
    config = build_config(home / "backlog")
    intake = open_intake(config)
    step = 2_000
    for start in range(0, entries, step):
        await asyncio.gather(
            *(
                intake.put(build_mail(intake.new_id(), number, 400, route=f"route-{number % 10}"))
                for number in range(start, min(start + step, entries))
            )
        )
    await intake.close()
    figures: dict[str, float] = {}

    async def clock(name: str, work: Callable[[], object]) -> object:
        begun = time.perf_counter()
        answer = work()
        if asyncio.iscoroutine(answer):
            answer = await answer
        figures[name] = (time.perf_counter() - begun) * 1e3
        return answer

    begun = time.perf_counter()
    outbox = open_outbox(config)
    await outbox.recover(now=NOW)
    intake = open_intake(config)
    await intake.put(build_mail(intake.new_id(), entries + 1, 400))
    figures["start to first put"] = (time.perf_counter() - begun) * 1e3
    claimed = await clock("claim 8", lambda: outbox.claim(now=NOW, limit=8, lease_seconds=60))
    await clock("next due", outbox.next_due_at)
    await clock("finish 1", lambda: outbox.finish(claimed[0], contact_id="c", shown=SHOWN, now=NOW))  # type: ignore[index]
    desk = open_desk(config)
    await clock("list 1,000", lambda: desk.select(Filter()))
    await clock("list 100,000", lambda: desk.select(Filter(limit=100_000)))
    await clock("list by sender (none)", lambda: desk.select(Filter(sender="nobody@else")))
    await clock("counts", desk.counts)
    await clock("backlog", lambda: desk.backlog(limits=(), now=NOW))
    await clock("trace a Message-ID", lambda: desk.trace("<777@bench>"))
    await clock("trace an unknown address", lambda: desk.trace("nobody@else.example"))
    desk.close()
    await intake.close()
    await outbox.close()
    return figures


async def measure_finished(home: Path, finished: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each question and change beside so many finished mails, on the wall and of
    processor time.
    """
    config = build_config(home / f"finished-{finished}")
    await open_intake(config).close()
    fill(config.data_dir / "spool" / "spool.db", finished=finished, began=NOW - timedelta(days=5))
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)
    await outbox.recover(now=NOW)
    # A first sweep makes the reserve, and the disk has to write what was filled in.
    await outbox.expire(now=NOW)
    await asyncio.to_thread(os.sync)
    figures: dict[str, list[tuple[float, float]]] = {}

    async def clock(name: str, work: Callable[[], object]) -> Any:
        begun, used = time.perf_counter(), time.process_time()
        answer = work()
        if asyncio.iscoroutine(answer):
            answer = await answer
        spent = ((time.perf_counter() - begun) * 1e3, (time.process_time() - used) * 1e3)
        figures.setdefault(name, []).append(spent)
        return answer

    for number in range(200):
        mail = build_mail(intake.new_id(), number, 2_000)
        await clock("put", lambda mail=mail: intake.put(mail))
    for _ in range(25):
        for entry in await clock("claim 8", lambda: outbox.claim(now=NOW, limit=8, lease_seconds=60)):
            await clock("finish", lambda e=entry: outbox.finish(e, contact_id="c", shown=SHOWN, now=NOW))
    words = ("<7@bench>", "<777@life.example>", "c77", "support@else.example", "s7@life.example")
    for _ in range(5):
        await clock("list", lambda: desk.select(Filter(states=(State.QUEUED, State.HELD))))
        for word in words:
            await clock(f"trace {word}", lambda word=word: desk.trace(word))
        await clock("sweep, nothing due", lambda: outbox.expire(now=NOW))
        await clock("look", lambda: (desk.counts(), desk.aside(), desk.oldest_at(), desk.bulk()))
    desk.close()
    await intake.close()
    await outbox.close()
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.median(used for _, used in times))
        for name, times in figures.items()
    }


def show_finished(columns: dict[int, dict[str, tuple[float, float]]]) -> None:
    for place, what in enumerate(("on the wall", "of processor time")):
        print(f"\nbeside finished mails, median ms {what}:")
        print(" " * 32 + "".join(f"{count:>12,}" for count in columns))
        for name in next(iter(columns.values())):
            print(f"  {name:<30}" + "".join(f"{each[name][place]:>12.2f}" for each in columns.values()))


def show(figures: dict[str, dict[int, list[float]]], backlog: dict[str, float], entries: int) -> None:
    if figures:
        head = ("waiters", "spool/s", "p99 ms", "CPU us", "files/s", "p99 ms", "CPU us", "ratio")
        print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for waiters in WAITERS if figures else ():
        ours, theirs = figures["spool"][waiters], figures["files"][waiters]
        cells = [f"{rate:,.0f} | {p99:.2f} | {cpu:.0f}" for rate, p99, cpu in (ours, theirs)]
        print(f"| {waiters} | {' | '.join(cells)} | {ours[0] / theirs[0]:.1f} |")
    if backlog:
        print(f"\nwith {entries:,} entries waiting, ms:")
        for name, milliseconds in backlog.items():
            print(f"  {name:<26}{milliseconds:>9.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=2_000)
    parser.add_argument("--dir", type=Path, default=None, help="where to write; a real disk, not a tmpfs")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--finished", type=int, nargs="*", default=[0, 1_000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bench-spool-", dir=arguments.dir))
    try:
        figures = asyncio.run(
            compare(home, rounds=arguments.rounds, seconds=arguments.seconds, size=arguments.size)
        )
        backlog = asyncio.run(measure_backlog(home, arguments.entries)) if arguments.entries else {}
        finished = {count: asyncio.run(measure_finished(home, count)) for count in arguments.finished}
    finally:
        shutil.rmtree(home)
    if arguments.json:
        print(json.dumps({"put": figures, "backlog_ms": backlog, "finished_ms": finished}))
    else:
        show(figures if arguments.rounds else {}, backlog, arguments.entries)
        show_finished(finished)
    return 0


if __name__ == "__main__":
    sys.exit(main())
