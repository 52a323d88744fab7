"""The interface to systemd: sd_notify(3) and sd_listen_fds(3).

Owns the notify socket and the inherited descriptors. Does nothing where systemd is not there.
"""

from __future__ import annotations

import atexit
import os
import socket
from contextlib import suppress
from functools import lru_cache

#: SD_LISTEN_FDS_START of sd_listen_fds(3).
_FIRST = 3
#: The beginning of the line that `systemctl status` shows, and that `relay sandbox` learns its port from.
LISTENING = "STATUS=takes mail at "


def notify(state: str) -> None:
    """Send the service manager a state like READY=1. Does nothing where there is no manager."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError):  # the manager is gone, or does not listen: no reason to stop
        _notifier().sendto(state.encode(), address)


@lru_cache(maxsize=1)
def _notifier() -> socket.socket:
    """The socket for all messages. It stays open until the process ends, so that a sign of life needs no free
    file handle.
    """
    notifier = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    atexit.register(notifier.close)
    return notifier


def watchdog_seconds() -> float | None:
    """The seconds between two WATCHDOG=1: half of what the unit allows.

    Returns None when the unit asks for none.
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() and int(microseconds) > 0 else None


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that the service manager opened, in its order."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    # Children must not take these variables for theirs.
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    sockets = []
    for descriptor in range(_FIRST, _FIRST + count):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets
