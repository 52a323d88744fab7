"""The listening sockets of the daemon: those that systemd hands over, and those that the supervisor opens.

Owns which socket belongs to which place of the configuration, which place stays without one, and how long the
supervisor waits for a port that is taken. The sockets are opened before a receiver is started, so a receiver
that crashes and is started again finds them open, and no peer is refused meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from itertools import groupby

from relay import telemetry
from relay.config import Config
from relay.config.listener import Place, list_places
from relay.config.words import split_bind
from relay.errors import ConfigError
from relay.smtp.sockets import family_of, lacks_family, open_socket
from relay.timing import is_set_within

#: Receivers whose supervisor was killed hold its ports until they notice: for some 10 ms as a rule, for 2.6 s
#: while they were starting themselves (measured on two busy cores).
_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


async def open_all(
    config: Config, inherited: Sequence[socket.socket], *, stopping: asyncio.Event
) -> dict[int, list[socket.socket]]:
    """Open the sockets of all listeners, by the number of their place.

    Some have none if `stopping` was set during the wait for a port, if the machine lacks the family of the
    address and the listener has one of the other family, or if systemd hands over others of the listener.

    Raises:
        ConfigError: a listener cannot be opened, with the reason.
    """
    ends_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    places = list_places(config.listeners)
    opened: dict[int, list[socket.socket]] = share_out(places, inherited)
    handed_over = {places[number].index for number in opened}
    for number, place in enumerate(places):
        if number in opened:
            continue
        if place.index in handed_over:
            its = [sock for at, socks in opened.items() if places[at].index == place.index for sock in socks]
            if place.is_ipv6 or not any(_takes_both(sock) for sock in its):
                why = "systemd hands over other sockets of this listener"
                telemetry.listener_left_out(bind=place.bind, why=why)
            continue
        opened[number] = await _open(places, place, ends_at=ends_at, stopping=stopping)
    return opened


def share_out(places: Sequence[Place], inherited: Sequence[socket.socket]) -> dict[int, list[socket.socket]]:
    """Give each inherited socket to a place: to a listener by the port, and there to the address that is
    nearest. Where a unit names other ports than the file, ports and listeners are matched in order.
    """
    shared: dict[int, list[socket.socket]] = {}
    listeners = [[*group] for _, group in groupby(enumerate(places), key=lambda each: each[1].index)]
    left = list(inherited)
    without = []
    for numbered in listeners:
        ports = {split_bind(place.bind)[1] for _, place in numbered}
        mine = [sock for sock in left if sock.getsockname()[1] in ports]
        left = [sock for sock in left if sock not in mine]
        for sock in mine:
            shared.setdefault(_nearest(numbered, sock), []).append(sock)
        if not mine:
            without.append(numbered)
    spare = [[*group] for _, group in groupby(left, key=lambda sock: sock.getsockname()[1])]
    for numbered, group in zip(without, spare, strict=False):
        for sock in group:
            shared.setdefault(_nearest(numbered, sock), []).append(sock)
    for sock in [sock for group in spare[len(without) :] for sock in group]:
        telemetry.listener_left_out(bind=name_of(sock), why="no listener of the configuration has this port")
        sock.close()
    return shared


def _nearest(numbered: Sequence[tuple[int, Place]], sock: socket.socket) -> int:
    """The number of the place whose bind is like the address of a socket: the whole, or else the family."""
    name = name_of(sock)
    return max(numbered, key=lambda each: (each[1].bind == name, family_of(each[1].bind) == sock.family))[0]


def name_of(sock: socket.socket) -> str:
    """The address and port of a socket, as a bind is written."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


def _takes_both(sock: socket.socket) -> bool:
    """Returns whether a socket for IPv6 takes IPv4, too, as systemd opens one for `ListenStream=25`."""
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


async def _open(
    places: Sequence[Place], place: Place, *, ends_at: float, stopping: asyncio.Event
) -> list[socket.socket]:
    """Open the socket of a place as soon as its port is free. Returns none once the daemon is to stop, and
    none for a family that the machine lacks while the listener has an address of the other one.
    """
    clock = asyncio.get_running_loop().time
    told = False
    while not stopping.is_set():
        try:
            return [open_socket(place.bind)]
        except OSError as exc:
            if lacks_family(place.bind, exc) and any(place.stands_beside(other) for other in places):
                family = "IPv6" if place.is_ipv6 else "IPv4"
                telemetry.listener_left_out(bind=place.bind, why=f"this machine has no {family}")
                return []
            if exc.errno != errno.EADDRINUSE or clock() >= ends_at:
                raise ConfigError(
                    f'{place.key} = "{place.bind}": cannot be opened ({exc.strerror or exc}); '
                    "give an address of this machine and a free port that this user may bind"
                ) from exc
        if not told:
            telemetry.listener_awaited(bind=place.bind, seconds=_PATIENCE_SECONDS)
            told = True
        await is_set_within(stopping, _LOOK_SECONDS)
    return []
