"""Workers that are killed from outside, at any moment: each mail is one contact, and the pool recovers."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from harness import Daemon, build_mail, send, subjects, until
from understanding import children_of

pytestmark = [pytest.mark.process, pytest.mark.long]

MAILS = 60


def workers_of(pid):
    """The templates and workers below a process."""
    for child in children_of(pid):
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "understand\n" or (
                b"relay.understand" in Path(f"/proc/{child}/cmdline").read_bytes()
            ):
                yield child
        yield from workers_of(child)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_workers_killed_at_every_moment(box, tmp_path, seed):
    """While workers are killed several times a second, and after it, no mail is lost, doubled or stuck."""
    rng = random.Random(seed)
    calm = threading.Event()

    def strike(pid):
        while not calm.wait(rng.random() * 0.25):
            found = list(workers_of(pid))
            if found:
                with suppress(OSError):
                    os.kill(rng.choice(found), signal.SIGKILL)

    with Daemon(tmp_path, env=box.environ()).start() as daemon:
        striking = threading.Thread(target=strike, args=(daemon.process.pid,))
        striking.start()
        for number in range(MAILS):
            file = b"%PDF-1.7\n" + rng.randbytes(2_000_000 if number % 3 else 200_000)
            send(daemon.port, build_mail(number, attachment=file))
        calm.wait(10)  # the attack itself: as long as it takes
        calm.set()
        striking.join()
        until(lambda: len(box.book) >= MAILS, seconds=120, so=daemon.log())
        assert daemon.stop() == 0
        assert all(line["code"] == 0 for line in daemon.events if line["event"] == "child.ended")
    assert sorted(subjects(box.contacts())) == sorted(f"Mail {number}" for number in range(MAILS))
