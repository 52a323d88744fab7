"""A private Exim: its own configuration, spool and log, run once a mail by whoever asks for it.

Owns finding the program (`TEST_EXIM`, else exim4, exim, or what `.ci/programs` unpacked) and its
configuration. No daemon, no port: mail is put
into its queue, and goes out when the queue is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where `.ci/programs` unpacks it.
_UNPACKED = Path(__file__).parent.parent / ".venv" / "exim4" / "usr" / "sbin" / "exim4"
PROGRAM = (
    os.environ.get("TEST_EXIM")
    or shutil.which("exim4", path=_PATH)
    or shutil.which("exim", path=_PATH)
    or (str(_UNPACKED) if _UNPACKED.exists() else None)
)
#: Debian has one mail server installed at a time; the package unpacked (dpkg -x) is as good.
MISSING = (
    "needs the Debian package exim4-daemon-light, or TEST_EXIM=/path/to/exim4 where postfix is installed"
)

# Debian builds Exim so that it never delivers as root.
_NOBODY = 65_534
# What "mail sent by smarthost" of Debian comes to, and no more.
_CONF = """
exim_path = {program}
exim_user = {user}
exim_group = {group}
trusted_users = {caller}
never_users =
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
log_selector = +tls_peerdn +smtp_confirmation
primary_hostname = legacy.test
qualify_domain = customer.example
message_size_limit = 100M
keep_environment =
begin routers
smarthost:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smarthost
begin transports
smarthost:
  driver = smtp
  protocol = {protocol}
  port = {port}
  {transport}
begin retry
* * F,1h,1s
"""


class Exim:
    """One instance under `home`, which its own user must be able to reach; sends everything to one port of
    loopback.
    """

    def __init__(self, home: Path, *, port: int, transport: str = "", protocol: str = "smtp") -> None:
        self._home = home
        own = os.geteuid()
        user = own or _NOBODY
        for name in ("spool", "log"):
            (home / name).mkdir(parents=True)
            os.chown(home / name, user, os.getegid())
        self._conf = home / "exim.conf"
        self._conf.write_text(
            _CONF.format(
                program=PROGRAM,
                user=user,
                group=os.getegid(),
                caller=own,
                home=home,
                port=port,
                transport=transport,
                protocol=protocol,
            )
        )

    def send(self, mail: bytes, *recipients: str, sender: str = "ada@customer.example") -> None:
        """Put one mail into the queue, its lines ending in LF."""
        self._run("-odq", "-oi", "-f", sender, *recipients, given=mail)

    def run_queue(self) -> None:
        """Try to deliver everything; returns when each mail had its attempt."""
        self._run("-qf")

    def log(self) -> str:
        """Its main log so far."""
        path = self._home / "log/mainlog"
        return path.read_text() if path.exists() else ""

    def _run(self, *words: str, given: bytes = b"") -> None:
        subprocess.run(
            [str(PROGRAM), "-C", str(self._conf), *words],
            input=given,
            capture_output=True,
            check=True,
            timeout=60,
        )
