"""A machine is lost between a backup and its next: the restored daemon delivers what was owed, once."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
from harness import Daemon, build_mail, send, subjects, until
from sandboxes import fast_settings

from relay.sandbox.service import running_sandbox

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def test_backup_under_load_and_a_lost_machine(tmp_path):
    """Mail flows while the backup is made; the machine is lost with what it delivered since; nothing that was
    accepted before the backup is missing from Connect, and nothing is there twice.
    """
    with (
        running_sandbox(settings=fast_settings(), seed=1) as box,
        Daemon(tmp_path, env=box.environ()) as daemon,
    ):
        daemon.start()
        box.chaos({"connect": {"throttle": 1.0}})
        before = [f"before {number}" for number in range(10)]
        for name in before:
            send(daemon.port, build_mail(name))
        archive = tmp_path / "spool.tar.gz"
        said = back_up_under_load(daemon, archive)
        assert "waiting" in said.stdout, said.stderr
        # What goes out after the backup is not known to it.
        box.chaos({})
        wanted = {f"Mail {name}" for name in before}
        until(lambda: wanted <= set(subjects(box.contacts())), seconds=60)
        daemon.kill()
        shutil.rmtree(daemon.data_dir)
        restored = daemon.run("restore", str(archive))
        assert "in doubt since" in restored.stdout, restored.stderr
        daemon.start()
        until(lambda: json.loads(daemon.run("queue", "list", "--json").stdout) == [], seconds=60)
        assert daemon.stop() == 0
        arrived = subjects(box.contacts())
    assert sorted(set(arrived)) == sorted(arrived)
    assert wanted <= set(arrived)


def back_up_under_load(daemon, archive):
    """The words of `relay backup`, while mail comes in."""
    stop = threading.Event()
    sent = []

    def flow():
        while not stop.is_set():
            sent.append(f"during {len(sent)}")
            send(daemon.port, build_mail(sent[-1]))

    sender = threading.Thread(target=flow)
    sender.start()
    try:
        until(lambda: len(sent) > 2)
        return daemon.run("backup", str(archive))
    finally:
        stop.set()
        sender.join()
