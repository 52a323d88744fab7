"""The counts of what happened: each once, in names that no sender can make many of."""

from __future__ import annotations

from itertools import pairwise

import pytest

from relay import replies, telemetry
from relay.telemetry.counts import DELAYS, Counted, count_day, count_delay, count_received, take_day_counts
from relay.vocabulary import Disposition, Reply


@pytest.fixture(autouse=True)
def fresh():
    """Counts of other tests in this process are taken away."""
    take_day_counts()


def counted():
    """The counts by name and label."""
    return {(each.name, each.label): each.number for each in take_day_counts()}


def end(reply, disposition, **more):
    """A transaction that ended with this reply."""
    telemetry.transaction_ended(
        disposition=disposition, reply=reply, spool_id="s", message_id=None, reverse_path="a@x.example",
        destinations=["support@example.com"], peer="192.0.2.1", helo=None, protocol="SMTP", tls=None, size=10, seconds=0.1,
        author="b@X.example", **more,
    )  # fmt: skip


def test_each_transaction_is_counted_once():
    """A mail is received, a retransmission, or refused."""
    end(replies.QUEUED, Disposition.ACCEPT)
    end(replies.QUEUED, Disposition.QUARANTINE)
    end(replies.QUEUED, Disposition.ACCEPT, duplicate=True)
    end(replies.fill(replies.TOO_BIG, octets=5), Disposition.REJECT)
    assert counted() == {
        ("received", "x.example"): 2,
        ("octets", ""): 20,
        ("quarantined", ""): 1,
        ("duplicate", ""): 1,
        ("refused.mail", str(replies.TOO_BIG)): 1,
    }
    assert counted() == {}


def test_refused_recipient_is_no_refused_command_besides():
    """The refusal of RCPT, which is told as a command's too, counts as a recipient's alone; MAIL's as a
    sender's.
    """
    refusal = replies.UNKNOWN_RECIPIENT
    for said in ("RCPT TO:<x@y>", "DATA", "NOOP"):
        telemetry.command_refused(peer="p", reply=refusal, reference="r", again=True, said=said)
    telemetry.recipient_refused(
        peer="p", forward_path="x@y", said="RCPT", reply=refusal, spool_id="s", again=False
    )
    telemetry.command_refused(
        peer="p", reply=replies.BAD_SENDER, reference="r", again=True, said="mail from:x"
    )
    assert counted() == {
        ("refused.recipient", str(refusal)): 1,
        ("refused.sender", str(replies.BAD_SENDER)): 1,
    }


def test_every_refusal_has_a_name_of_the_table():
    """Each row names itself, with its words filled in or not; a handler's own text is named by its code."""
    for row in replies.ROWS:
        if row.reply.code >= 400:
            filled = replies.fill(row.reply, octets=1, hello="EHLO", spool_id="s")
            assert replies.name_refusal(filled) == str(row.reply)
    assert replies.name_refusal(Reply(550, "1.1", "x" * 400)) == "550 (handler)"


def test_flood_of_domains_ends_in_one_name():
    """Made-up domains do not grow a process, and nothing else is lost for them."""
    for number in range(6_000):
        count_received(f"a@d{number}.example", 1)
    count_day(Counted.HELD, "policy.spf.fail")
    found = counted()
    assert (found["received", "other"], found["held", "policy.spf.fail"]) == (1_000, 1)


def test_delay_is_in_its_range_and_the_longest_is_kept():
    """A range ends at most a quarter above the delay; a delay past all, or before none, has a range, too."""
    for seconds in (-1.0, 0.0, 0.9, 0.95, 1e9):
        count_delay(seconds)
    found = {int(each.label): (each.number, each.most) for each in take_day_counts()}
    assert found == {100: (2, 0), 1000: (2, 950), DELAYS[-1]: (1, 10**12)}
    assert all(after / before < 1.27 for before, after in pairwise(DELAYS))
