"""The clock of a fleet: the time of AWS, whatever a node's own clock shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from relay.spool.fleet.clock import FleetClock
from relay.spool.records import to_microseconds
from relay.timing import Clocks

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = 1_000_000


class Node:
    """A node whose wall clock is wrong by so many hours."""

    def __init__(self, hours):
        self.passed = 5 * SECOND
        wall = to_microseconds(NOW + timedelta(hours=hours))
        self.clock = FleetClock(Clocks(wall=lambda: wall, passed=lambda: self.passed))

    def hear(self, at, *, seconds=0.01):
        """An answer that was written at that instant, and took some time."""
        asked_at = self.passed
        self.passed += int(seconds * SECOND)
        self.clock.heed(format_datetime(at.replace(microsecond=0), usegmt=True), asked_at=asked_at)


@pytest.mark.parametrize("hours", [-1, 0, 1, 8_760])
def test_nodes_with_clocks_apart_show_one_time(hours):
    """After one answer every node shows the time of AWS, by a second and a half at most."""
    node = Node(hours)
    node.hear(NOW)
    assert abs((node.clock.now() - NOW).total_seconds()) <= 1.5


def test_clock_stands_on_its_own_before_an_answer():
    """Before the first answer it shows the wall clock, and goes on by the steady one."""
    node = Node(0)
    node.passed += 7 * SECOND
    assert node.clock.now() == NOW + timedelta(seconds=7)


def test_answers_do_not_make_it_jump():
    """A `Date` has no fractions: answers within its precision leave the clock as it is."""
    node = Node(0)
    before = node.clock.microseconds() - node.passed
    for milliseconds in range(0, 2_000, 130):
        node.hear(NOW + timedelta(milliseconds=milliseconds), seconds=0.13)
    assert node.clock.microseconds() - node.passed == before


@pytest.mark.parametrize("date", [None, 7, "", "yesterday", "x" * 100, "Mon, 99 Foo 2026 12:00:00 GMT", "0"])
def test_date_that_is_none_is_no_news(date):
    """Whatever stands in the header, the clock goes on."""
    node = Node(0)
    node.clock.heed(date, asked_at=0)
    assert node.clock.now() == NOW
