"""The promise under SIGKILL: every 250 is exactly one contact a destination, whole, and nothing is there
twice.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from sandboxes import fast_sandbox

sys.path.insert(0, str(Path(__file__).parent.parent))
from crash.campaign import Campaign, strikes_of  # helpers of this folder
from crash.points import NOT_IN_THE_DAEMON, STRIKES, points
from harness import ROOT

#: Of the whole daemon, in the campaign.
KILLS = 500


def test_every_step_is_struck():
    """The campaign knows each fault point of the code, no other, and docs/spool.md names them all."""
    assert {strike.point for strike in STRIKES} == points() - NOT_IN_THE_DAEMON
    text = (ROOT / "docs" / "spool.md").read_text()
    assert [point for point in sorted(points()) if f"`{point}`" not in text] == []


def run(home, report, *, seed, rounds, random_kills, kills=0, thorough=False, programs=False, steps=None):
    """Strike every step (or these) so many times, kill at random between, and hold the end against the
    promise.
    """
    struck = len(steps) if steps is not None else len(strikes_of(thorough=thorough)) - 1
    planned = max(kills, rounds * (struck + random_kills))
    with fast_sandbox(seed=seed) as box:
        campaign = Campaign(home, box, seed=seed)
        campaign.strike(STRIKES[0])  # before any mail: there is no spool yet
        campaign.senders.start()
        if programs:
            campaign.programs.start()
        try:
            for number in range(rounds):
                for strike, nth in strikes_of(thorough=thorough)[1:]:
                    if steps is None or strike.point in steps:
                        campaign.strike(strike, nth=nth)
                        report(campaign.kills, planned)
                for _ in range(random_kills):
                    campaign.kill_at_random()
                    report(campaign.kills, planned)
                print(f"round {number + 1}: {campaign.kills} kills, {len(campaign.arrived())} contacts")
            while campaign.kills < kills:
                campaign.kill_at_random()
                report(campaign.kills, planned)
            mails = campaign.finish()
        finally:
            if campaign.daemon.process and campaign.daemon.process.poll() is None:
                campaign.daemon.kill()
        assert campaign.senders.tries > mails, "no kill ever hit a session: the test has tested nothing"
        return campaign, mails


@pytest.mark.process
@pytest.mark.timeout(180)
def test_kill_on_either_side_of_a_promise(tmp_path, report):
    """SIGKILL between the commit and its 250, and between a contact and its record: nothing is lost, nothing
    is twice.
    """
    steps = {"spool.put.committed", "delivery.after_connect"}
    campaign, _ = run(tmp_path, report, seed=2026, rounds=1, random_kills=0, steps=steps)
    assert set(campaign.struck) == {"spool.migrated", *steps}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kill_at_every_step(tmp_path, report):
    """SIGKILL at each named step and at random, 30 times and more, while mail flows: nothing is lost, nothing
    is twice.
    """
    began = time.monotonic()
    campaign, mails = run(tmp_path, report, seed=2026, rounds=1, random_kills=8)
    assert campaign.kills >= 30
    print(f"{campaign.kills} kills, {mails} mails, {time.monotonic() - began:.0f} s")


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_kill_for_a_long_time(tmp_path, report):
    """The same five hundred times, at later passes of each step too, and under smtp-source and swaks
    besides.
    """
    began = time.monotonic()
    campaign, mails = run(
        tmp_path, report, seed=5, rounds=8, random_kills=12, kills=KILLS, thorough=True, programs=True
    )
    assert campaign.kills >= KILLS
    assert set(campaign.struck) == points() - NOT_IN_THE_DAEMON
    print(f"{campaign.kills} kills, {mails} mails, {time.monotonic() - began:.0f} s")
