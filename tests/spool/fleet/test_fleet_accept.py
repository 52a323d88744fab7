"""The transaction that accepts a mail in a fleet, and what its failure means."""

from __future__ import annotations

import pytest
from spool_helpers import build_destination, build_submission

from relay.aws.database import Check, Put, Reason
from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.fleet.accept import MOST_WAYS, build_actions, plan, read_reasons
from relay.spool.fleet.encoding import build_guard, build_mail, parse_entry
from relay.spool.model import PolicyHold, State

FINE = Reason(code="None", item=None)


def planned(spool_id="A" * 16, *, op="op", number=2, **words):
    """The records of a mail for some destinations."""
    to = tuple(build_destination(f"a{each}@example.com") for each in range(number))
    holds = words.pop("holds", ())
    mail = build_submission(spool_id, body=b"same", message_id="<m@x>", destinations=to, **words)
    return plan(
        mail._replace(holds=holds), trace_sha256=b"", is_reply=False, window_hours=1, node="mx1", op=op
    )


def test_actions_are_the_mail_and_two_for_each_way():
    """A mail, its entries and their guards are one transaction; a later one asks for the mail."""
    mail = planned()
    first = build_actions(mail, mail.ways, is_first=True)
    later = build_actions(mail, mail.ways[:1], is_first=False)
    assert [type(each) for each in first] == [Put] * 5
    assert [type(each) for each in later] == [Check, Put, Put]
    assert 1 + 2 * MOST_WAYS <= 100


def test_our_own_commit_is_known_by_its_operation():
    """The condition of a repeated transaction fails on its own mail: that is a success."""
    mail = planned()
    reasons = [Reason(code="ConditionalCheckFailed", item=build_mail(mail.mail)), *[FINE] * 4]
    assert read_reasons(mail, mail.ways, reasons).is_ours


def test_our_own_commit_is_known_by_its_guard():
    """In a later transaction of a mail only the guards tell that it was made already."""
    mail = planned()
    reasons = [
        FINE,
        FINE,
        Reason(code="ConditionalCheckFailed", item=build_guard(mail.ways[0].guard)),
        FINE,
        FINE,
    ]
    assert read_reasons(mail, mail.ways, reasons).is_ours


def test_record_of_another_mail_is_no_success():
    """An id that another mail has, or a tombstone of the janitor's, is never taken for our own commit."""
    mail, other = planned(), planned(op="other")
    for item in (build_mail(other.mail), {"pk": "M#x", "sk": "M", "st": "condemned"}):
        verdict = read_reasons(
            mail, mail.ways, [Reason(code="ConditionalCheckFailed", item=item), *[FINE] * 4]
        )
        assert verdict.fault
        assert not verdict.is_ours


def test_guard_of_another_mail_makes_its_way_a_duplicate():
    """Only the ways that an earlier mail went are duplicates, and they name it."""
    mail, earlier = planned(), planned("B" * 16, op="earlier")
    refused = Reason(code="ConditionalCheckFailed", item=build_guard(earlier.ways[1].guard))
    verdict = read_reasons(mail, mail.ways, [FINE, FINE, FINE, FINE, refused])
    assert (verdict.is_ours, verdict.earlier, verdict.fault) == (False, {2: "B" * 16}, "")


def test_guard_that_says_nothing_is_a_fault():
    """Without the item that stood in the way, or with one that is none, nobody is told a 250."""
    mail = planned()
    silent = [FINE, FINE, Reason(code="ConditionalCheckFailed", item=None), FINE, FINE]
    assert read_reasons(mail, mail.ways, silent).fault
    torn = [FINE, FINE, Reason(code="ConditionalCheckFailed", item={"pk": "G#x"}), FINE, FINE]
    with pytest.raises(SpoolCorruptError):
        read_reasons(mail, mail.ways, torn)


def test_way_of_a_route_that_refuses_is_held():
    """Its entry is in the queue of held ones from the beginning, and says why."""
    hold = PolicyHold(route="support", reason="policy.x", detail="why")
    mail = planned(number=1, holds=(hold,))
    entry = parse_entry(build_actions(mail, mail.ways, is_first=True)[1].item)
    assert (entry.state, entry.reason, entry.queue) == (State.HELD, "policy.x", "held")
    assert [(each.event, each.reason) for each in entry.history] == [("held", "policy.x")]


def test_mail_that_no_record_holds_is_refused():
    """Half of a surrogate pair in the envelope is refused before anything is sent."""
    with pytest.raises(SpoolError, match="cannot be stored"):
        planned(reverse_path="\udc80@x.example")
