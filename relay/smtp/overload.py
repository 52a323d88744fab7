"""Overload: the states of process and machine in which no new session is taken for a while.

Owns the look at the event loop's lag, memory, open files and the spool's health. The rule is a function of
values, and the measuring stands beside it. New sessions are taken again as soon as the cause is gone.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from relay import telemetry
from relay.config.model import Limits

#: Descriptors kept for the spool, the log and the mails under way.
_RESERVED_FILES = 64
#: The most descriptors that are asked for: more than one process could serve. Some systems have no other
#: bound.
_MOST_FILES = 1_048_576
#: Available memory (MemAvailable of /proc/meminfo) below which the kernel begins to kill. In force when
#: limits.memory_bytes is 0.
_LEAST_AVAILABLE = 67_108_864
#: The time from a failed write to the probe that may open the gate again, and from one probe to the next.
_SICK_SECONDS = 5.0
_PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The measures of one look at process and machine."""

    lag_seconds: float
    resident_bytes: int
    available_bytes: int
    open_files: int
    most_files: int
    sick: bool


def decide_gate(vitals: Vitals, limits: Limits) -> str | None:
    """The word for the measure that keeps new sessions out. Returns None while none does."""
    if vitals.sick:
        return "spool"
    if vitals.lag_seconds > limits.loop_lag_seconds:
        return "lag"
    if vitals.open_files + _RESERVED_FILES > vitals.most_files:
        return "files"
    if limits.memory_bytes:
        return "memory" if vitals.resident_bytes > limits.memory_bytes else None
    return "memory" if vitals.available_bytes < _LEAST_AVAILABLE else None


class Overload:
    """The state of the gate, which each tick looks at anew."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._is_sick = False
        self._probe_at = 0.0
        self._base_files = (
            len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 32
        )

    def closed(self) -> bool:
        """Returns whether new sessions are sent away."""
        return self._is_sick or self._reason is not None

    def why(self) -> str:
        """The word for the cause that sends new sessions away. Returns "" when there is none."""
        return "spool" if self._is_sick else self._reason or ""

    def sickened(self, *, now: float) -> None:
        """Keep new sessions out, because the spool failed to write, until a probe has come to the disk."""
        self._is_sick = True
        self._probe_at = now + _SICK_SECONDS

    def healed(self) -> None:
        """Take new sessions again: a probe has come to the disk."""
        self._is_sick = False

    def wants_probe(self, *, now: float) -> bool:
        """Returns whether it is time to find out if the spool is well again."""
        return self._is_sick and now >= self._probe_at

    def tick(self, limits: Limits, *, lag: float, files: int) -> None:
        """Measure, and close or open the gate."""
        vitals = Vitals(
            lag_seconds=lag,
            resident_bytes=_resident(),
            available_bytes=_available(),
            open_files=self._base_files + files,
            most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            sick=self._is_sick,
        )
        reason = decide_gate(vitals, limits)
        if reason != self._reason:
            telemetry.gate_moved(closed=reason is not None, reason=reason or self._reason or "")
        self._reason = reason


def raise_file_limit() -> None:
    """Let this process open as many files as it may. Shells and service managers begin at 1,024, for programs
    that use select.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _resident() -> int:
    """The resident memory of this process in octets. Returns 0 where the system does not tell."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _available() -> int:
    """The available memory of the machine in octets. Returns more than any machine has where the system does
    not tell.
    """
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * _PAGE if not Path("/proc/meminfo").exists() else _meminfo()
    except (OSError, ValueError):
        return 1 << 62


def _meminfo() -> int:
    with Path("/proc/meminfo").open("rb") as file:
        for line in file:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) * 1_024
    return 1 << 62
