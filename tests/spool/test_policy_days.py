"""The counts of days: both halves add to them, a flood of domains does not grow them, a year ends them."""

from __future__ import annotations

import contextlib

from spool_helpers import build_config

from relay.spool.local.days import MOST_DOMAINS
from relay.spool.model import DayCount, PolicyCount
from relay.spool.opening import open_desk, open_intake, open_outbox


def count(day="2026-11-29", *, domain="bank.example", mails=1, rule="spf.fail", observe=False):
    """A count of one rule of one route."""
    return PolicyCount(day, rule, "reject", observe, "desk", domain, mails)


def read(config, since="2026-01-01"):
    """What an operator is shown."""
    with contextlib.closing(open_desk(config)) as desk:
        return desk.policy_counts(since=since)


async def test_receivers_and_the_deliverer_add_to_the_same_days(tmp_path):
    """What was noted before the end is on disk after it, added up over days and processes."""
    config = build_config(tmp_path)
    intake = open_intake(config)
    intake.note_counts([count(mails=2), count("2026-11-28", mails=3), count(observe=True)])
    await intake.close()
    outbox = open_outbox(config)
    await outbox.add_counts([count(mails=10)])
    await outbox.close()
    assert read(config) == [count("", mails=15), count("", observe=True)]
    assert read(config, "2026-11-29") == [count("", mails=12), count("", observe=True)]


async def test_a_thousand_domains_of_a_day_are_counted_by_name(tmp_path):
    """A flood of made-up domains is one row, and a domain that was there before is counted by name."""
    config = build_config(tmp_path)
    outbox = open_outbox(config)
    for at in range(0, 3_000, 1_000):
        await outbox.add_counts([count(domain=f"d{number}.example") for number in range(at, at + 1_000)])
    await outbox.add_counts([count(domain="d0.example")])
    await outbox.close()
    found = {each.domain: each.mails for each in read(config)}
    assert len(found) == MOST_DOMAINS + 1
    assert (found["other"], found["d0.example"]) == (2_000, 2)


async def test_days_over_a_year_old_are_forgotten(tmp_path):
    """A write forgets the days that are more than a year before it."""
    config = build_config(tmp_path)
    outbox = open_outbox(config)
    await outbox.add_counts([count("2025-11-01"), count("2025-12-01")])
    await outbox.add_counts([count("2026-11-29")])
    await outbox.close()
    (only,) = read(config, "2020-01-01")
    assert only.mails == 2


async def test_days_keep_what_happened_and_the_most(tmp_path):
    """Both halves add to one number, the largest measure stays, and labels past a thousand are one."""
    config = build_config(tmp_path)
    intake = open_intake(config)
    intake.note_counts([DayCount("2026-11-29", "delay", "1000", 2, 900), count()])
    await intake.close()
    outbox = open_outbox(config)
    await outbox.add_counts([DayCount("2026-11-29", "delay", "1000", 1, 850)])
    await outbox.add_counts([DayCount("2026-11-28", "held", f"r{number}", 1) for number in range(1_002)])
    await outbox.add_counts([DayCount("2025-11-01", "held", "old", 1)])
    await outbox.add_counts([DayCount("2026-11-29", "dead", "r", 1)])
    await outbox.close()
    with contextlib.closing(open_desk(config)) as desk:
        assert desk.day_counts(since="2026-11-29") == [
            DayCount("", "dead", "r", 1),
            DayCount("", "delay", "1000", 3, 900),
        ]
        before = desk.day_counts(since="2020-01-01", until="2026-11-28")
    assert (len(before), before[0]) == (MOST_DOMAINS + 1, DayCount("", "held", "other", 2))
