"""The listening sockets of the daemon: those that systemd hands over, and those that the supervisor opens.

Owns which socket belongs to which listener, and how long the supervisor waits for a port that is taken. The
sockets are opened before a receiver is started, so a receiver that crashes and is started again finds them
open, and no peer is refused meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence

from relay import telemetry
from relay.config import Config
from relay.config.words import split_bind
from relay.errors import ConfigError
from relay.smtp.sockets import open_socket
from relay.timing import is_set_within

#: Receivers whose supervisor was killed hold its ports until they notice: for some 10 ms as a rule, for 2.6 s
#: while they were starting themselves (measured on two busy cores).
_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


async def open_all(
    config: Config, inherited: Sequence[socket.socket], *, stopping: asyncio.Event
) -> dict[int, list[socket.socket]]:
    """Open the sockets of all listeners, by index.

    Some have none if `stopping` was set during the wait for a port.

    An inherited socket goes to the listener whose port it has. Where a unit names other ports than the file,
    sockets and listeners are matched in order.

    Raises:
        ConfigError: a listener cannot be opened, with the reason.
    """
    ends_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    left = list(inherited)
    opened: dict[int, list[socket.socket]] = {}
    for index, listener in enumerate(config.listeners):
        _, port = split_bind(listener.bind)
        same_port = [sock for sock in left if sock.getsockname()[1] == port]
        mine = same_port or (left[:1] if len(left) >= len(config.listeners) - index else [])
        if mine:
            opened[index] = mine
            left = [sock for sock in left if sock not in mine]
        else:
            opened[index] = await _open(config, index, ends_at=ends_at, stopping=stopping)
    return opened


async def _open(
    config: Config, index: int, *, ends_at: float, stopping: asyncio.Event
) -> list[socket.socket]:
    """Open the sockets of one listener as soon as its port is free. Returns none once the
    daemon is to stop.
    """
    listener = config.listeners[index]
    clock = asyncio.get_running_loop().time
    told = False
    while not stopping.is_set():
        try:
            return [open_socket(listener)]
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or clock() >= ends_at:
                raise ConfigError(
                    f'listeners.{index}.bind = "{listener.bind}": cannot be opened ({exc.strerror or exc}); '
                    "give an address of this machine and a free port that this user may bind"
                ) from exc
        if not told:
            telemetry.listener_awaited(bind=listener.bind, seconds=_PATIENCE_SECONDS)
            told = True
        await is_set_within(stopping, _LOOK_SECONDS)
    return []
