"""The listening sockets of the daemon: those that systemd hands over, and those that we open.

Owns which socket belongs to which listener. The supervisor opens them before it starts a receiver, so that a
receiver that crashes and comes again finds them open, and no peer is refused meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from relay.config import Config
from relay.config.words import split_bind
from relay.errors import ConfigError
from relay.smtp.listeners import open_socket


def open_all(config: Config, inherited: Sequence[socket.socket]) -> dict[int, list[socket.socket]]:
    """Sockets by index of listener.

    An inherited socket goes to the listener whose port it has; where a unit names other ports than the file
    does, they go by order.

    Raises:
        ConfigError: a listener cannot be opened, with the reason.
    """
    left = list(inherited)
    opened: dict[int, list[socket.socket]] = {}
    for index, listener in enumerate(config.listeners):
        _, port = split_bind(listener.bind)
        same_port = [sock for sock in left if sock.getsockname()[1] == port]
        mine = same_port or (left[:1] if len(left) >= len(config.listeners) - index else [])
        if mine:
            opened[index] = mine
            left = [sock for sock in left if sock not in mine]
            continue
        try:
            opened[index] = [open_socket(listener)]
        except OSError as exc:
            raise ConfigError(
                f'listeners.{index}.bind = "{listener.bind}": cannot be opened ({exc.strerror or exc}); '
                "give an address of this machine and a free port that this user may bind"
            ) from exc
    return opened
