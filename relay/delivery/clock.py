"""Steps of the wall clock: by how much somebody has set it.

Owns the difference between the wall clock, which people and NTP set, and a steady clock, which nobody can
set. Never reads either: their values are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta

#: A smaller difference is slewed, not stepped (chrony and ntpd step from 0.1 to 1 s on by default). Entries
#: that wait for an instant then wait a moment longer, which does no harm.
_LEAST = timedelta(seconds=2)


class ClockSteps:
    """The memory of the last look at both clocks, from which a step is told."""

    def __init__(self) -> None:
        self._offset: timedelta | None = None

    def see(self, *, wall: datetime, steady: float) -> timedelta:
        """Returns by how much the wall clock was set since the last look, negative when back.

        `steady` is in seconds.
        """
        offset = wall - datetime.fromtimestamp(0, wall.tzinfo) - timedelta(seconds=steady)
        step = timedelta() if self._offset is None else offset - self._offset
        self._offset = offset
        return step if abs(step) >= _LEAST else timedelta()
