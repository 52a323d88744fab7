"""The stacks of a child's threads, written by faulthandler into a pipe to the supervisor.

Owns the signal that asks for the stacks, and both ends of the pipe. faulthandler writes from the handler
itself, in C, so a thread that keeps the interpreter's lock for ever is shown, too. A stopped process handles
no signal.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from relay.timing import is_set_within

_SIGNAL = signal.SIGUSR2
#: Most octets that are read: faulthandler writes at most 100 frames of 100 threads.
_MOST_BYTES = 262_144
#: Seconds to wait for a process that has not begun to write, and for one that has.
_FIRST_SECONDS = 2.0
_NEXT_SECONDS = 0.2
#: Letters of /proc/<pid>/stat: proc_pid_stat(5).
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk sleep",
    "T": "stopped",
    "t": "traced",
    "Z": "ended",
    "X": "ended",
}


def write_stacks_to(descriptor: int) -> None:
    """Have the stacks of this process written to the descriptor at a crash, and at each signal that asks."""
    faulthandler.enable(descriptor)
    faulthandler.register(_SIGNAL, descriptor, all_threads=True)


def process_state(pid: int) -> str:
    """The state of a process in a word, "stopped" after SIGSTOP; "" where the system does not tell."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return _STATES.get(stat.rpartition(")")[2].split()[0], "")
    return ""


class Stacks:
    """The supervisor's end of the pipe."""

    SIGNAL: Final = _SIGNAL

    def __init__(self) -> None:
        self._reading_end, self.writing_end = os.pipe()
        os.set_blocking(self._reading_end, False)
        self._octets = bytearray()
        self._more = asyncio.Event()
        self._closed = False

    def begin(self) -> None:
        """Leave the writing end to the child, and read what it writes."""
        os.close(self.writing_end)
        asyncio.get_running_loop().add_reader(self._reading_end, self._read)

    def abandon(self) -> None:
        """Close both ends, because the child could not be started."""
        os.close(self.writing_end)
        os.close(self._reading_end)
        self._closed = True

    def _read(self) -> None:
        octets = os.read(self._reading_end, 65_536)
        if not octets:
            asyncio.get_running_loop().remove_reader(self._reading_end)
        self._octets += octets[: _MOST_BYTES - len(self._octets)]
        self._more.set()

    async def settle(self) -> None:
        """Wait until something was written, and then until no more comes."""
        patience = _FIRST_SECONDS
        self._more.clear()
        while await is_set_within(self._more, patience):
            self._more.clear()
            patience = _NEXT_SECONDS

    def take(self) -> Sequence[str]:
        """The lines that have come since the last call."""
        if not self._closed:
            with suppress(BlockingIOError):
                self._octets += os.read(self._reading_end, _MOST_BYTES)
        lines = self._octets.decode("utf-8", "replace").splitlines()
        self._octets.clear()
        return lines

    def close(self) -> None:
        """Close the pipe."""
        self._closed = True
        asyncio.get_running_loop().remove_reader(self._reading_end)
        os.close(self._reading_end)
