"""The alarm that all places for sessions are taken, raised by the supervisor, which alone hears of every
receiver.

Owns when it is raised and ended. In a flood receivers are full for seconds, again and again, so the alarm
ends only when no receiver was full for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay.alarms.model import Alarm
from relay.vocabulary import AlarmKind

_CALM_SECONDS = 60.0


class FullAlarm:
    """The alarm's state; one in each supervisor."""

    def __init__(self, tell: Callable[[Alarm], None], *, calm_seconds: float = _CALM_SECONDS) -> None:
        self._tell = tell
        self._calm_seconds = calm_seconds
        self._raised = False
        self._ending: asyncio.TimerHandle | None = None

    def see(self, *, full: bool) -> None:
        """Note whether any receiver is full."""
        if full:
            if self._ending is not None:
                self._ending.cancel()
                self._ending = None
            if not self._raised:
                self._raised = True
                detail = "all places for sessions are taken (limits.connections): the idlest make way, and some are sent away"
                self._tell(Alarm(kind=AlarmKind.SESSIONS_FULL, raised=True, detail=detail))
        elif self._raised and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(self._calm_seconds, self._end)

    def close(self) -> None:
        """Cancel an end that is not told yet."""
        if self._ending is not None:
            self._ending.cancel()

    def _end(self) -> None:
        self._raised, self._ending = False, None
        self._tell(
            Alarm(
                kind=AlarmKind.SESSIONS_FULL, raised=False, detail="there are free places for sessions again"
            )
        )
