"""A private Postfix: its own configuration, queue and port, started and stopped by whoever asks for it.

Needs the Debian package `postfix` and root (its master runs as nothing else).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PROGRAM = shutil.which("postfix") or ("/usr/sbin/postfix" if Path("/usr/sbin/postfix").exists() else None)

_MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = legacy.test
mydestination =
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
maillog_file = {home}/log/maillog
maillog_file_prefixes = {home}
import_environment = MAIL_CONFIG MAIL_LOGTAG
"""
_MASTER = """
127.0.0.1:{port} inet n - n - {processes} smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
lmtp      unix  - - n - - lmtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


def missing() -> str | None:
    """What stands in the way of a private Postfix, as a sentence; None when nothing does."""
    if not PROGRAM:
        return "needs the Debian package postfix"
    return None if os.geteuid() == 0 else "Postfix's master runs as root only"


class Postfix:
    """One instance under `home`; a context manager."""

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        processes: str = "-",
        services: str = "",
        launcher: Sequence[str] = (),
        **parameters: str,
    ) -> None:
        """`services` are further lines of master.cf, `launcher` is the command that starts the one behind it,
        `parameters` are further ones of main.cf.
        """
        self.port = port
        self._launcher = launcher
        self._home = home
        for name in ("etc", "queue", "data", "log"):
            (home / name).mkdir(parents=True)
        for folder in (home, *home.parents):  # Postfix's own user must reach its queue
            if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        shutil.chown(home / "data", "postfix")
        extra = "".join(f"{name} = {value}\n" for name, value in parameters.items())
        (home / "etc/main.cf").write_text(_MAIN.format(home=home) + extra)
        (home / "etc/master.cf").write_text(_MASTER.format(port=port, processes=processes) + services)

    def log(self) -> str:
        """Its mail log so far."""
        path = self._home / "log/maillog"
        return path.read_text() if path.exists() else ""

    def pids(self) -> list[int]:
        """Its processes: the master, its children, and theirs."""
        master = int((self._home / "queue/pid/master.pid").read_text())
        found = [master]
        for pid in found:  # it grows: a program that `spawn` runs is a child of a child
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def __enter__(self) -> Self:
        self._run("start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("stop")

    def _run(self, verb: str) -> None:
        command = [*self._launcher, str(PROGRAM), "-c", str(self._home / "etc"), verb]
        subprocess.run(command, check=True, capture_output=True)
