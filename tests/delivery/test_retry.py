"""The treatment of each class of failure, and the arithmetic of backoff."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Deliver
from relay.delivery.retry import (
    AlreadyThere,
    Bury,
    HoldEntry,
    HoldRoute,
    Retry,
    backoff_seconds,
    decide_failure,
    next_rung,
)
from relay.errors import FailureClass
from relay.vocabulary import Rung

LIMITS = Deliver()
FOUR_DAYS = 96 * 3_600
MIDDLE = 0.5  # the chance at which the spread is nil


def decide(failure, *, attempt=1, age=0.0, chance=MIDDLE):
    return decide_failure(failure, attempt=attempt, age_seconds=age, limits=LIMITS, chance=chance)


@pytest.mark.parametrize(
    ("failure", "attempt", "age", "decision"),
    [
        (FailureClass.TEMPORARY, 1, 0, Retry(delay_seconds=5)),
        (FailureClass.TEMPORARY, 2, 0, Retry(delay_seconds=10)),
        (FailureClass.TEMPORARY, 11, 0, Retry(delay_seconds=3_600)),  # 5 * 2**10 is more than the hour
        (FailureClass.TEMPORARY, 11, FOUR_DAYS + 1, Bury(reason="too_old")),
        (FailureClass.THROTTLED, 1, 0, Retry(delay_seconds=5)),
        (FailureClass.THROTTLED, 100, 0, Retry(delay_seconds=30)),  # the pace slows, the mail is not to blame
        (FailureClass.THROTTLED, 1, FOUR_DAYS + 1, Bury(reason="too_old")),
        (FailureClass.CAPACITY, 1, 0, Retry(delay_seconds=300)),  # minutes: agents make room
        (FailureClass.CAPACITY, 1, FOUR_DAYS + 1, Bury(reason="too_old")),
        (FailureClass.PAYLOAD, 1, 0, Bury(reason="payload_refused")),
        (FailureClass.CONFIGURATION, 1, 0, HoldRoute(delay_seconds=60)),
        (FailureClass.CONFIGURATION, 900, FOUR_DAYS + 1, HoldRoute(delay_seconds=60)),  # never buried
        (FailureClass.CONFLICT, 1, 0, HoldEntry(reason="conflict_unexplained")),
    ],
)
def test_decision_by_class(failure, attempt, age, decision):
    """Each class of failure has the treatment of docs/flow.md, "Delivery"."""
    assert decide(failure, attempt=attempt, age=age) == decision


def test_explained_conflict_is_done():
    """Where this relay has sent the token before, the contact is there; where it has not, a person looks."""
    limits, chance = LIMITS, MIDDLE
    for explained, decision in ((True, AlreadyThere()), (False, HoldEntry(reason="conflict_unexplained"))):
        found = decide_failure(
            FailureClass.CONFLICT, attempt=1, age_seconds=0, limits=limits, chance=chance, explained=explained
        )
        assert found == decision


@pytest.mark.parametrize("failure", list(FailureClass))
def test_every_class_is_decided(failure):
    """No class of failure is without a decision, whatever the age."""
    assert decide(failure, age=FOUR_DAYS * 2) is not None


def test_ladder_ends():
    """Full, trimmed, text, the original, and nothing after it."""
    assert [next_rung(rung) for rung in Rung] == [Rung.TRIMMED, Rung.TEXT, Rung.ORIGINAL, None]


@given(st.integers(min_value=0, max_value=10**6), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_backoff_is_bounded(attempt, chance):
    """Backoff is finite at any attempt, and within a quarter of its bounds."""
    seconds = backoff_seconds(attempt, limits=LIMITS, chance=chance)
    assert math.isfinite(seconds)
    assert 0.75 * LIMITS.backoff_min_seconds <= seconds <= 1.25 * LIMITS.backoff_max_seconds


@given(st.integers(min_value=1, max_value=5_000))
def test_backoff_never_falls(attempt):
    """Before the spread, a later attempt never waits less."""
    earlier = backoff_seconds(attempt, limits=LIMITS, chance=MIDDLE)
    assert backoff_seconds(attempt + 1, limits=LIMITS, chance=MIDDLE) >= earlier
