"""Outages: what proves that a service is away for everyone, who may try meanwhile, and what ends it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.config.model import Deliver
from relay.delivery.outage import Outages
from relay.errors import Blame, FailureClass, RemoteError

LIMITS = Deliver(backoff_min_seconds=5, probe_seconds=60)


def failure(service="s3", *, blame=Blame.SERVICE, code="timeout"):
    return RemoteError(service=service, failure=FailureClass.TEMPORARY, code=code, blame=blame)


def judge(outages, entry_id, *, at, error=None, answered=(), begun_at=None):
    return outages.judge(
        entry_id,
        answered=frozenset(answered),
        error=error,
        begun_at=at if begun_at is None else begun_at,
        now=at,
    )


def away(*, since=0.0, service="s3", entries=(1, 2, 3)):
    outages = Outages(LIMITS)
    for entry in entries:
        judge(outages, entry, at=since, error=failure(service))
    assert list(outages.away) == [service]
    return outages


def test_one_mail_is_never_an_outage():
    """A mail that always runs into the time-out, for its size, say, keeps no other waiting."""
    outages = Outages(LIMITS)
    for at in range(100):
        assert judge(outages, 1, at=at, error=failure()).delay_seconds is None
    assert not outages.away
    assert outages.places(8, now=100) == 8


def test_several_mails_with_no_success_between_are_an_outage():
    """Three different entries prove it, and from then on the failing entries wait shortly and are not given
    up.
    """
    outages = Outages(LIMITS)
    delays = [judge(outages, entry, at=0, error=failure()).delay_seconds for entry in (1, 2, 3, 4)]
    assert delays == [None, None, 17.5, 22.5]
    assert outages.away == {"s3": "s3: timeout"}


def test_a_success_between_takes_the_evidence_away():
    """Where one in three uploads works, the service is there."""
    outages = Outages(LIMITS)
    for entry in range(30):
        error, answered = (None, {"s3"}) if entry % 3 == 2 else (failure(), ())
        judge(outages, entry, at=entry, error=error, answered=answered)
    assert not outages.away


@pytest.mark.parametrize("blame", [Blame.OURS, Blame.REQUEST])
def test_what_is_said_of_a_mail_is_no_evidence(blame):
    """Refusals, and faults of ours, are not the service's absence, however many mails have them."""
    outages = Outages(LIMITS)
    for entry in range(30):
        judge(outages, entry, at=0, error=failure(blame=blame))
    assert not outages.away


def test_a_refusal_ends_an_outage():
    """Who refuses one request is there for the others."""
    outages = away()
    assert judge(outages, 9, at=50, error=failure(blame=Blame.REQUEST)).recalled == (1, 2, 3)
    assert not outages.away


def test_one_service_says_nothing_of_the_other():
    """Connect's success is none of S3's; but both are signed for, so either proves the credentials."""
    outages = away()
    judge(outages, 7, at=1, error=failure(code="credentials"))
    assert set(outages.away) == {"s3", "credentials"}
    assert judge(outages, 8, at=2, answered={"connect"}).recalled == (7,)
    assert set(outages.away) == {"s3"}


def test_probes_come_alone_and_ever_more_seldom():
    """After 5, 10, 20 and 40 seconds, then each 60, one entry may be claimed, and no second while it runs."""
    outages, now, waits = away(), 0.0, []
    for entry in range(10, 16):
        waits.append(outages.wait_seconds(now))
        assert outages.places(8, now=now + waits[-1] - 0.01) == 0
        now += waits[-1]
        assert outages.places(8, now=now) == 1
        outages.claimed(entry, now=now)
        assert outages.places(8, now=now) == 0
        judge(outages, entry, at=now, error=failure())
    assert waits == [5, 10, 20, 40, 60, 60]


def test_those_under_way_at_its_beginning_do_not_slow_the_probes():
    """Eight that fail at once are one beginning, and not seven failed probes."""
    outages = away(entries=range(8))
    assert outages.wait_seconds(0.0) == 5.0


def test_a_probe_that_hangs_keeps_the_others_for_one_step():
    """A mail that takes minutes to fail is not waited for: the next one tries."""
    outages = away()
    outages.claimed(10, now=5.0)
    assert outages.places(8, now=64.0) == 0
    assert outages.places(8, now=65.0) == 1


def test_a_probe_that_never_came_to_the_service_gives_its_turn_back():
    """A mail that needs no S3 says nothing of it: the next one tries at once."""
    outages = away()
    outages.claimed(10, now=5.0)
    judge(outages, 10, at=5.0, answered={"connect"})
    assert outages.places(8, now=5.0) == 1


def test_a_success_recalls_what_was_put_off_once():
    """All that failed by it is due at once; what fails again by itself has its own backoff, and is no
    evidence.
    """
    outages = away()
    assert judge(outages, 4, at=10, answered={"s3"}).recalled == (1, 2, 3)
    assert outages.places(8, now=10) == 8
    for at in range(11, 600):
        for entry in (1, 2, 3):
            assert judge(outages, entry, at=at, error=failure()).delay_seconds is None
    assert not outages.away


def test_what_began_before_a_success_says_nothing_after_it():
    """Time-outs that come in late, of attempts from during the outage, do not begin another."""
    outages = away()
    judge(outages, 4, at=100, answered={"s3"})
    for entry in range(5, 15):
        judge(outages, entry, at=160, begun_at=99, error=failure())
    assert not outages.away


def test_credentials_are_nobodys_mail():
    """One failure proves that they cannot be had; what finds it without mail leaves no turn to mail."""
    outages = Outages(LIMITS)
    assert judge(outages, 1, at=0, error=failure("connect", code="credentials")).delay_seconds is not None
    assert list(outages.away) == ["credentials"]
    for at in range(0, 600, 2):
        outages.lost("credentials", why="no metadata", now=at)
        assert outages.places(8, now=at) == 0
    assert outages.passed("credentials", now=600) == (1,)
    assert outages.places(8, now=600) == 8


def test_a_reload_lets_one_try_at_once():
    """Whoever has mended an endpoint need not wait for the probe."""
    outages = away()
    assert outages.places(8, now=0) == 0
    outages.reload(LIMITS)
    assert outages.places(8, now=0) == 1


@settings(max_examples=20)
@given(causes=st.integers(3, 40), good=st.integers(1, 20))
def test_mails_that_are_the_cause_never_keep_the_others(causes, good):
    """However many mails fail by themselves, and are always chosen first when due, the others all have their
    turn.
    """
    outages, now, due = Outages(LIMITS), 0.0, dict.fromkeys(range(causes), 0.0)
    left = list(range(1_000, 1_000 + good))
    for _ in range(20_000):
        if not left:
            break
        if not outages.places(1, now=now):
            now += outages.wait_seconds(now)
            continue
        cause = next((entry for entry in due if due[entry] <= now), None)
        if cause is None:
            entry = left.pop()
            outages.claimed(entry, now=now)
            for recalled in judge(outages, entry, at=now, answered={"s3"}).recalled:
                due[recalled] = now
        else:
            outages.claimed(cause, now=now)
            delay = judge(outages, cause, at=now, error=failure()).delay_seconds
            due[cause] = now + (delay or 3_600.0)
    assert not left
