"""How far the wall clock was set, as one sees from a clock that nobody can set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.delivery.clock import ClockSteps

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wall_seconds", "steady_seconds", "step_seconds"),
    [
        (0, 0, 0),
        (1_000, 1_000, 0),  # both went on
        (1_001.9, 1_000, 0),  # slewed, or looked at one after the other
        (998.1, 1_000, 0),
        (4_600, 1_000, 3_600),
        (-2_600, 1_000, -3_600),
        (1_002, 1_000, 2),
    ],
)
def test_step_is_what_one_clock_went_more_than_the_other(wall_seconds, steady_seconds, step_seconds):
    """What both clocks went is time; the difference is somebody's doing, told once."""
    steps = ClockSteps()
    assert steps.see(wall=NOON, steady=50.0) == timedelta(0)
    wall, steady = NOON + timedelta(seconds=wall_seconds), 50.0 + steady_seconds
    assert steps.see(wall=wall, steady=steady) == timedelta(seconds=step_seconds)
    assert steps.see(wall=wall + timedelta(seconds=1), steady=steady + 1.0) == timedelta(0)


def test_slow_drift_is_no_step():
    """A clock that goes wrong by a second a minute is never taken for one that was set."""
    steps = ClockSteps()
    for minute in range(100):
        wall = NOON + timedelta(seconds=61 * minute)
        assert steps.see(wall=wall, steady=60.0 * minute) == timedelta(0)
