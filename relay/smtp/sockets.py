"""The socket of a listener, bound and listening.

Owns how a port is opened. Imports no session and no stage, so the supervisor, which opens every port before a
receiver is started, loads neither.
"""

from __future__ import annotations

import socket

from relay.config.listener import Listener
from relay.config.words import split_bind

#: Connections that the kernel keeps while a receiver is busy: with 100, 200 senders at once fall to a
#: twentieth of their speed.
BACKLOG = 1_024


def open_socket(listener: Listener) -> socket.socket:
    """The bound and listening socket of a listener. A socket for IPv6 takes IPv6 only, so that one for IPv4
    can stand at the same port.

    Raises:
        OSError: the address is taken, or not this machine's, or needs a privilege.
    """
    host, port = split_bind(listener.bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened
