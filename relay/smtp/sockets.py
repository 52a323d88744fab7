"""The socket of a listener, bound and listening.

Owns how a port is opened. Imports no session and no stage, so the supervisor, which opens every port before a
receiver is started, loads neither.
"""

from __future__ import annotations

import errno
import socket

from relay.config.words import split_bind

#: Connections that the kernel keeps while a receiver is busy: with 100, 200 senders at once fall to a
#: twentieth of their speed.
BACKLOG = 1_024


def family_of(bind: str) -> socket.AddressFamily:
    """The family of a bind's address."""
    return socket.AF_INET6 if ":" in split_bind(bind)[0] else socket.AF_INET


def lacks_family(bind: str, error: OSError) -> bool:
    """Returns whether a bind failed because this machine has no address of its family at all: the kernel does
    not know the family, or not even its loopback address can be bound.
    """
    if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
        return False
    family = family_of(bind)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    except OSError as exc:
        return exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return False


def open_socket(bind: str) -> socket.socket:
    """The bound and listening socket at an address and port. A socket for IPv6 takes IPv6 only, so that one
    for IPv4 can stand at the same port.

    Raises:
        OSError: the address is taken, or not this machine's, or needs a privilege.
    """
    host, port = split_bind(bind)
    family = family_of(bind)
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
