"""The breaker of a scanner that is away."""

from __future__ import annotations

from relay.scan.breaker import Breaker


def test_opens_after_failures_in_a_row():
    """Three failures in a row open it, and an answer between them begins the count anew."""
    breaker = Breaker(failures=3, seconds=10)
    for answered in (False, False, True, False, False):
        breaker.record(answered=answered, now=0)
        assert breaker.allows(0)
    breaker.record(answered=False, now=0)
    assert not breaker.allows(9.9)


def test_one_probe_at_a_time():
    """An open breaker lets one mail through in its time; its answer closes it, its failure does not."""
    breaker = Breaker(failures=1, seconds=10)
    breaker.record(answered=False, now=0)
    assert breaker.allows(10)
    assert not breaker.allows(10)
    breaker.record(answered=False, now=11)
    assert not breaker.allows(20.9)
    assert breaker.allows(21)
    breaker.record(answered=True, now=21)
    assert breaker.allows(21)
    assert breaker.allows(21)
