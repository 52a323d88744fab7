"""The silence of a fleet: for how long no node has shown that it delivers.

Owns how it is measured: by the record of the leader, which each renewal changes, on the steady clock of
whoever looks. Never does I/O.
"""

from __future__ import annotations

#: Leases after which a silence is told as an alarm: a take-over takes one, a start of a node some seconds.
ALARM_LEASES = 5.0
_SECOND = 1_000_000


class Silence:
    """The silence as one process observes it."""

    def __init__(self) -> None:
        self._record: tuple[int, int] | None = None
        self._since: int | None = None

    def see(self, record: tuple[int, int] | None, *, at: int) -> float:
        """Note the leader's record, its epoch and its version, None for none, at that instant of the steady
        clock. Returns the seconds for which it has been the same.
        """
        if self._since is None or record != self._record:
            self._record, self._since = record, at
        return (at - self._since) / _SECOND


def tell_silence(seconds: float, *, lease_seconds: float) -> str:
    """The sentence about a silence that is too long. Returns "" for another."""
    if seconds <= ALARM_LEASES * lease_seconds:
        return ""
    return f"no node of the fleet has delivered for {seconds:.0f} seconds; see relay fleet status"
