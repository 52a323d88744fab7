"""The first children of the daemon: forked from the supervisor while it has no thread and no event loop.

Owns the fork, what a child keeps of the supervisor, and the end of such a child. A forked child has imported
already what the supervisor has, and shares its memory: a start costs each of them 0.4 s of processor time
less than by `python -m` (measured). Never starts a child again after a crash: a process with threads cannot
be forked safely, and the new child should share nothing with the one that crashed (`process` starts it).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from relay import telemetry
from relay.daemon.stacks import Stacks

#: The module of each kind of child; its `main` is the child's life.
MODULES = {"receiver": "relay.daemon.receiver", "deliverer": "relay.daemon.deliverer"}
#: Variables of the service manager for the supervisor: a child's message must not count as the daemon's.
MANAGERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
#: Descriptors in one message: SCM_MAX_FD of Linux is 253.
_MOST_AT_ONCE = 200
#: The octets beside the descriptors of the listening sockets, and after the last of them.
_MORE, _ALL = b"+", b"."


class Forked:
    """A child that was forked: what a `ChildProcess` needs of asyncio's Process, and both ends towards it."""

    def __init__(self, pid: int, pidfd: int, end: socket.socket, stacks: Stacks) -> None:
        self.pid = pid
        #: Our end of the line.
        self.end = end
        self.stacks = stacks
        self._pidfd = pidfd
        self._code: int | None = None
        self._ended = asyncio.Event()

    def begin(self, sockets: Sequence[int]) -> None:
        """Give the child its listening sockets, and watch for its end, on the loop that runs."""
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        with suppress(ConnectionError):  # it has ended; `wait` tells how
            give_sockets(self.end, sockets)

    async def abandon(self) -> None:
        """End a child that never got its order: it sees its line close."""
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        self.stacks.abandon()
        self.end.close()
        await self.wait()

    async def wait(self) -> int:
        """Wait until the child ends. Returns its exit code, negative for a signal."""
        await self._ended.wait()
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        """Send the child a signal.

        Raises:
            ProcessLookupError: the child has ended.
        """
        if self._code is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the child.

        Raises:
            ProcessLookupError: the child has ended.
        """
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        self._ended.set()


def fork_children(names: Iterable[str]) -> dict[str, Forked]:
    """Fork a child for each name, before any event loop. In a child this does not return.

    Returns none, or only the first of them, where the kernel has no pidfd_open(2) (before Linux 5.3), no
    memory or no file handle, and none where this process has threads: children that are missing are to be
    started as programs.
    """
    forked: dict[str, Forked] = {}
    if threading.active_count() > 1:
        return forked
    sys.stdout.flush()
    sys.stderr.flush()
    for name in names:
        try:
            forked[name] = _fork(name, forked.values())
        except OSError:
            break
    return forked


def _fork(name: str, siblings: Iterable[Forked]) -> Forked:
    os.close(os.pidfd_open(os.getpid()))  # whether there is one, before there is a child that needs it
    stacks = Stacks()
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        stacks.abandon()
        raise
    try:
        if (pid := os.fork()) == 0:
            for sibling in siblings:  # closed below, and must not be closed again when these are collected
                sibling.end.detach()
            ours.detach()
            _become(name, theirs.detach(), stacks.writing_end)
        return Forked(pid, os.pidfd_open(pid), ours, stacks)
    except OSError:
        ours.close()  # a child sees it, and ends
        stacks.abandon()
        raise
    finally:
        theirs.close()


def _become(name: str, line: int, stacks: int) -> NoReturn:
    """The whole life of a child, and its end, at which nothing of the supervisor's is undone."""
    code = 1
    try:
        _leave_supervisor(name, (line, stacks))
        kind = importlib.import_module(MODULES[name.partition("-")[0]])
        if (sockets := take_sockets(line)) is not None:
            code = kind.main(line, stacks, sockets)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it, at the end of a process
        sys.excepthook(*sys.exc_info())
    finally:
        telemetry.flush_log()
        os._exit(code)


def _leave_supervisor(name: str, kept: Sequence[int]) -> None:
    """Keep nothing open of the supervisor's but the standard streams and these descriptors: a line that a
    sibling holds, too, would never end.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as `run_child` does: a Ctrl-C is for all
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # the name that `top` shows
        Path("/proc/self/comm").write_text(name, encoding="ascii")
    for entry in list(Path("/proc/self/fd").iterdir()):
        if (descriptor := int(entry.name)) > 2 and descriptor not in kept:
            with suppress(OSError):  # the list itself was open, too
                os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for variable in MANAGERS:
        os.environ.pop(variable, None)


def give_sockets(line: socket.socket, sockets: Sequence[int]) -> None:
    """Send a forked child the descriptors of the listening sockets, in this order.

    Raises:
        ConnectionError: the child has ended.
    """
    for at in range(0, len(sockets), _MOST_AT_ONCE):
        socket.send_fds(line, [_MORE], sockets[at : at + _MOST_AT_ONCE])
    line.sendall(_ALL)


def take_sockets(line: int) -> list[int] | None:
    """Wait for the listening sockets. Returns None when the supervisor has ended, or has no work."""
    sockets: list[int] = []
    with socket.socket(fileno=os.dup(line)) as end:
        while True:
            octets, descriptors, _, _ = socket.recv_fds(end, 1, _MOST_AT_ONCE)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # Python 3.11 drops MSG_CMSG_CLOEXEC
            sockets += descriptors
            if octets != _MORE:
                return sockets if octets == _ALL else None
