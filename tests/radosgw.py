"""A real S3 server for tests: radosgw of Ceph, with one monitor and one object store in memory, on loopback.

Owns its start and its end. Nothing of it outlives `running_radosgw`; it needs the Debian packages ceph-mon,
ceph-osd and radosgw, and asks no root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import free_port, until

ACCESS_KEY, SECRET_KEY = "AKIARADOSGWTEST00000", "a-secret-of-this-test-only"
REGION = "eu-central-1"

_CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {home}/keyring
run dir = {home}
admin socket = {home}/$name.asok
log file = {home}/$name.log
mon data = {home}/mon
mon data avail crit = 1
mon allow pool size one = true
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
[client.rgw.test]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 16
"""
_CAPS = {
    "mon.": ("mon",),
    "client.admin": ("mon", "osd", "mgr"),
    "osd.0": ("mon", "osd"),
    "client.rgw.test": ("mon", "osd"),
}


@dataclass(frozen=True, kw_only=True)
class Radosgw:
    """Where it listens, and an account on it."""

    url: str

    def environ(self) -> dict[str, str]:
        """The variables that point an AWS client at it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }


class _Cluster:
    """The processes, and the programs that set them up."""

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self._running: list[subprocess.Popen[bytes]] = []
        self.fsid = str(uuid.uuid4())
        self.mon_v1, self.mon_v2 = free_port(), free_port()
        self._conf = home / "ceph.conf"
        self._conf.write_text(
            _CONF.format(home=home, fsid=self.fsid, mon_v1=self.mon_v1, mon_v2=self.mon_v2, port=port)
        )

    def do(self, program: str, *words: str, conf: bool = True, seconds: float = 60) -> None:
        """Run a program to its end; its last words stand in the error when it fails."""
        line = [program, *(("-c", str(self._conf)) if conf else ()), *words]
        ended = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=seconds, cwd=self._home
        )
        if ended.returncode:
            raise RuntimeError(f"{' '.join(line)}: {ended.stdout[-500:]}{ended.stderr[-1500:]}")

    def start(self, program: str, *words: str) -> None:
        """Start a server in the foreground of nobody."""
        with (self._home / f"{program}.out").open("wb") as out:
            self._running.append(
                subprocess.Popen(
                    [program, "-c", str(self._conf), *words, "-f"], stdout=out, stderr=out, cwd=self._home
                )
            )

    def stop(self) -> None:
        """End all servers, the last first; what they hold is gone."""
        for process in reversed(self._running):
            process.kill()
            process.wait(timeout=30)

    def set_up(self) -> None:
        """Monitor, object store, account, gateway, in this order."""
        home = self._home
        keyring, monmap = str(home / "keyring"), str(home / "monmap")
        mon = f"[v2:127.0.0.1:{self.mon_v2},v1:127.0.0.1:{self.mon_v1}]"
        self.do("monmaptool", "--create", "--addv", "a", mon, "--fsid", self.fsid, monmap, conf=False)
        for number, (name, caps) in enumerate(_CAPS.items()):
            create = ("--create-keyring",) if number == 0 else ()
            rights = [word for cap in caps for word in ("--cap", cap, "allow *")]
            self.do("ceph-authtool", *create, keyring, "--gen-key", "-n", name, *rights, conf=False)
        self.do("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self.start("ceph-mon", "-i", "a")
        until(lambda: self._answers("ceph", "--connect-timeout", "2", "mon", "stat"), so="a monitor")
        osd = str(uuid.uuid4())
        self.do("ceph", "osd", "new", osd)
        self.do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--keyring", keyring)
        self.start("ceph-osd", "-i", "0")
        self.do("ceph", "osd", "crush", "add", "osd.0", "1", "host=here", "root=default")
        account = (
            "--uid",
            "test",
            "--display-name",
            "test",
            "--access-key",
            ACCESS_KEY,
            "--secret-key",
            SECRET_KEY,
        )
        self.do("radosgw-admin", "-n", "client.rgw.test", "user", "create", *account)
        self.start("radosgw", "-n", "client.rgw.test")

    def _answers(self, program: str, *words: str) -> bool:
        try:
            self.do(program, *words, seconds=10)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        return True


def _is_up(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running_radosgw() -> Iterator[Radosgw]:
    """An S3 server without buckets; its sockets need a short path, so its folder is no test's own."""
    home = Path(tempfile.mkdtemp(prefix="rgw"))
    for name in ("mon", "osd"):
        (home / name).mkdir()
    port = free_port()
    cluster = _Cluster(home, port)
    try:
        cluster.set_up()
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_up(url), seconds=60, so="a gateway")
        yield Radosgw(url=url)
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)
