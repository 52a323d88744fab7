"""The queue between a process's stderr and the sink that takes it: bounded, and emptied by a thread.

Owns the queue, its bound, and the count of lines that found no room. A sink that stalls (a pipe that nobody
reads, a stuck journald, a terminal at Ctrl-S) or fails stops the thread alone: `write` returns at once,
always. Never decides what is said: `relay.telemetry.log` and `relay.telemetry` do.
"""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections.abc import Callable

#: Characters that wait at most: about ten thousand lines, a few seconds of a busy receiver.
ROOM_CHARACTERS = 4 << 20
#: Seconds from the first text that is queued to its write, which takes along all that comes meanwhile. Each
#: waking of the thread costs the event loop some 100 µs, and a busy one has lines a thousand times a second.
_GATHER_SECONDS = 0.01
#: Milliseconds of one wait for a full descriptor that was opened as non-blocking.
_FULL_MILLISECONDS = 1_000


class QueuedStream(io.TextIOBase):
    """A text stream for sys.stderr whose writes never wait for the descriptor."""

    def __init__(
        self,
        descriptor: int,
        *,
        count: Callable[[int], object],
        tell: Callable[[int], object],
        room: int = ROOM_CHARACTERS,
    ) -> None:
        """A stream into `descriptor`. `count` is called at once with each number of lines lost, `tell` with
        their sum once the sink takes lines again.
        """
        self._descriptor = descriptor
        self._count = count
        self._tell = tell
        self._room = room
        self._waiting: list[str] = []
        #: Characters that wait or are being written.
        self._size = 0
        #: Lines lost that `tell` was not called with yet.
        self._untold = 0
        self._asleep = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute of the base, which cannot be set
        """The encoding UTF-8."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # see above
        """The error handler, which writes lone surrogates as escapes."""
        return "backslashreplace"

    def writable(self) -> bool:
        """Returns True."""
        return True

    def fileno(self) -> int:
        """The sink's descriptor, for libraries that need one."""
        return self._descriptor

    def isatty(self) -> bool:
        """Returns whether the sink is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Queue the text. Where there is no room the text is dropped and its lines are counted."""
        if not isinstance(text, str):
            raise TypeError(f"text is str, not {type(text).__name__}")  # click asks so for a text stream
        with self._changed:
            # A single text is taken even when it is longer than the room: a traceback of a thousand frames.
            if fits := not self._waiting or self._size + len(text) <= self._room:
                self._waiting.append(text)
                self._size += len(text)
                if self._asleep:
                    self._changed.notify_all()
            else:
                lines = self._lose(text)
        if not fits:
            self._count(lines)
        return len(text)

    def drain(self, seconds: float) -> bool:
        """Wait, at most `seconds`, until the sink has taken everything that waits. Returns whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._size and self._asleep, timeout=seconds)

    def _run(self) -> None:
        while True:
            text = self._take()
            taken = _write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            lost = untold = 0
            with self._changed:
                self._size -= len(text)
                if taken:
                    untold, self._untold = self._untold, 0
                else:
                    lost = self._lose(text)
            # Called only after a success: the line that reports the loss goes to the same sink.
            if untold:
                self._tell(untold)
            if lost:
                self._count(lost)

    def _take(self) -> str:
        """Wait until text is queued, and a moment more. Returns all of it."""
        with self._changed:
            while not self._waiting:
                self._asleep = True
                self._changed.notify_all()
                self._changed.wait()
            self._asleep = False
        time.sleep(_GATHER_SECONDS)
        with self._changed:
            waiting, self._waiting = self._waiting, []
        return "".join(waiting)

    def _lose(self, text: str) -> int:
        lines = max(text.count("\n"), 1)
        self._untold += lines
        return lines


def _write(descriptor: int, octets: bytes) -> bool:
    """Write all octets, however long that takes. Returns whether the sink took them."""
    left = memoryview(octets)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(_FULL_MILLISECONDS)
        except OSError:  # the reader is gone, or its disk is full
            return False
    return True
