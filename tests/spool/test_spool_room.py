"""The gauge: quotas, and one look a second at most."""

from __future__ import annotations

from dataclasses import replace

import pytest
from spool_helpers import NOW, build_submission, claim_one, later

from relay.config.model import SpoolSection
from relay.spool.local.layout import Layout
from relay.spool.local.room import Room
from relay.spool.records import to_microseconds


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def build(spool, intake, clock):
    """A gauge with these limits, and none else."""
    gauges = []

    def build(*, wall=0.0, **limits):
        limits = {"min_free_bytes": 0, "min_free_inodes": 0, **limits}
        layout = Layout(data_dir=spool.config.data_dir)
        gauge = Room(
            layout, SpoolSection(**limits), monotonic=clock, clock=lambda: to_microseconds(later(wall))
        )
        gauges.append(gauge)
        return gauge

    yield build
    for gauge in gauges:
        gauge.close()


async def test_looks_once_a_second(intake, build, clock):
    """What others put is seen at the next look; what was put here is counted at once."""
    gauge = build(max_entries=2)
    assert gauge.fits(1)
    await intake.put(build_submission(intake.new_id()))
    await intake.put(build_submission(intake.new_id()))
    assert gauge.fits(1)
    clock.at += 1.0
    assert not gauge.fits(1)


async def test_counts_what_it_let_in(build, clock):
    """Between two looks no more is let in than there was room for."""
    gauge = build(max_bytes=1_000)
    assert gauge.fits(1_000)
    gauge.took(600, 1)
    assert not gauge.fits(401)
    assert gauge.fits(400)
    clock.at += 1.0
    assert gauge.fits(1_000)


async def test_finished_and_dead_entries_are_not_counted(intake, outbox, build):
    """max_entries is about what still has to be delivered."""
    await intake.put(build_submission(intake.new_id()))
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    await intake.put(build_submission(intake.new_id()))
    await outbox.bury(await claim_one(outbox), reason="r", detail="", now=NOW)
    assert build(max_entries=1).fits(1)


@pytest.mark.parametrize(
    ("limits", "lacks"),
    [
        ({}, False),
        ({"max_bytes": 1_450}, True),  # the largest would not fit beside it
        ({"max_bytes": 1_550}, False),
        ({"max_bytes": 900}, True),  # a quota that the largest fills alone: half of it
        ({"max_bytes": 3_200, "size": 2_600}, True),  # four fifths
        ({"min_free_bytes": 10**18}, True),
    ],
)
async def test_finished_mail_goes_before_room_is_gone(intake, outbox, build, limits, lacks):
    """Room is short when a largest mail finds none any more, or a fifth is left; nothing goes that is not
    finished.
    """
    limits = dict(limits)
    body = b"x" * (limits.pop("size", 1_000) - len(b"Received: from x\r\n"))
    await intake.put(build_submission(intake.new_id(), body=body))
    gauge = build(**limits)
    assert not gauge.lacks_room(largest=500)
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    assert gauge.lacks_room(largest=500) == lacks


@pytest.mark.parametrize(("age_seconds", "fits"), [(3_599, True), (3_601, False)])
async def test_old_backlog_closes_the_door(intake, build, age_seconds, fits):
    """When the oldest queued entry is older than max_age_hours, new mail is put off."""
    gauge = build(max_age_hours=1.0, wall=age_seconds)
    await intake.put(build_submission(intake.new_id()))
    assert gauge.fits(1) == fits


async def test_free_pages_are_room(intake, outbox, build):
    """Space freed within the database is not lost to mail."""
    for number in range(20):
        await intake.put(build_submission(intake.new_id(), body=b"%100000d" % number))
    gauge = build()
    assert gauge._take().freed_bytes < 100_000
    for entry in await outbox.claim(now=NOW, limit=50, lease_seconds=60):
        await outbox.finish(entry, contact_id="c", now=NOW)
    await outbox.expire(now=NOW.replace(year=NOW.year + 1))
    look = gauge._take()
    assert look.freed_bytes > 1_000_000
    tight = build(min_free_bytes=1_000)
    tight._look = replace(look, free_bytes=0)
    assert tight.fits(look.freed_bytes - 1_000)
    assert not tight.fits(look.freed_bytes)


async def test_unreadable_spool_lets_put_tell(spool, build, clock):
    """When nothing can be seen the answer is left to `put`, which knows the reason."""
    gauge = build(max_entries=1)
    (spool.config.data_dir / "spool" / "spool.db").rename(spool.config.data_dir / "elsewhere")
    assert gauge.fits(1)
    assert not gauge.intake_paused()
