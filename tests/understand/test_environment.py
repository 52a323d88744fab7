"""What a worker has of the daemon's environment: no key of anybody's, however it was started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT

from relay.config.builtin import builtin_config
from relay.understand.environment import pack_config, select_variables
from relay.understand.process import TemplateProcess

pytestmark = pytest.mark.process

SECRET = "wJalrXUtnFEMI"
KEYS = {"AWS_SECRET_ACCESS_KEY": SECRET, "RELAY_ALARMS__WEBHOOK_KEY": SECRET, "ANYTHING": SECRET}


def environ_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_template_that_is_a_program_is_given_no_key(monkeypatch):
    """A template that is started anew, by a receiver or after a death, has little of the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    template = await TemplateProcess.start("relay.understand")
    try:
        seen = environ_of(template.pid)
    finally:
        await template.stop()
    assert SECRET.encode() not in seen
    assert b"PATH=" in seen


FORKED = """
import os, sys, time
from pathlib import Path
from relay.understand.forked import fork_template
template = fork_template()
own = Path("/proc/self/environ").read_bytes()
theirs = Path(f"/proc/{template.process.pid}/environ")
for _ in range(3000):
    if theirs.read_bytes() != own:
        break
    time.sleep(0.01)
sys.stdout.buffer.write(theirs.read_bytes().replace(b"\\0", b""))
assert "wJalr" in os.environ["ANYTHING"] and own.count(b"wJalr") == 3
"""

ALONE = """
import os, sys
from pathlib import Path
from relay.config.builtin import builtin_config
from relay.understand.alone import LoneWorker
from relay.understand.attendance import Call
from relay.understand.folder import open_memory
from relay.understand.reading import build_allowance

def look(mail):
    seen = Path("/proc/self/environ").read_bytes() + repr([dict(os.environ), mail.config.alarms.webhook]).encode()
    return {"clean": b"wJalr" not in seen, "path": "PATH" in os.environ}

config = builtin_config(alarms={"webhook": "https://hooks.example.com/wJalrXUtnFEMI"})
with LoneWorker(look) as worker:
    call = Call(job="", order={}, raw=open_memory(b"x"), files=os.open("/dev/null", os.O_RDWR), size=1, config=config,
        allowance=build_allowance(config), spool_id="")
    print(worker.run(call))
assert "wJalr" in os.environ["ANYTHING"]
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | KEYS | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_template_that_was_forked_forgets_the_keys():
    """The first template shares the daemon's memory, and removes what it has of the environment there."""
    assert SECRET not in run(FORKED)


def test_worker_of_a_command_forgets_the_keys():
    """The worker of `relay explain` is as poor, and the command itself keeps its environment."""
    assert run(ALONE).strip() == "{'clean': True, 'path': True}"


def test_configuration_of_a_worker_has_no_secret():
    """The key and the address of the webhook stay with who posts alarms."""
    webhook = {"webhook": f"https://hooks.slack.example/{SECRET}", "webhook_preset": "slack"}
    assert SECRET not in repr(pack_config(builtin_config(alarms=webhook)))


def test_what_programs_need_is_kept():
    """Libraries, language, zone and fault points are found as before."""
    kept = {"PATH": "p", "LANG": "l", "LC_ALL": "c", "TZ": "z", "PYTHONPATH": "y", "RELAY_FAULT_POINT": "f"}
    assert select_variables(kept | KEYS | {"RELAY_S3__BUCKET": "b"}) == kept
