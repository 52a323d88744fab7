"""The places that a service may not see or write, whatever their modes say: its unit hides or protects them.

Owns that examination of the paths in the configuration. Reads none of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from relay.check.finding import Finding, fail
from relay.check.unit import Unit
from relay.config import Config


def examine_places(config: Config, unit: Unit, file: Path) -> Iterator[Finding]:
    """Examine every path that the configuration names, and the configuration `file` itself."""
    tls = config.tls
    named = {
        "the configuration": file,
        "data_dir": config.data_dir,
        "tls.certificate": tls.certificate,
        "tls.key": tls.key,
        "tls.client_ca": tls.client_ca,
        "server.users_file": config.server.users_file,
    }
    for at, pair in enumerate(tls.more):
        named |= {f"tls.more[{at}].certificate": pair.certificate, f"tls.more[{at}].key": pair.key}
    named |= {f"lists.{name}.file": source.file for name, source in config.lists.items()}
    for key, path in named.items():
        if path and (setting := unit.hides(path)):
            yield fail(
                "unit", f"{key}, {path}, is hidden from the service by {setting}; move it, as to /etc/relay"
            )
    if unit.protects(config.data_dir) and not unit.hides(config.data_dir):
        yield fail(
            "unit",
            f"data_dir, {config.data_dir}, is read-only for the service (ProtectSystem=strict); "
            f"add ReadWritePaths={config.data_dir} in a drop-in (systemctl edit {unit.name})",
        )


def is_made(data_dir: Path, unit: Unit) -> bool:
    """Returns whether systemd makes the folder at the start of the service, because it is missing."""
    return not os.path.exists(data_dir) and data_dir in unit.state_directories  # noqa: PTH110 - never raises
