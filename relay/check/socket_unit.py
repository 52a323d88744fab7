"""The socket unit beside the service's: addresses that systemd opens, and hands over.

Owns how that unit is found and read (systemd.socket(5)), and the question to systemd whether it is active. A
service with one needs no right to bind. Never connects: that would start the service.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from relay.check.unit import list_folders, read_section, read_unit_file
from relay.config.words import check_bind


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketUnit:
    """A socket unit that is enabled: its name, and the addresses that it opens."""

    name: str
    binds: frozenset[str]

    @property
    def is_active(self) -> bool:
        """Returns whether systemd has its addresses open now."""
        try:
            asked = subprocess.run(  # noqa: S603 - a fixed command and the name of a unit
                ["systemctl", "is-active", "--quiet", self.name],  # noqa: S607 - of the PATH of the service
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=10,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return asked.returncode == 0


def find_socket_unit(service: str, *, environ: Mapping[str, str] = os.environ) -> SocketUnit | None:
    """The socket unit of a service. Returns None where there is none, or one that is not enabled."""
    name = f"{service.removesuffix('.service')}.socket"
    folders = list_folders(environ)
    path = next((folder / name for folder in folders if (folder / name).exists()), None)
    if path is None or not any((folder / "sockets.target.wants" / name).exists() for folder in folders):
        return None
    found = (value for key, value in read_section(read_unit_file(path), "[Socket]") if key == "ListenStream")
    return SocketUnit(name=name, binds=frozenset(filter(None, map(_find_bind, found))))


def _find_bind(value: str) -> str:
    """The address of a ListenStream= as our configuration writes it; "" for a path or a bare port."""
    try:
        return check_bind(value)
    except ValueError:
        return ""
