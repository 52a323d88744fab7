"""README's commands, from the clone to the service that is enabled, in an empty root directory.

Programs are the machine's (/usr, read-only), the libraries those of .venv, since tests have no network, and
AWS is a sandbox. Everything else is what a person has before he begins: a clone, and root's rights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from itertools import takewhile
from pathlib import Path

import pytest
from certificates import Papers
from commands import ROOT, list_blocks
from harness import build_mail, free_port, send

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

BLOCKS = [block for block in list_blocks() if (block.page, block.section) == ("README.md", "Run it for real")]
PYTHON = f"python3.{sys.version_info.minor}"
INSTANCE = "12345678-90ab-cdef-1234-567890abcdef"
#: What the shell of a new machine has, and what stands for a network and a running systemd.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "SYSTEMD_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads 0 here as "without"
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
MOUNTS = """
set -eu
mount --bind "$1" "$1"
cd "$1"
mount --rbind /usr usr && mount -o remount,bind,ro usr
mount --bind local usr/local
mount --rbind /proc proc
mount --rbind /dev dev
mount --bind "$2" libraries && mount -o remount,bind,ro libraries
exec chroot . /bin/bash -eu -c "cd /src; $3"
"""


#: The service as its unit starts it: its environment file, its user, its one capability.
START = """
set -a; . /etc/relay/environment
exec setpriv --reuid relay --regid relay --init-groups --no-new-privs \
    --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service -- \
    /opt/relay/bin/relay serve --config /etc/relay/relay.toml
"""


def is_possible():
    """Returns whether this machine lets root mount, and its own Python is of our version."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "chroot", "setpriv", "systemd-sysusers"))):
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return tried.returncode == 0 and Path("/usr/bin", PYTHON).exists()


class EmptyRoot:
    """A root directory in which a shell runs, with nothing of ours but the clone."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.chmod(0o755)
        for name in (
            "usr",
            "local/bin",
            "proc",
            "dev",
            "libraries",
            "etc",
            "run",
            "root",
            "src",
            "var/lib",
            "tmp",
        ):
            (place / name).mkdir(parents=True)
        (place / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (place / name).symlink_to(f"usr/{name}")
        (place / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (place / "etc" / "group").write_text("root:x:0:\n")
        (place / "etc" / "hosts").write_text("127.0.0.1 localhost mx1.example.com\n")
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in tracked.stdout.decode().split("\0")[:-1]:
            (place / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / "src" / name)

    def enter(self, command: str) -> list[str | Path]:
        """The words that run a command as root in this root."""
        inside = ["bash", "-c", MOUNTS, "-", self.place, sysconfig.get_path("purelib"), command]
        return ["unshare", "--mount", "--propagation", "private", *inside]

    def run(self, command: str) -> str:
        """Run a command as root in this root. Returns its output."""
        done = subprocess.run(
            self.enter(command), env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, *, more: bool = False) -> None:
        """Write a file, or add to it."""
        file = self.place / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a" if more else "w") as out:
            out.write(text)


@pytest.mark.system
@pytest.mark.timeout(300)  # a virtual environment, two runs of pip, and DNS that nobody answers
@pytest.mark.process
def test_readme_leads_to_an_enabled_service(tmp_path):
    """Each command of README works in its turn, relay check has nothing against the result, as the service
    and not as root, the unit is enabled, and started as it says, it makes a mail a contact.
    """
    if not is_possible():
        pytest.skip("needs root that may mount, and a /usr/bin/python3 like ours")
    (tmp_path / "root").mkdir()
    root = EmptyRoot(tmp_path / "root")
    papers = Papers(tmp_path)
    pair = dict(zip(("fullchain", "privkey"), papers.issue("mx1.example.com", "mx1"), strict=True))
    for name, file in pair.items():
        root.write(f"/etc/letsencrypt/live/mx1.example.com/{name}.pem", file.read_text())
    config = builtin_config(
        connect={"instance_id": INSTANCE},
        routes=[
            {"match": ["support@example.com", "@help.example.com"], "destination": "support@example.com"}
        ],
    )
    said = {}
    with running_sandbox(settings=settings_of(config), bucket="example-mail") as box:
        for command in (command for block in BLOCKS if not block.reason for command in block.commands):
            # no systemd runs here that could start it
            said[command] = root.run(command.replace("enable --now", "enable"))
            if command.startswith("python3 -m venv "):
                root.write(f"/opt/relay/lib/{PYTHON}/site-packages/libraries.pth", "/libraries\n")
            if command.startswith("relay init "):
                # a mail server of the machine's own may have port 25, and its relay the port for health
                port = free_port()
                account = box.env | {
                    "RELAY_LISTENERS__0__BIND": f"127.0.0.1:{port}",
                    "RELAY_ADMIN__BIND": f"127.0.0.1:{free_port()}",
                    "RELAY_DNS__TIMEOUT_SECONDS": "1",
                    "RELAY_DNS__DEADLINE_SECONDS": "1",
                }
                lines = [f"{name}={value}\n" for name, value in account.items() if name != "AWS_REGION"]
                root.write("/etc/relay/environment", "".join(lines), more=True)
        with subprocess.Popen(
            root.enter(START), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        ) as service:
            log = list(takewhile(lambda line: "daemon.ready" not in line, service.stderr))
            send(port, build_mail("from an empty root"))
            contacts = box.wait(1)
            service.terminate()
            log += service.stderr
        found = said["relay check"].splitlines()
    assert (service.returncode, len(contacts)) == (0, 1), "".join(log)
    assert [line for line in found if line.startswith("fail")] == []
    assert any(line.startswith("ok    unit: examined as relay,") for line in found)
    assert f"ok    instance {INSTANCE}: has the addresses of our routes (1 of its 1)" in found
    assert (root.place / "etc/systemd/system/multi-user.target.wants/relay.service").is_symlink()
    assert oct((root.place / "etc/relay/environment").stat().st_mode & 0o777) == "0o600"
