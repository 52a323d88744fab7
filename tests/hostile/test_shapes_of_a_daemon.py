"""The hostile suite through the real daemon: each shape that was answered 250 is one contact, and nothing has
ended by it.
"""

from __future__ import annotations

import itertools
import re
import smtplib
from collections import Counter

import pytest
from harness import Daemon, until
from hostile.shapes import SHAPES, SMALL

pytestmark = pytest.mark.process

#: What a mail must not bring about; a reading that took too long is the last rung's, and no fault.
_FAULTS = frozenset({"child.ended", "child.hung", "fault.caught", "worker.faulted"})
#: Mails of one session.
_TOGETHER = 20
#: Attempts of one mail: the first finds it slow, a first death of its worker is tried once more.
_ATTEMPTS = 3


def address_of(number):
    """Whom this shape is sent to: no other is."""
    return f"shape-{number}@example.com"


def batches(shapes):
    """The shapes in order, as many as one session takes, each with its number."""
    numbered = iter(enumerate(shapes))
    while together := list(itertools.islice(numbered, _TOGETHER)):
        yield together


def deliver(box, home, shapes, *, size, seconds):
    """Hand over these shapes, and wait for as many contacts; the contacts of each, and what the daemon has
    logged.
    """
    # Some are one line of a megabyte, which is refused as such (554 5.3.4): here it is to come in.
    with Daemon(home, env=box.environ() | {"RELAY_LIMITS__LINE_BYTES": "2000000"}).start() as daemon:
        for together in batches(shapes):
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=60, local_hostname="client.test") as client:
                for number, name in together:
                    # Bare CR is refused as such (550 5.5.2): as bare LF it is to come in.
                    mail = re.sub(rb"\r(?!\n)", b"\n", SHAPES[name](size))
                    refused = client.sendmail("ada@customer.example", [address_of(number)], mail)
                    assert refused == {}, name
        until(
            lambda: len(box.book) >= len(shapes),
            seconds=seconds,
            so=f"{len(shapes)} contacts: {daemon.log()}",
        )
        events = list(daemon.events)
        assert daemon.stop() == 0
    found = Counter(contact.request["DestinationEmailAddress"] for contact in box.book.select())
    return {name: found[address_of(number)] for number, name in enumerate(shapes)}, events


def check(found, events):
    """Each shape is one contact, after few attempts; no process of the daemon has ended, and no code has
    raised.
    """
    assert {name: count for name, count in found.items() if count != 1} == {}
    assert [line for line in events if line["event"] in _FAULTS] == []
    tried = [
        line for line in events if line["event"] == "delivery.attempted" and line["outcome"] != "postponed"
    ]
    assert [line for line in tried if line["attempt"] > _ATTEMPTS] == []


@pytest.mark.timeout(120)
def test_a_sample_of_hostile_shapes_becomes_contacts(box, tmp_path):
    """One shape in sixteen, a tenth of its size, goes through SMTP and comes out as one contact."""
    check(*deliver(box, tmp_path, list(SHAPES)[::16], size=SMALL // 10, seconds=90))


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_every_hostile_shape_becomes_a_contact(box, tmp_path):
    """Every shape of a megabyte goes through SMTP and comes out as one contact, within three seconds each on
    the whole.
    """
    check(*deliver(box, tmp_path, list(SHAPES), size=SMALL, seconds=3.0 * len(SHAPES)))
