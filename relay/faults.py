"""The fault points: named steps at which a test may end the process or fail a system call.

Owns *fault point*. Inert, and one comparison long, unless the environment variable RELAY_FAULT_POINT names
the step when the process starts. Never does anything else; docs/spool.md, "Fault points" lists the names.

    RELAY_FAULT_POINT=name             SIGKILL at the first pass
    RELAY_FAULT_POINT=name:3           SIGKILL at the third pass
    RELAY_FAULT_POINT=name:spin        a C call that never ends and keeps the interpreter's lock; name:spin:3
    RELAY_FAULT_POINT=name:stop        SIGSTOP; name:stop:3
    RELAY_FAULT_POINT=name:eio         OSError(EIO) at every pass; name:eio:3 only at the third
    RELAY_FAULT_POINT=name:enospc      OSError(ENOSPC); also erofs, edquot, emfile and enomem
    RELAY_FAULT_POINT=name:raise       an exception that no code expects
    RELAY_FAULT_POINT=name:segv        SIGSEGV; name:allocate takes memory without end
    RELAY_FAULT_POINT=name:spin:0:@word  at every pass that is about octets with this word in them
"""

from __future__ import annotations

import errno
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

VARIABLE = "RELAY_FAULT_POINT"

_ERRORS = {
    "eio": errno.EIO, "enospc": errno.ENOSPC, "edquot": errno.EDQUOT, "erofs": errno.EROFS,
    "emfile": errno.EMFILE, "enomem": errno.ENOMEM,
    "raise": 0,
}  # fmt: skip


class UnexpectedError(Exception):
    """An exception that no code expects, as a bug raises it."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _spin() -> None:
    deque(repeat(None), maxlen=0)  # a loop in C: no other thread and no signal handler runs beside it


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _allocate() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 24))


_DEEDS: dict[str, Callable[[], None]] = {"spin": _spin, "stop": _stop, "segv": _crash, "allocate": _allocate}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault that waits for its step."""

    name: str
    #: The errno to raise, 0 for an `UnexpectedError`; None where `deed` is done instead.
    error: int | None
    #: The call that is made at the step.
    deed: Callable[[], None] = _kill
    #: The number of the pass at which the fault strikes; 0 is every pass.
    nth: int
    #: Octets that a pass must be about in order to count.
    word: bytes = b""
    passes: int = 0

    def pass_by(self, about: bytes) -> None:
        """Count one pass, and strike when it is the chosen one."""
        if self.word not in about:
            return
        self.passes += 1
        if self.nth not in (0, self.passes):
            return
        if self.error is None:
            self.deed()
        elif self.error == 0:
            raise UnexpectedError(f"fault point {self.name}")
        else:
            raise OSError(self.error, os.strerror(self.error), f"fault point {self.name}")


def parse_fault(text: str) -> Fault | None:
    """The fault that a specification asks for; None for the empty one.

    Raises:
        ValueError: it is no specification.
    """
    if not text:
        return None
    name, *words = text.split(":")
    word = words.pop()[1:].encode() if words and words[-1].startswith("@") else b""
    error: int | None = None
    deed: Callable[[], None] = _kill
    if words and words[0] in _ERRORS:
        error = _ERRORS[words.pop(0)]
    elif words and words[0] in _DEEDS:
        deed = _DEEDS[words.pop(0)]
    nth = 0 if error is not None else 1
    if words and words[0].isdigit() and len(words) == 1:
        nth = int(words.pop())
    if words or not name:
        raise ValueError(
            f'{VARIABLE} = "{text}": write it like "name", "name:3", "name:eio", "name:eio:3" or "name:raise"'
        )
    return Fault(name=name, error=error, deed=deed, nth=nth, word=word)


_armed: Fault | None = parse_fault(os.environ.get(VARIABLE, ""))


def arm_fault(text: str) -> None:
    """Replace the fault of this process, for tests within one process. The empty text disarms it."""
    global _armed  # noqa: PLW0603 - one fault a process, as the environment has one variable
    _armed = parse_fault(text)


def fault_point(name: str, about: bytes | memoryview = b"") -> None:
    """Pass a named step, which was about these octets. The call does nothing unless a fault is armed for the
    name.
    """
    if _armed is not None and _armed.name == name:
        _armed.pass_by(bytes(about))
