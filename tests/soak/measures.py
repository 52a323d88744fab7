"""What a soak measures: the processes of the daemon over time, how long a 250 took, and the lines through
both.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resources import footprint_of

_SAMPLE = re.compile(r"^(relay_[a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A process at one moment: MiB of resident memory, open files, threads."""

    at: float
    resident: float
    handles: int
    threads: int


def sample(pid: int, *, at: float) -> Sample:
    """A living process of this machine."""
    seen = footprint_of(pid)
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Sample(at=at, resident=seen.resident / (1 << 20), handles=seen.handles, threads=threads)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through samples by least squares: its slope an hour, and the standard error of that."""

    slope: float
    error: float


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line through (seconds, value)."""
    hours = [at / 3_600 for at, _ in points]
    values = [value for _, value in points]
    slope, base = statistics.linear_regression(hours, values)
    middle = statistics.fmean(hours)
    spread = sum((hour - middle) ** 2 for hour in hours)
    rest = sum((value - base - slope * hour) ** 2 for hour, value in zip(hours, values, strict=True))
    return Line(slope=slope, error=(rest / max(len(points) - 2, 1) / spread) ** 0.5)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def read_metrics(text: str) -> dict[str, float]:
    """The largest sample of each metric of ours in an exposition, over all processes and labels."""
    found: dict[str, float] = {}
    for name, _, value in _SAMPLE.findall(text):
        found[name] = max(found.get(name, 0.0), float(value))
    return found
