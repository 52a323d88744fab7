"""Hours of the real daemon under a mix of everything, beside a million finished mails (`make soak`).

SOAK_SECONDS (21,600), SOAK_RATE (mails a second, 21), SOAK_FINISHED (1,000,000) and SOAK_REPORT (a file for
the table) come from the environment.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from harness import Daemon, until
from sandboxes import fast_sandbox
from soak.load import Arrivals, Load
from soak.measures import Sample, fit, percentile, read_metrics, sample
from spool_helpers import fill
from wall_clock import WallClock

from relay.config.load import load_config
from relay.spool.opening import open_intake

SECONDS = float(os.environ.get("SOAK_SECONDS", "21600"))
RATE = float(os.environ.get("SOAK_RATE", "21"))
FINISHED = int(os.environ.get("SOAK_FINISHED", "1000000"))
REPORT = os.environ.get("SOAK_REPORT", "")
#: Caches fill, kept connections open, and each process meets every kind of mail: no growth is judged before.
WARM_UP = min(600.0, SECONDS / 6)
#: The first hour, against which later ones are held; a shorter soak has six parts.
PART = min(3_600.0, (SECONDS - WARM_UP) / 6)
#: A shorter soak shows its figures; it is too short for a slope of 2 MB an hour to stand out.
JUDGED_SECONDS = 6_000.0
MOST_GROWTH = 2.0
EXTRA = """
[tls]
certificate = "{papers.certificate}"
key = "{papers.key}"
[alarms]
every_seconds = 15
[limits]
errors = 1000
"""
FAULTS = (
    {},
    {"connect": {"throttle": 0.2}},
    {},
    {"connect": {"error": 0.1}, "s3": {"error": 0.1}},
    {"connect": {"latency_seconds": 0.3}},
    {},
    {"connect": {"lose_reply": 0.1}, "s3": {"lose_reply": 0.05}},
    {"s3": {"latency_seconds": 0.3}},
)
COMMANDS = (
    ("queue", "list", "--json"),
    ("queue", "summary"),
    ("trace", "<777@life.example>"),
    ("trace", "s7@life.example"),
    ("trace", "nobody@else.example"),
)
#: What somebody sets the clock of the relay's machine to for a minute; that of AWS is right.
STEPS = tuple(timedelta(hours=hours) for hours in (1.1, -1.1, 24, -24, 240, 2_400, -240))
#: Seconds between two steps, and for which each lasts.
CLOCKS, WRONG = min(600.0, SECONDS / 5), min(60.0, SECONDS / 20)
#: Seconds between two of each, and of the time for which somebody holds the log of the database open.
SAMPLES, SCRAPES, LOOKS, RELOADS, WEATHER, ORDERS, HOLDS, HELD = 10.0, 5.0, 2.0, 60.0, 45.0, 30.0, 300.0, 60.0


class Soak:
    """The daemon, its load, and what happens to both by the clock."""

    def __init__(self, home: Path, box, papers) -> None:
        self.box = box
        #: Where there is no compiler, nobody sets the clock.
        self.wall = WallClock(home) if shutil.which("cc") else None
        env = box.environ() | (self.wall.env if self.wall else {})
        self.daemon = Daemon(home, env=env, extra=EXTRA.format(papers=papers), receivers=2)
        text = self.daemon.config_path.read_text().replace('tls = "none"', 'tls = "starttls"')
        self.daemon.config_path.write_text(text)
        self.load = Load(self.daemon.port, rate=RATE)
        self.arrivals = Arrivals(box)
        self.samples: dict[str, list[Sample]] = {}
        self.most: dict[str, float] = {}
        self.commands: list[float] = []
        self.troubles: Counter[str] = Counter()
        self.began = 0.0
        self.steps = 0
        self._stop = threading.Event()
        self._rng = random.Random(14)
        self._errors: list[BaseException] = []

    @property
    def database(self) -> Path:
        return self.daemon.data_dir / "spool" / "spool.db"

    async def prefill(self) -> None:
        """A spool with finished mail that came over the last ten days; retention removes none of it."""
        await open_intake(load_config(str(self.daemon.config_path))).close()
        every = timedelta(days=10) / max(FINISHED, 1)
        fill(self.database, finished=FINISHED, began=datetime.now(UTC) - timedelta(days=10), every=every)

    def run(self) -> None:
        """Let it all go on for the time that was asked for."""
        self.daemon.start()
        self.began = time.monotonic()
        pids = self._pids()
        weather, commands = itertools.cycle(FAULTS), itertools.cycle(COMMANDS)
        steps = itertools.cycle(STEPS)
        works: list[tuple[float, Callable[[], object]]] = [
            (SAMPLES, lambda: self._sample(pids)),
            (SCRAPES, self._scrape),
            (LOOKS, self.arrivals.look),
            (RELOADS, lambda: os.kill(pids["supervisor"], signal.SIGHUP)),
            (WEATHER, lambda: self.box.chaos(next(weather))),
            (ORDERS, lambda: self._command(next(commands))),
            (HOLDS, self._hold_log),
            (CLOCKS, lambda: self._set_clock(next(steps))),
        ]
        threads = [threading.Thread(target=self._repeat, args=work, daemon=True) for work in works]
        self.load.start()
        for thread in threads:
            thread.start()
        while not self._stop.wait(1.0) and not self.load.errors and time.monotonic() < self.began + SECONDS:
            pass
        self._stop.set()
        for thread in threads:
            thread.join(timeout=120)
        assert not self._errors, self._errors
        assert self._pids() == pids, "a process was started anew"

    def settle(self) -> None:
        """Let everything through, then stop."""
        self.box.chaos({})
        self.load.finish()

        def arrived() -> bool:
            self.arrivals.look()
            return self.arrivals.counts.keys() >= self.load.promised

        until(arrived, seconds=300, so="all contacts")
        assert self.daemon.stop() == 0

    def _pids(self) -> dict[str, int]:
        started = {
            event["child"]: event["pid"] for event in self.daemon.events if event["event"] == "child.started"
        }
        assert self.daemon.process
        return {"supervisor": self.daemon.process.pid, **started}

    def _repeat(self, seconds: float, work: Callable[[], object]) -> None:
        while not self._stop.wait(seconds):
            try:
                work()
            except BaseException as exc:  # noqa: BLE001 - told by run()
                self._errors.append(exc)
                self._stop.set()

    def _sample(self, pids: dict[str, int]) -> None:
        at = time.monotonic() - self.began
        for name, pid in pids.items():
            self.samples.setdefault(name, []).append(sample(pid, at=at))
        log = self.database.with_name("spool.db-wal")
        self._note("WAL, MiB", log.stat().st_size / (1 << 20) if log.exists() else 0.0)

    def _scrape(self) -> None:
        """Ask for the metrics, and read the log on: hours of it have no room here."""
        for name, value in read_metrics(self.daemon.ask("metrics")[1]).items():
            self._note(name, value)
        self.troubles.update(line["event"] for line in self.daemon.events if line.get("level") == "error")
        self.daemon.forget()

    def _note(self, name: str, value: float) -> None:
        self.most[name] = max(self.most.get(name, 0.0), value)

    def _command(self, words: tuple[str, ...]) -> None:
        begun = time.monotonic()
        ended = self.daemon.run(*words)
        assert ended.returncode in (0, 1), (words, ended.stderr)  # 1: nothing is known of it
        self.commands.append(time.monotonic() - begun)

    def _hold_log(self) -> None:
        """Read the database, and keep what was read standing for a minute: the log cannot be emptied."""
        connection = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY)
        with connection:
            connection.execute("SELECT count(*) FROM control").fetchall()
            self._stop.wait(HELD)
        connection.close()

    def _set_clock(self, step: timedelta) -> None:
        """Set the wall clock of the relay's machine for a minute: what it signs meanwhile AWS refuses."""
        if self.wall:
            self.wall.set(step)
            self._stop.wait(WRONG)
            self.wall.set(timedelta())
            self.steps += 1

    def parts(self) -> Iterator[tuple[str, list[float]]]:
        """How long each 250 took, by hours after the warm-up."""
        start = self.began + WARM_UP
        for number in itertools.count():
            first = start + number * PART
            waits = [wait for begun, wait in list(self.load.waits) if first <= begun < first + PART]
            if not waits or first + PART > self.began + SECONDS + 1:
                return
            yield f"{(first - self.began) / 3_600:.2f} h", waits

    def warm(self, name: str) -> list[Sample]:
        """The samples of a process after the warm-up."""
        return [each for each in self.samples[name] if each.at >= WARM_UP]

    def table(self) -> str:
        """The figures, for people."""
        passed = time.monotonic() - self.began
        lines = [
            f"{passed:.0f} s, {len(self.load.waits)} mails with 250, {len(self.load.promised)} contacts promised,",
            f"{sum(self.arrivals.counts.values())} came, {self.load.done['sent again']} sent again,",
            f"{len(self.commands)} commands (slowest {max(self.commands, default=0):.1f} s)",
            f"the clock set {self.steps} times, and back",
            f"mix: {dict(self.load.done)}",
            f"errors of the log: {dict(self.troubles)}",
            "",
            "| Process | MiB after warm-up | at the end | MiB/h | +- | files | threads |",
            "|---|---|---|---|---|---|---|",
        ]
        for name in self.samples:
            warm = self.warm(name)
            line = fit([(each.at, each.resident) for each in warm])
            handles, threads = [each.handles for each in warm], [each.threads for each in warm]
            lines.append(
                f"| {name} | {warm[0].resident:.1f} | {warm[-1].resident:.1f} | {line.slope:+.2f} | {line.error:.2f} "
                f"| {min(handles)}-{max(handles)} | {min(threads)}-{max(threads)} |"
            )
        lines += ["", "| From | mails | p50 of 250, ms | p99, ms | worst, ms |", "|---|---|---|---|---|"]
        for name, waits in self.parts():
            figures = [percentile(waits, share) * 1e3 for share in (0.5, 0.99, 1.0)]
            lines.append(f"| {name} | {len(waits)} | " + " | ".join(f"{each:.1f}" for each in figures) + " |")
        lines += [
            "",
            f"most: {json.dumps({name: round(value, 3) for name, value in sorted(self.most.items()) if value})}",
        ]
        return "\n".join(lines)


def check_flat(soak: Soak) -> None:
    """Fail where memory, files, threads or the wait for a 250 grow, by the rule of this campaign."""
    wrong = []
    for name in soak.samples:
        warm = soak.warm(name)
        line = fit([(each.at, each.resident) for each in warm])
        if line.slope >= MOST_GROWTH:
            wrong.append(f"{name} grows by {line.slope:.2f} MiB/h (+- {line.error:.2f})")
        quarter = len(warm) // 4
        for what in ("handles", "threads"):
            first = max(getattr(each, what) for each in warm[:quarter])
            last = min(getattr(each, what) for each in warm[-quarter:])
            if last > first:
                wrong.append(f"{name} has {last} {what} at least, {first} at most before")
    (_, first_waits), *later = soak.parts()
    limit = 1.5 * percentile(first_waits, 0.99)
    wrong += [
        f"p99 of 250 from {name} on is {percentile(waits, 0.99) * 1e3:.1f} ms, {limit * 1e3:.1f} allowed"
        for name, waits in later
        if percentile(waits, 0.99) > limit
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 3_600)
def test_hours_leave_no_trace(tmp_path, papers):
    """Hours of mail, faults, reloads, commands and a log that is held open: nothing is lost, nothing comes
    twice, and nothing grows.
    """
    with fast_sandbox() as box:
        soak = Soak(tmp_path, box, papers)
        asyncio.run(soak.prefill())
        with soak.daemon:
            try:
                soak.run()
                soak.settle()
            finally:
                if soak.samples:
                    print(soak.table())
                    if REPORT:
                        Path(REPORT).write_text(soak.table() + "\n")
    lost = soak.load.promised - soak.arrivals.counts.keys()
    twice = [pair for pair, count in soak.arrivals.counts.items() if count > 1]
    assert (lost, twice, soak.arrivals.failed) == (set(), [], [])
    if SECONDS >= JUDGED_SECONDS:
        check_flat(soak)
