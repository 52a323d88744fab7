"""The breaker of a scanner that is away: after some failures it is not asked for a while.

Owns the count and the times. Never asks a scanner, never reads a clock: the instant is an argument, in
seconds of a clock that never goes back.
"""

from __future__ import annotations

_FAILURES = 3
_SECONDS = 30.0


class Breaker:
    """The state of one scanner: closed, open until an instant, or half open while one mail probes it."""

    def __init__(self, *, failures: int = _FAILURES, seconds: float = _SECONDS) -> None:
        self._most = failures
        self._seconds = seconds
        self._failures = 0
        self._opens_at = 0.0

    @property
    def is_open(self) -> bool:
        """Returns whether the scanner is away, as far as is known."""
        return self._failures >= self._most

    def allows(self, now: float) -> bool:
        """Returns whether the scanner may be asked at this instant.

        While it is away, one mail in `seconds` may: the probe.
        """
        if self._failures < self._most:
            return True
        if now < self._opens_at:
            return False
        self._opens_at = now + self._seconds
        return True

    def record(self, *, answered: bool, now: float) -> None:
        """Count an answer, or a failure to get one."""
        if answered:
            self._failures = 0
            return
        self._failures = min(self._failures + 1, self._most)
        if self._failures >= self._most:
            self._opens_at = now + self._seconds
