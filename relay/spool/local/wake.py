"""The doorbell between the two halves: "something is due", without saying what.

Owns a Unix datagram socket at `<data_dir>/wake`. A ring never waits and never fails; one that is lost delays
mail until the deliverer's next poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.spool.local.layout import Layout

#: sun_path of unix(7) holds 108 octets, the final NUL among them.
_PATH_LIMIT = 107


@contextlib.contextmanager
def _address(data_dir: Path) -> Iterator[str]:
    """A path to the socket that is short enough for the system call, however long the folder's own is."""
    wake = Layout(data_dir=data_dir).wake
    path = str(wake)
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield path
        return
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{wake.name}"
    finally:
        os.close(folder)


def ring(data_dir: Path) -> None:
    """Wake the deliverer, if one listens; never blocks, never raises."""
    with contextlib.suppress(OSError), _knocker() as knocker, _address(data_dir) as address:
        knocker.sendto(b"\0", address)


def is_listening(data_dir: Path) -> bool:
    """Connect to the socket without ringing. Returns whether a deliverer listens on it."""
    try:
        with _knocker() as knocker, _address(data_dir) as address:
            knocker.connect(address)
    except OSError:
        return False
    return True


def _knocker() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


class Ringer:
    """A socket for ringing repeatedly with one system call each time; used from one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._open = contextlib.ExitStack()
        self._knocker: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._address = self._open.enter_context(_address(data_dir))
            self._knocker = self._open.enter_context(_knocker())

    def ring(self) -> None:
        """Wake the deliverer, if one listens; never blocks, never raises."""
        if self._knocker is not None:
            with contextlib.suppress(OSError):
                self._knocker.sendto(b"\0", self._address)

    def close(self) -> None:
        """Let the socket go; harmless when called twice."""
        self._knocker = None
        self._open.close()


class Bell:
    """The deliverer's end: hears rings, on the running event loop, until it is closed.

    Only one deliverer runs at a time. If no socket can be made, the deliverer polls: each wait ends with its
    time-out.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = Layout(data_dir=data_dir).wake
        self._rung = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket = self._listen()

    def _listen(self) -> socket.socket | None:
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with _address(self._data_dir) as address:
                # A socket that is here already was left by a deliverer that died: we hold deliver.lock.
                with contextlib.suppress(FileNotFoundError):
                    self._path.unlink()
                bell.bind(address)
            self._path.chmod(0o600)
            self._loop.add_reader(bell.fileno(), self._hear)
        except (OSError, NotImplementedError):
            bell.close()
            return None
        return bell

    def _hear(self) -> None:
        """Read all rings that have come, and remember them as one."""
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(16):
                pass
        self._rung.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Return when rung, at once if rung since the last wait, or after the time-out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        self._rung.clear()

    def close(self) -> None:
        """Stop listening; harmless when called twice."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
