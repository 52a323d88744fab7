"""A private opendkim: the milter by which a Postfix signs its mail, or verifies that of others.

Needs the Debian package `opendkim`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Self

PROGRAM = shutil.which("opendkim", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

_CONFIG = """
Background no
Syslog no
Socket inet:{port}@127.0.0.1
PidFile {home}/pid
RequireSafeKeys no
Mode {mode}
"""


class OpenDkim:
    """One instance under `home`; a context manager."""

    def __init__(self, home: Path, *, port: int, mode: str, **words: str) -> None:
        """`mode` is "s" to sign, "v" to verify; `words` are further lines of opendkim.conf(5)."""
        home.mkdir(parents=True, exist_ok=True)
        #: The milter as Postfix's `smtpd_milters` names it.
        self.milter = f"inet:127.0.0.1:{port}"
        self._log_path = home / "log"
        self._config_path = home / "opendkim.conf"
        lines = "".join(f"{name} {value}\n" for name, value in words.items())
        self._config_path.write_text(_CONFIG.format(home=home, port=port, mode=mode) + lines)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process; it has no others."""
        assert self._process
        return self._process.pid

    def log(self) -> str:
        """What it said so far."""
        return self._log_path.read_text()

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), "-f", "-x", str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait()
