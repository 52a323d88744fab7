"""Processes that were forked before their parent had a thread or an event loop; the first template is one.

Owns the fork of that template, what a forked process leaves behind, and how its end is awaited. Never starts
a template again: `process` does, as a program. The fork saves 0.2 s of processor time at each start of the
deliverer (measured), because most modules are there already.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


class ForkedProcess:
    """A child of this process: what others need of asyncio's Process."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._code: int | None = None
        self._ended = asyncio.Event()

    def watch(self) -> None:
        """Watch for the end of the process, on the loop that runs."""
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    async def wait(self) -> int:
        """Wait until the process ends. Returns its exit code, negative for a signal."""
        await self._ended.wait()
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        """Send the process a signal.

        Raises:
            ProcessLookupError: it has ended.
        """
        if self._code is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process.

        Raises:
            ProcessLookupError: it has ended.
        """
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        self._ended.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkedTemplate:
    """A template that was forked, and our end of its line."""

    process: ForkedProcess
    line: socket.socket


def can_fork() -> bool:
    """Returns whether a fork is safe here and its end can be awaited: this process has one thread, and the
    kernel has pidfd_open(2), as Linux has from 5.3 on.
    """
    if threading.active_count() > 1:
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def leave_parent(name: str, kept: Sequence[int]) -> None:
    """Take a name for `top`, ignore the signals that are the supervisor's to handle, and keep nothing open of
    the parent's but the standard streams and these descriptors: a line that another process holds, too, would
    never end.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
    for entry in list(Path("/proc/self/fd").iterdir()):
        if (descriptor := int(entry.name)) > 2 and descriptor not in kept:
            with suppress(OSError):  # the list itself was open, too
                os.close(descriptor)


def fork_template() -> ForkedTemplate | None:
    """Fork the first template of this process, before any event loop. In the template this does not return.

    Returns None where no fork is possible: the template is then to be started as a program.
    """
    if not can_fork():
        return None
    parent = os.getpid()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        return None
    try:
        if (pid := os.fork()) == 0:
            ours.detach()  # closed below, and must not be closed again
            _become_template(theirs.detach(), parent)
        pidfd = os.pidfd_open(pid)
    except OSError:  # the template, if there is one, sees its line close
        ours.close()
        return None
    finally:
        theirs.close()
    ours.setblocking(False)
    return ForkedTemplate(process=ForkedProcess(pid, pidfd), line=ours)


def _become_template(line: int, parent: int) -> NoReturn:
    try:
        leave_parent("understand", (line,))
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)  # as for a template that is a program
        os.close(nothing)
        jobs = importlib.import_module("relay.understand.jobs")
        importlib.import_module("relay.understand.template").run_template(jobs.JOBS, line=line, parent=parent)
    finally:
        os._exit(1)
