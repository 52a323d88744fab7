"""The commands in README and docs/ do what the pages say: each is run, or says why it is not."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import PAGES, ROOT, list_blocks

from relay.cli import main

BLOCKS = list(list_blocks())
#: The section whose commands tests/deploy/test_readme.py runs, in an empty root directory.
INSTALLATION = ("README.md", "Run it for real")
#: First words of a line that is a command, and must not hide in a block of another kind.
PROGRAMS = (
    "relay", "make", "swaks", "curl", "pip", "python3", "python", "systemctl", "docker", "cp", "install", "kubectl",
    "aws", "terraform", "sqlite3", "certbot", "chmod", "chgrp", "echo", "umask", "postmap", "helm", "openssl",
)  # fmt: skip


def test_most_commands_are_run():
    """At most a quarter of them are run by no test; a marker may name the test that runs its block."""
    elsewhere = {
        block.reason: re.findall(r"tests/[\w/]+\.py", block.reason) for block in BLOCKS if block.reason
    }
    assert [name for names in elsewhere.values() for name in names if not (ROOT / name).is_file()] == []
    marked = sum(len(block.commands) for block in BLOCKS if block.reason and not elsewhere[block.reason])
    all_of_them = sum(len(block.commands) for block in BLOCKS)
    assert all_of_them > 40
    assert marked <= all_of_them / 4, f"{marked} of {all_of_them}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_command_stands_outside_of_the_blocks(path):
    """A command in a block of another kind would be run by nobody, and nobody would notice."""
    text = re.sub(r"^```(\w+)\n.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    hidden = [
        line
        for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)
        if re.sub(r"^(?:\w+=\S* )*(?:\S*/bin/)?", "", line).split()[:1] in [[each] for each in PROGRAMS]
    ]
    assert hidden == []


# --- The commands that need a spool


MAIL = b"""From: Ann <ann@example.org>\r
To: support@example.com\r
Message-ID: <CAF3x@mail.example.org>\r
Date: Sun, 29 Nov 2026 09:00:00 +0000\r
Subject: Hello\r
\r
Is anybody there? Number %d.\r
"""
CONFIG = """
hostname = "mx1.example.com"
data_dir = "{home}/data"
[spool]
min_free_bytes = 0
[s3]
bucket = "example-mail"
[connect]
instance_id = "12345678-90ab-cdef-1234-567890abcdef"
[lists.blocked]
file = "{home}/blocked"
[lists.vip]
file = "{home}/vip"
[[routes]]
match = ["support@example.com", "@help.example.com"]
destination = "support@example.com"
[[routes]]
name = "sales"
match = ["sales@example.com"]
"""


class Machine:
    """A relay's configuration and spool, and a shell in which its commands are run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.count = 0
        (home / "relay.toml").write_text(CONFIG.format(home=home))
        for name in ("blocked", "vip"):
            (home / name).write_text("")
        (home / "bin").mkdir()
        (home / "bin" / "relay").write_text(f'#!/bin/sh\nexec {sys.executable} -m relay "$@"\n')
        (home / "bin" / "relay").chmod(0o755)
        self.environ = os.environ | {
            "RELAY_CONFIG": str(home / "relay.toml"), "PATH": f"{home}/bin:{os.environ['PATH']}"
        }  # fmt: skip

    def take(self) -> str:
        """Put another mail into the spool. Returns its id."""
        self.count += 1
        mail = self.home / "mail.eml"
        mail.write_bytes(MAIL % self.count)
        said = self.run(f"relay replay {mail} --rcpt support@example.com")
        return re.search(r"\b[0-9A-Z]{13,32}\b", said)[0]

    def run(self, command: str) -> str:
        """Run a command as a person's shell would. Returns its output."""
        words = shlex.split(command.replace("\\\n", ""), comments=True)
        if words[0] == "relay" and not {"|", ">"} & set(words):
            done = CliRunner(env=self.environ).invoke(main, words[1:], input="a word\n")
            assert done.exit_code == 0, f"{command}\n{done.output}"
            return done.output
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.home, env=self.environ, capture_output=True, text=True, check=False, input="a word\n",
        )  # fmt: skip
        assert shell.returncode == 0, f"{command}\n{shell.stdout}{shell.stderr}"
        return shell.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One machine for all pages."""
    return Machine(tmp_path_factory.mktemp("machine"))


def in_spool(block):
    """Returns whether the commands of a block need nothing but a spool."""
    return not block.reason and not in_sandbox(block) and (block.page, block.section) != INSTALLATION


def in_sandbox(block):
    """Returns whether the commands of a block need a sandbox that runs."""
    return not block.reason and (block.page == "docs/sandbox.md" or "127.0.0.1:8025" in str(block.commands))


def fill(command, machine, spool_id):
    """The command with what a person puts in the place of its capitals."""
    for word, value in (
        (".venv/bin/relay", "relay"),
        ("relay init ", f"relay init --config {machine.home}/first/relay.toml "),
        ("/opt/relay/bin/python", sys.executable),
        ("/etc/systemd/", f"{machine.home}/systemd/"),
        ("/etc/relay/", f"{machine.home}/"),
        ("/var/lib/relay/", f"{machine.home}/data/"),
        ("/backup/", f"{machine.home}/"),
        ("ID", spool_id),
        ("FILE", str(machine.home / "relay.toml")),
    ):
        command = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)" if word.isupper() else word, value, command)
    return command


@pytest.mark.process
@pytest.mark.parametrize("block", [each for each in BLOCKS if in_spool(each)], ids=str)
def test_command_works(block, machine, monkeypatch):
    """Each command of the block ends with 0, one after the other."""
    if "sqlite3" in str(block.commands) and shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not here; install the Debian package sqlite3")
    monkeypatch.chdir(machine.home)
    spool_id = machine.take()
    for command in block.commands:
        machine.run(fill(command, machine, spool_id))


@pytest.mark.needs("swaks", "swaks")
@pytest.mark.needs("curl", "curl")
@pytest.mark.timeout(180)
@pytest.mark.process
def test_commands_work_in_the_sandbox(machine, monkeypatch):
    """All that the pages show of the sandbox is sent to one that runs."""
    monkeypatch.chdir(machine.home)
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "sandbox", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        smtp, http, file = "", "", ""
        for line in process.stdout:
            if found := re.search(r"takes mail at (\S+) and shows its contacts at http://(\S+)/", line):
                smtp, http = found.groups()
            if found := re.search(r"queue list --config (\S+)", line):
                file = found[1]
                break
        blocks = [block for block in BLOCKS if in_sandbox(block)]
        assert len(blocks) >= 2
        for block in blocks:
            for command in block.commands:
                filled = command.replace("127.0.0.1:2525", smtp).replace("127.0.0.1:8025", http)
                machine.run(re.sub(r"(?<!\w)FILE(?!\w)", file, filled))
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
