"""The queue for the slow lane: who is next, and when somebody is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from spool_helpers import NOW

from relay.delivery.lane import LaneQueue
from relay.envelope import Envelope, Peer


def entry(reference, *, peer="192.0.2.1", role="mx", sender="ada@customer.example"):
    """An entry of this reference, as far as the queue looks at it."""
    envelope = Envelope(
        reverse_path=sender,
        forward_paths=(),
        peer=Peer(address=peer, port=25, role=role),
        received_at=NOW,
    )
    return SimpleNamespace(reference=reference, envelope=envelope)


def calls(queue, count):
    """The next calls, a second apart."""
    return [queue.call(now=float(number)) for number in range(count)]


def test_networks_have_turns():
    """A flood from one network keeps the slow mail of another waiting for one mail, not for all of them."""
    queue = LaneQueue()
    for number in range(100):
        queue.put_off(entry(f"flood.{number}", peer=f"192.0.2.{number}"))
    queue.put_off(entry("other.1", peer="2001:db8:1::1"))
    assert calls(queue, 4) == ["flood.0", "other.1", "flood.1", "flood.2"]


def test_domains_have_turns_behind_a_trusted_listener():
    """All mail of a trusted listener comes from one peer: there the domains of reverse-paths have turns."""
    queue = LaneQueue()
    for number in range(3):
        queue.put_off(entry(f"a.{number}", role="trusted", sender="x@a.example"))
    queue.put_off(entry("b.0", role="trusted", sender="x@B.example"))
    assert calls(queue, 5) == ["a.0", "b.0", "a.1", "a.2", None]


def test_only_who_was_called_may_begin():
    """An entry that waits may not begin before its call, and needs none once it has been called."""
    queue = LaneQueue()
    first = entry("a.1")
    assert queue.may_begin(first)
    queue.put_off(first)
    queue.put_off(first)  # due by itself, and put off again: it is there once
    assert not queue.may_begin(first)
    assert calls(queue, 2) == ["a.1", None]
    assert queue.may_begin(first)
    assert len(queue) == 0


def test_who_was_called_in_vain_is_next():
    """An entry that finds the lane taken in spite of its call is the first of its network again."""
    queue = LaneQueue()
    one, two = entry("a.1"), entry("a.2")
    queue.put_off(one)
    queue.put_off(two)
    assert queue.call(now=0.0) == "a.1"
    queue.put_off(one)
    assert calls(queue, 1) == [None]  # too soon
    assert queue.call(now=1.0) == "a.1"


@pytest.mark.parametrize("count", [1, 10, 20_000])
def test_due_by_itself_within_ten_minutes(count):
    """However many wait, each is due by itself within ten minutes, and all together hardly more than once a
    second.
    """
    queue = LaneQueue()
    seconds = [queue.put_off(entry(f"a.{number}")) for number in range(count)]
    assert seconds[-1] == min(30.0 + count, 600.0)
    assert len(queue) == min(count, 10_000)
