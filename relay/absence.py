"""The absence of an outside service: nobody waits for it meanwhile, and a probe at intervals ends it.

    absence = Absence(probe, every_seconds=5.0, moved=telemetry.dns_moved)
    if not absence.is_away: ...        # ask the service
    absence.suspect("it was silent")   # after a failure: away, unless it answers the probe
    absence.note_answer()              # after any answer: there again

Owns the state of one service as one process sees it, and the task that asks it again. Never decides what the
absence means for a mail. Belongs to the event loop that uses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from relay import telemetry


def pass_over(_why: str) -> None:
    """The callback where nobody wants to hear of it."""


class Absence:
    """The state of one service: there, suspected, or away until it answers."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[bool]],
        *,
        every_seconds: float,
        moved: Callable[[str], None] = pass_over,
    ) -> None:
        """`probe` asks the service once, within a limit of its own, and returns whether it answered. `moved`
        is told why the service is away, and "" when it is there again.
        """
        self._probe = probe
        self._every_seconds = every_seconds
        self._moved = moved
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False
        #: The reason why the service is away; "" while it is not, as far as is known.
        self.why = ""

    @property
    def is_away(self) -> bool:
        """Returns whether the service is away."""
        return bool(self.why)

    def suspect(self, why: str) -> None:
        """Probe the service now; it is away if the probe fails, too. Does not wait."""
        self._watch(why)

    def begin(self, why: str) -> None:
        """Have the service away from now on, until a later probe is answered."""
        self._leave(why)
        self._watch(why)

    def note_answer(self) -> None:
        """Note an answer of the service, whoever got it: it is there."""
        if self._watching is None:
            return
        watching, self._watching = self._watching, None
        watching.cancel()
        if self.why:
            self.why = ""
            self._moved("")

    def close(self) -> None:
        """End the probes for good. Who still uses the service asks it each time: nothing would end an
        absence.
        """
        self._is_closed = True
        self.why = ""
        if self._watching is not None:
            self._watching.cancel()

    def _watch(self, why: str) -> None:
        if self._watching is None and not self._is_closed:
            self._watching = asyncio.create_task(self._probe_until_answered(why), name="absence")

    async def _probe_until_answered(self, why: str) -> None:
        while True:
            if self.is_away:
                await asyncio.sleep(self._every_seconds)
            if await self._ask():
                self.note_answer()
                return
            self._leave(why)

    async def _ask(self) -> bool:
        try:
            return await self._probe()
        except Exception:  # noqa: BLE001 - a fault of ours is told, and must not end the probes
            telemetry.fault_caught(where="absence")
            return False

    def _leave(self, why: str) -> None:
        if not self.why and not self._is_closed:
            self.why = why
            self._moved(why)
