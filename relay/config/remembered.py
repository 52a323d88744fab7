"""The file of what instances have told: written by the deliverer, read at its next start and by receivers.

Owns `data_dir/instances.json` as a file; `relay.config.discovered` owns its content. Never raises: what
cannot be read is unknown, and what cannot be written is read from the instances again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relay.config.data_dir import INSTANCES
from relay.config.discovered import Discovered, build_discovered_json, parse_discovered_json

#: Octets that are read: dozens of instances with all the addresses that are believed.
_MOST_BYTES = 64 << 20
_MODE = 0o600
_Stamp = tuple[int, int, int]


class DiscoveredFile:
    """The file in one `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / INSTANCES
        self._stamp: _Stamp | None = None
        self._found: Mapping[str, Discovered] = {}

    def load(self) -> Mapping[str, Discovered]:
        """The settings that stand in the file. Returns the same object as long as the file is the same."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp, self._found = stamp, parse_discovered_json(self._read()) if stamp else {}
        return self._found

    def save(self, found: Mapping[str, Discovered]) -> bool:
        """Replace the file. Returns whether it could be written."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.touch(mode=_MODE)
            fresh.write_text(build_discovered_json(found), encoding="utf-8")
            fresh.replace(self._path)
        except OSError:
            return False
        return True

    def _look(self) -> _Stamp | None:
        try:
            about = self._path.stat()
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns, about.st_size

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                return file.read(_MOST_BYTES).decode("utf-8")
        except (OSError, ValueError):
            return ""
