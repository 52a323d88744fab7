"""A wall clock that a test sets, for the programs that it starts: the real ones, at the C library's edge."""

from __future__ import annotations

import mmap
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path


class WallClock:
    """The wall clock of a machine whose steady clocks go on; programs see it by `env`."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "wall_clock.so", folder / "wall_clock"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True, timeout=60
        )
        self._file.write_bytes(bytes(8))
        with self._file.open("r+b") as file:
            self._step = mmap.mmap(file.fileno(), 8)
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(self._file)}
        self.set(timedelta())

    def set(self, step: timedelta) -> None:
        """Set it so far ahead of the machine's own; negative: back."""
        self._step[:8] = (step // timedelta(microseconds=1) * 1_000).to_bytes(8, "little", signed=True)
        self.step = step

    def now(self) -> datetime:
        """What it shows."""
        return datetime.now(UTC) + self.step
