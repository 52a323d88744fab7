"""A fleet whose nodes die and freeze while every service loses answers and the index is stale: what was
promised arrives, once.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

import pytest
from chaos.fleet.fire import Fire, Postmen
from chaos.fleet.verdict import judge, owed_by, unfinished
from fleet_helpers import run_ministack
from fleet_nodes import Nodes, freeze
from harness import build_mail, until
from sandboxes import fast_sandbox

#: Seconds of a lease: a take-over every few seconds is the point.
LEASE = 2.0
#: Every fifth mail is for two destinations, and every tenth has a file.
TWO = "support@example.com, sales@example.com"
FILE = b"%PDF-1.7\n" + bytes(range(256)) * 40


@dataclass(frozen=True, kw_only=True)
class Dose:
    """How much of it."""

    mails: int
    kills: int
    stops: int
    seed: int
    #: Seconds between two blows.
    pause: tuple[float, float] = (0.5, 2.5)


SHORT = Dose(mails=60, kills=4, stops=1, seed=1)
LONG = Dose(
    mails=int(os.environ.get("FLEET_MAILS", "1000")),
    kills=int(os.environ.get("FLEET_KILLS", "40")),
    stops=int(os.environ.get("FLEET_STOPS", "10")),
    seed=int(os.environ.get("FLEET_SEED", "2")),
)


@pytest.mark.system
@pytest.mark.timeout(500)
def test_nodes_that_die_and_freeze_lose_and_double_nothing(tmp_path):
    """Three nodes, the leader killed or frozen in turn, 5 % of all answers lost, an index that shows the
    past: each mail that got a 250 is one contact for each destination.
    """
    campaign(tmp_path, SHORT)


@pytest.mark.long
@pytest.mark.timeout(3_000)
def test_fleet_under_fire_for_long(tmp_path):
    """The same with a thousand mails, 40 kills and 10 freezes past the lease; FLEET_MAILS, FLEET_KILLS,
    FLEET_STOPS and FLEET_SEED give another dose.
    """
    campaign(tmp_path, LONG)


def campaign(home, dose):
    mails = [
        build_mail(
            f"{dose.seed}-{number}",
            to="support@example.com" if number % 5 else TWO,
            attachment=None if number % 10 else FILE,
        )
        for number in range(dose.mails)
    ]
    patience = 300 + 2 * dose.mails
    (home / "ministack").mkdir()
    with (
        run_ministack(home / "ministack") as url,
        fast_sandbox(seed=dose.seed) as box,
        Fire(box, url, lost=0.05, stale=0.3, seed=dose.seed) as fire,
    ):
        # A dead leader's request may be under way for as long as this, so its entry waits for so long.
        env = {**fire.env, "RELAY_CONNECT__TIMEOUT_SECONDS": "4"}
        fleet = Nodes(home, box, url, count=3, lease=LEASE, env=env)
        try:
            fleet.start()
            postmen = Postmen(
                fleet.nodes,
                mails,
                count=4,
                seed=dose.seed,
                arrived=lambda: len(box.book),
                ahead=40,
            ).start()
            blows = strike(fleet, dose, postmen)
            until(lambda: postmen.is_done, seconds=patience, so="every mail is accepted")
            assert not postmen.errors, postmen.errors
            until(
                lambda: not unfinished(fleet.rows()) and len(box.book) >= len(owed_by(mails)),
                seconds=patience,
                so="every entry is done",
            )
            for node in fleet.nodes:
                assert node.stop() == 0, node.log()
        finally:
            fleet.kill()
        judge(fleet, mails)
        assert 409 not in fire.statuses, "a request was always sent again byte for byte"
        assert len(fire.calls) == len(owed_by(mails)), "each entry has a single token"
        print(
            f"{dose}: {blows}; {postmen.tries} sessions, {postmen.again} repeated; "
            f"slowest 250 after {postmen.slowest:.1f} s; {fire.calls.total()} calls of Connect for "
            f"{len(fire.calls)} tokens, {dict(fire.statuses)}; {dict(fire.struck)}"
        )


def strike(fleet, dose, postmen):
    """Kill and freeze nodes, mostly the leader, until the dose is given. Returns what was done."""
    chance = random.Random(dose.seed)
    blows = [False] * dose.kills + [True] * dose.stops
    chance.shuffle(blows)
    done = {"killed": 0, "killed while leading": 0, "frozen": 0, "frozen while leading": 0}
    for frozen in blows:
        assert not postmen.errors, postmen.errors
        time.sleep(chance.uniform(*dose.pause))  # between two blows
        leader = fleet.leader()
        node = leader if leader and chance.random() < 0.6 else chance.choice(fleet.alive())
        word = "frozen" if frozen else "killed"
        done[word] += 1
        done[f"{word} while leading"] += node is leader
        if frozen:
            freeze(node, frozen=True)
            time.sleep(2.2 * LEASE)  # past its lease, which is the blow itself
            freeze(node, frozen=False)
        else:
            node.kill()
            node.start(wait=False)
    return done
