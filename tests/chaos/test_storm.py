"""Everything goes wrong at once, for longer than a unit test would wait."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from harness import Daemon, Senders, build_mail, send, sha256, subjects, until
from resources import check_growth
from sandboxes import fast_sandbox

FILE = b"%PDF-1.7\n" + bytes(range(256)) * 100
S3_AWAY_SECONDS = 30.0
#: Mails before anything goes wrong.
FIRST = 20


@pytest.mark.long
@pytest.mark.timeout(600)
def test_storm(tmp_path):
    """S3 away for 30 s, half of all calls throttled, one reply in ten lost: each mail is one contact, and
    SMTP never noticed.
    """
    with fast_sandbox(seed=11) as box:
        with Daemon(tmp_path, env=box.environ(), rate=20, burst=20).start() as daemon:

            def done():
                return len([event for event in daemon.events if event.get("outcome") == "done"])

            # What the first mails bring into memory is no leak.
            for number in range(FIRST):
                send(daemon.port, build_mail(f"before the storm {number}", attachment=FILE))
            until(lambda: done() == FIRST, so="the first mails")
            until(lambda: all(contact.settled for contact in box.book.select()), so="their files")
            box.clear()
            before = daemon.footprints()
            box.chaos(connect={"throttle": 0.5, "lose_reply": 0.1}, s3={"refuse": 1})
            senders = Senders(
                daemon.port,
                count=2,
                make=lambda number: build_mail(number, attachment=FILE),
                arrived=lambda: len(box.book),
                ahead=60,
            ).start()
            time.sleep(S3_AWAY_SECONDS)  # the fault's own duration
            assert len(box.book) == 0
            accepted = len(senders.acknowledged)
            assert accepted >= 60, "mail was not accepted while S3 was away"
            box.chaos(s3={})
            until(lambda: len(senders.acknowledged) > accepted + 20, seconds=120)
            senders.finish(seconds=120)
            sent = senders.acknowledged
            until(lambda: len(box.book) >= len(sent), seconds=300, so=f"{len(sent)} contacts")
            until(lambda: done() >= FIRST + len(sent), seconds=120)
            assert senders.tries == len(sent), "a sender was refused or had to try again"
            until(
                lambda: all(f["sha256"] for c in box.contacts() for f in c["attachments"]), so="files fetched"
            )
            check_growth(before, daemon.footprints())
            assert daemon.stop() == 0
        found = box.contacts()
        assert [subject for subject, count in Counter(subjects(found)).items() if count > 1] == []
        assert sorted(subjects(found)) == sorted(sent)
        assert {file["sha256"] for contact in found for file in contact["attachments"]} == {sha256(FILE)}
        assert not [event for event in daemon.events if event.get("outcome") in ("buried", "held")]
