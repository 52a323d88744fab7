"""The vigil over the children: a child that hangs is reported and ended, and systemd hears of it if that
fails.

Owns the rule of a hang. A child whose event loop turns says so several times in `server.hang_seconds`; one
that was silent for longer has hung. Only time in which the supervisor ran is counted, so that no child is
ended after a SIGSTOP of the daemon, a sleep of the machine or a frozen container. Never starts a child: the
supervisor does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from relay import telemetry
from relay.daemon.process import ChildProcess
from relay.daemon.stacks import process_state

#: Seconds that a child may be silent while it starts: it may bring a spool up to date, or take back what a
#: crash left.
START_SECONDS = 300.0
#: Seconds within which a child that was ended is gone and another has begun. If not, the kernel keeps it, and
#: perhaps only a reboot helps.
BACK_SECONDS = 60.0
#: Looks in `server.hang_seconds`, and the longest time between two.
_LOOKS = 10
_LOOK_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Pulse:
    """The silence of one child, in seconds that the supervisor ran."""

    silent_seconds: float = 0.0
    #: Seconds since the child was found to have hung; None while it has not.
    ending_seconds: float | None = None

    def pass_time(self, seconds: float, *, heard: bool, limit: float) -> bool:
        """Count time in which the child was heard or not. Returns True once, when the child has hung."""
        if self.ending_seconds is not None:
            self.ending_seconds += seconds
            return False
        self.silent_seconds = 0.0 if heard else self.silent_seconds + seconds
        if self.silent_seconds <= limit:
            return False
        self.ending_seconds = 0.0
        return True

    @property
    def is_lost(self) -> bool:
        """Returns whether the child was to be ended, and no other has come in its place in time."""
        return self.ending_seconds is not None and self.ending_seconds > BACK_SECONDS


class Vigil:
    """The watch over all children; one in each supervisor."""

    def __init__(
        self,
        *,
        hang_seconds: float,
        patience_seconds: float,
        on_hang: Callable[[str, str], None],
    ) -> None:
        """`on_hang` is called with the name of a child that has hung, and a sentence about it."""
        self._hang_seconds = hang_seconds
        self._patience_seconds = patience_seconds
        self._on_hang = on_hang
        self._watched: dict[str, tuple[ChildProcess, Pulse]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def watch(self, name: str, child: ChildProcess) -> None:
        """Watch a child that was just started, in place of the earlier one of that name."""
        self._watched[name] = child, Pulse()

    def has_hung(self, name: str) -> bool:
        """Returns whether the last child of this name has hung."""
        return name in self._watched and self._watched[name][1].ending_seconds is not None

    def problems(self) -> Iterator[str]:
        """A sentence for each child that has hung and is not back."""
        for name, (_, pulse) in self._watched.items():
            if pulse.ending_seconds is not None:
                yield f"{name} hangs: silent for {pulse.silent_seconds:.0f} s; it is ended and started again"

    @property
    def is_well(self) -> bool:
        """Returns whether every child lives or is being ended; False when one that was ended has not come
        back in time.
        """
        return not any(pulse.is_lost for _, pulse in self._watched.values())

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        pause = min(_LOOK_SECONDS, self._hang_seconds / _LOOKS)
        before = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            # After a longer gap this process did not run, and its children perhaps did not either.
            self._look(min(now - before, 2 * pause))
            before = now

    def _look(self, seconds: float) -> None:
        for name, (child, pulse) in self._watched.items():
            if child.has_ended and pulse.ending_seconds is None:
                continue  # it has ended by itself: the supervisor starts the next one
            limit = self._limit(child)
            if pulse.pass_time(seconds, heard=child.take_sign(), limit=limit):
                ending = asyncio.create_task(self._end(name, child, pulse.silent_seconds))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _limit(self, child: ChildProcess) -> float:
        if child.is_leaving:
            return (
                self._patience_seconds + self._hang_seconds
            )  # `stop` has its own patience, and kills the process before this
        return self._hang_seconds if child.is_ready else max(START_SECONDS, self._hang_seconds)

    async def _end(self, name: str, child: ChildProcess, silent_seconds: float) -> None:
        """Report the hang, have the child write its stacks, and kill it."""
        state = process_state(child.pid)
        telemetry.child_hung(name=name, pid=child.pid, seconds=silent_seconds, state=state)
        self._on_hang(
            name, f"{name} showed no life for {silent_seconds:.0f} seconds; it is ended and started again"
        )
        why = "a stopped process writes no stacks" if state in ("stopped", "traced") else ""
        if not why:
            await child.ask_stacks()
        stacks = child.take_stacks()
        why = why or ("" if stacks else "it wrote none in time")
        telemetry.child_stacks(name=name, pid=child.pid, why=why, stacks=stacks)
        child.kill()
