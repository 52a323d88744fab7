"""The wall clock, and how far it was set.

Owns the difference between a clock that people and NTP set and one that nobody can. Never reads either: what they
show are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta

#: A clock that is off by less is slewed, not set (chrony and ntpd step by default from 0.1 to 1 s on); what waits
#: for an instant waits for a moment longer then, and nobody is the worse for it.
_LEAST = timedelta(seconds=2)


class ClockSteps:
    """What the wall clock was set by, from one look to the next."""

    def __init__(self) -> None:
        self._offset: timedelta | None = None

    def see(self, *, wall: datetime, steady: float) -> timedelta:
        """How far it was set since the last look, back when negative; `steady` is in seconds and only goes forward."""
        offset = wall - datetime.fromtimestamp(0, wall.tzinfo) - timedelta(seconds=steady)
        step = timedelta() if self._offset is None else offset - self._offset
        self._offset = offset
        return step if abs(step) >= _LEAST else timedelta()
