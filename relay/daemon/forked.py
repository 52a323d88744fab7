"""The first children of the daemon: forked from the supervisor while it has no thread and no event loop.

Owns the fork, what a child keeps of the supervisor, and the end of such a child. A forked child has imported
already what the supervisor has, and shares its memory: a start costs each of them 0.4 s of processor time
less than by `python -m` (measured). Never starts a child again after a crash: a process with threads cannot
be forked safely, and the new child should share nothing with the one that crashed (`process` starts it).
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from relay import telemetry
from relay.daemon.stacks import Stacks
from relay.understand.forked import ForkedProcess, can_fork, fork_template, leave_parent

#: The module of each kind of child; its `main` is the child's life.
MODULES = {
    "receiver": "relay.daemon.receiver",
    "deliverer": "relay.daemon.deliverer",
    "web": "relay.daemon.page",
}
#: Variables of the service manager for the supervisor: a child's message must not count as the daemon's.
MANAGERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
#: Descriptors in one message: SCM_MAX_FD of Linux is 253.
_MOST_AT_ONCE = 200
#: The octets beside the descriptors of the listening sockets, and after the last of them.
_MORE, _ALL = b"+", b"."


class Forked:
    """A child that was forked, and our ends towards it."""

    def __init__(self, process: ForkedProcess, end: socket.socket, stacks: Stacks) -> None:
        self.process = process
        #: Our end of the line.
        self.end = end
        self.stacks = stacks

    def begin(self, sockets: Sequence[int]) -> None:
        """Give the child its listening sockets, and watch for its end, on the loop that runs."""
        self.process.watch()
        with suppress(ConnectionError):  # it has ended; `wait` tells how
            give_sockets(self.end, sockets)

    async def abandon(self) -> None:
        """End a child that never got its order: it sees its line close."""
        self.process.watch()
        self.stacks.abandon()
        self.end.close()
        await self.process.wait()


def fork_children(names: Iterable[str]) -> dict[str, Forked]:
    """Fork a child for each name, before any event loop. In a child this does not return.

    Returns none where no fork is possible, and only the first of them where memory or file handles run out:
    children that are missing are to be started as programs.
    """
    forked: dict[str, Forked] = {}
    if not can_fork():
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
        return Forked(ForkedProcess(pid, os.pidfd_open(pid)), ours, stacks)
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
        leave_parent(name, (line, stacks))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        for variable in MANAGERS:
            os.environ.pop(variable, None)
        # Forked before the deliverer's libraries are there, which its workers do without.
        template = fork_template() if name == "deliverer" else None
        module = importlib.import_module(MODULES[name.partition("-")[0]])
        if (sockets := take_sockets(line)) is not None:
            code = module.main(line, stacks, sockets, template)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it, at the end of a process
        sys.excepthook(*sys.exc_info())
    finally:
        telemetry.flush_log()
        os._exit(code)


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
