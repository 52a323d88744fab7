"""The real daemon as a process of the sandbox: started, awaited, told to stop.

Owns that process. The daemon reports that it is up as it does to systemd (sd_notify(3)): by READY=1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from relay.daemon.systemd import LISTENING
from relay.errors import RelayError

#: Longer than the daemon's drain time with its grace, so that the daemon decides how it ends.
STOP_SECONDS = 60.0


class DaemonError(RelayError):
    """The daemon did not come up, or ended by itself; its own words are on its stderr."""


class Daemon:
    """A `relay serve` that runs; opened by `open_daemon`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        #: The addresses where it takes mail, with the ports that it was given where it asked for any.
        self.binds: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until it has ended. Returns its exit code."""
        return await self._process.wait()

    @property
    def has_ended(self) -> bool:
        """Returns whether the supervisor has ended."""
        return self._process.returncode is not None

    async def kill(self) -> None:
        """Kill all its processes at once (SIGKILL), as when its host dies."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # `open_daemon` made the group
        await self._process.wait()

    async def stop(self) -> int:
        """Tell it to stop, and wait. Returns its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()


@asynccontextmanager
async def open_daemon(
    config_path: Path, environ: Mapping[str, str], *, stderr: int | None = None, start_seconds: float = 60.0
) -> AsyncIterator[Daemon]:
    """Run the daemon: it is up when this is entered, and stopped in order at the end.

    Raises:
        DaemonError: it did not come up in time, or ended before it did.
    """
    kept = {
        name: value for name, value in environ.items() if not name.startswith("RELAY_")
    }  # the file has everything
    with tempfile.TemporaryDirectory(prefix="relay-notify-") as place, _notify_socket(place) as notified:
        command = (sys.executable, "-m", "relay", "serve", "--config", str(config_path))
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**kept, "NOTIFY_SOCKET": notified.getsockname()},
            stderr=stderr,
            # a Ctrl-C at the terminal reaches this process alone, which tells the daemon once
            start_new_session=True,
        )
        daemon = Daemon(process)
        try:
            await _until_up(daemon, notified, start_seconds)
            yield daemon
        finally:
            await daemon.stop()


def _notify_socket(place: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)  # the standard library's signature
    sock.bind(f"{place}/notify")
    return sock


async def _until_up(daemon: Daemon, notified: socket.socket, seconds: float) -> None:
    ended = asyncio.create_task(daemon.wait())
    ready = asyncio.create_task(_until_ready(notified))
    await asyncio.wait({ended, ready}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, ready):
        if not task.done():
            task.cancel()
    await asyncio.gather(ended, ready, return_exceptions=True)
    if ready.cancelled():
        raise DaemonError(
            f"the daemon ended with exit code {ended.result()} before it was up"
            if not ended.cancelled()
            else f"the daemon was not up after {seconds:g} seconds"
        )
    daemon.binds = ready.result()


async def _until_ready(notified: socket.socket) -> tuple[str, ...]:
    """Wait until the daemon is ready. Returns the addresses where it takes mail."""
    loop = asyncio.get_running_loop()
    while "READY=1" not in (lines := (await loop.sock_recv(notified, 65_536)).decode().split("\n")):
        pass
    return tuple(
        bind for line in lines if line.startswith(LISTENING) for bind in line.removeprefix(LISTENING).split()
    )
