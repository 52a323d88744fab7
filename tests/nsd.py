"""Other people's DNS servers on loopback: NSD with zones of a test, and what else runs in the foreground."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import free_port, until


@contextmanager
def running(command: Sequence[str], port: int, host: str = "127.0.0.1") -> Iterator[None]:
    """A server in the foreground, once its TCP port answers."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: process.poll() is not None or answers(port, host), so=f"{command[0]} answers")
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            yield
        finally:
            process.terminate()


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Returns whether a program takes connections at this port of loopback."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


@contextmanager
def nsd(
    home: Path, zones: Mapping[str, str], *, host: str = "127.0.0.1", port: int | None = None
) -> Iterator[int]:
    """The port of an NSD that has these zones, by name; by default a free one."""
    port, tables = port or free_port(), []
    for name, text in zones.items():
        (home / f"{name}.zone").write_text(text)
        tables.append(f'zone:\n  name: {name}\n  zonefile: "{home}/{name}.zone"\n')
    (home / "nsd.conf").write_text(
        f'server:\n  ip-address: {host}\n  port: {port}\n  username: ""\n  zonesdir: ""\n  database: ""\n'
        f'  pidfile: "{home}/pid"\n  xfrdfile: "{home}/xfrd"\n  xfrdir: "{home}"\n  zonelistfile: "{home}/list"\n'
        f"  server-count: 1\nremote-control:\n  control-enable: no\n{''.join(tables)}"
    )
    with running(["nsd", "-d", "-c", str(home / "nsd.conf")], port, host):
        yield port
