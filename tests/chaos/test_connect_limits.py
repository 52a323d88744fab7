"""A backlog before a Connect that counts as the real one does: two calls a second, five at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from harness import Daemon, build_mail, send, subjects, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

FILE = b"%PDF-1.7\n" + bytes(range(256)) * 100
RATE, BURST = 2.0, 5  # Amazon Connect service quotas


def deliver_backlog(home, mails, report):
    """Hand over so many mails at once; when each contact came, in seconds from the first."""
    settings = settings_of(builtin_config(), requests_per_second=RATE, burst=BURST)
    with (
        running_sandbox(settings=settings) as box,
        Daemon(home, env=box.environ(), rate=RATE, burst=BURST).start() as daemon,
    ):
        for number in range(mails):
            send(daemon.port, build_mail(number, attachment=FILE if number % 10 == 0 else None))

        def arrived():
            report(len(box.book), mails)
            return len(box.book) >= mails

        until(arrived, seconds=30 + mails / RATE, so=f"{mails} contacts")
        assert daemon.stop() == 0
        outcomes = [line for line in daemon.events if line.get("event") == "delivery.attempted"]
        assert sorted(subjects(box.contacts())) == sorted(f"Mail {number}" for number in range(mails))
        assert [line for line in outcomes if line["outcome"] != "done"] == [], "a call was refused"
        instants = [contact.received_at.timestamp() for contact in box.book.select()]
    return [at - instants[0] for at in instants]


@pytest.mark.slow
def test_backlog_of_seconds(tmp_path, report):
    """Two dozen mails come through at two a second, and not one call is answered 429."""
    last = deliver_backlog(tmp_path, 24, report)[-1]
    # As many as may go at once do so or do not: that is for the pace of the mails to say, and of the machine.
    assert (24 - BURST) / RATE - 0.5 <= last <= 23 / RATE + 1.5


@pytest.mark.long
@pytest.mark.timeout(600)
def test_backlog_of_minutes(tmp_path, report):
    """Four hundred mails likewise, evenly: no half minute is slower than another, and none is faster by more
    than what a machine that was kept waiting makes up for, the tokens that it kept.
    """
    instants = deliver_backlog(tmp_path, 400, report)
    assert (len(instants) - 1) / instants[-1] == pytest.approx(RATE, abs=0.1)
    for early, late in pairwise(instants[::60]):
        assert (60 - (BURST - 1)) / RATE - 0.5 <= late - early <= 60 / (RATE - 0.1)
