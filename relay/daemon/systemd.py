"""What systemd is told, and what it hands over: sd_notify(3) and sd_listen_fds(3).

Owns the notify socket and the inherited descriptors. Does nothing where systemd is not there.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import lru_cache

#: sd_listen_fds(3): SD_LISTEN_FDS_START.
_FIRST = 3
#: The beginning of the line that `systemctl status` shows, and that `relay sandbox` learns its port from.
LISTENING = "STATUS=takes mail at "


def notify(state: str) -> None:
    """Tell the service manager something like READY=1; where there is none, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError):  # the manager is gone, or has stopped listening: no reason for us to stop
        _notifier().sendto(state.encode(), address)


@lru_cache(maxsize=1)
def _notifier() -> socket.socket:
    """The socket for all words: one that is open needs no free file handle when we must say that we live."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def watchdog_seconds() -> float | None:
    """How often WATCHDOG=1 is due: half of what the unit allows; None when it asks for none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() and int(microseconds) > 0 else None


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that the service manager opened for us, in its order."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    # Children must not think that these are meant for them.
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    sockets = []
    for descriptor in range(_FIRST, _FIRST + count):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets
