"""The sockets of transcripts: their folder, their names, and who may connect.

Owns `data_dir/tail`, which nobody but its owner may enter. A socket's name is its receiver's. Never reads or
writes an octet.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

#: sun_path of unix(7) holds 108 octets, the final NUL among them.
_PATH_LIMIT = 107
#: Connections that wait for the receiver's loop.
_BACKLOG = 16
#: struct ucred of unix(7): process, user, group.
_UCRED = struct.Struct("3i")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the path that is short enough for the system call, however long its folder's is."""
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _make() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def listen(path: Path) -> socket.socket:
    """A socket that listens at the path, for its owner alone. One that a process left there which died is
    replaced: each receiver has a name of its own.

    Raises:
        OSError: no socket can be made there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = _make()
    try:
        path.unlink(missing_ok=True)
        with _short(path) as name:
            sock.bind(name)
        path.chmod(0o600)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def connect(path: Path) -> socket.socket:
    """A connection to the receiver that listens at the path.

    Raises:
        OSError: nobody listens there, or not to this user.
    """
    sock = _make()
    try:
        with _short(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


def find_sockets(folder: Path) -> list[Path]:
    """The paths in the folder at which receivers listen, or have listened.

    Raises:
        OSError: the folder cannot be read; it is missing until a receiver has run here.
    """
    return sorted(path for path in folder.iterdir() if path.is_socket())


def read_user(fileno: int) -> int:
    """The user of the process that made a connection, as the kernel knows it (SO_PEERCRED).

    Raises:
        OSError: it cannot be known.
    """
    with socket.socket(fileno=os.dup(fileno)) as sock:
        octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(octets)[1])


def may_read(user: int) -> bool:
    """Returns whether a user may read transcripts: root, and the user of this process."""
    return user in {0, os.geteuid()}
