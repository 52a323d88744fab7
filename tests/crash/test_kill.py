"""The promise under SIGKILL: every 250 is exactly one contact, and nothing is there twice."""

from __future__ import annotations

import random
import time

import pytest
from harness import Daemon, Senders, build_mail, sha256, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

FILE = b"%PDF-1.7\n" + random.Random(7).randbytes(30_000)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_kill_at_random_moments(tmp_path):
    """Thirty SIGKILLs of the whole daemon while mail flows: each acknowledged mail is one contact with its file."""
    rng = random.Random(2026)
    settings = settings_of(builtin_config(), requests_per_second=1_000.0, burst=1_000)
    with running_sandbox(settings=settings) as box:
        daemon = Daemon(tmp_path, env=box.environ(), receivers=1)
        senders = Senders(
            daemon.port,
            count=3,
            make=lambda number: build_mail(number, attachment=FILE),
            arrived=lambda: len(box.book),
        ).start()
        for number in range(30):
            # Every third kill may strike before the daemon is up; the others strike a working one.
            daemon.start(wait=number % 3 != 0)
            time.sleep(rng.uniform(0.0, 1.2))
            daemon.kill()
        with daemon.start():
            senders.finish()
            sent = sorted(senders.acknowledged)
            until(lambda: len(box.contacts()) >= len(sent), seconds=60, so=f"{len(sent)} contacts")
            until(
                lambda: all(len(c["attachments"]) == 1 for c in box.contacts()),
                seconds=30,
                so="all files fetched",
            )
            assert daemon.stop() == 0
        found = box.contacts()
        assert sorted(c["request"]["EmailMessage"]["RawMessage"]["Subject"] for c in found) == sent
        assert {file["sha256"] for contact in found for file in contact["attachments"]} == {sha256(FILE)}
        assert senders.tries > len(sent), "no kill ever hit a session: the test has tested nothing"
