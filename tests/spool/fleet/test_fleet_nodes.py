"""Nodes of a fleet as whole daemons: each accepts, one delivers, and one that is killed loses nothing."""

from __future__ import annotations

import pytest
from fleet_helpers import run_ministack
from fleet_nodes import Nodes
from harness import Senders, build_mail, until
from sandboxes import fast_sandbox

#: Seconds of a lease. A busy machine stops a node for longer than a shorter one.
LEASE = 5


@pytest.mark.system
@pytest.mark.timeout(400)
def test_leader_that_is_killed_loses_nothing(tmp_path):
    """Two nodes take mail, the one that delivers is killed in the middle: each mail that got a 250 is one
    contact, and the other node delivers without being told.
    """
    (tmp_path / "ministack").mkdir()
    with run_ministack(tmp_path / "ministack") as url, fast_sandbox() as box:
        fleet = Nodes(tmp_path, box, url, count=2, lease=LEASE)
        try:
            fleet.start()
            leader = until(fleet.leader, seconds=60)
            (other,) = [node for node in fleet.nodes if node is not leader]
            assert other.ask("readyz")[0] == 200, "a node that stands by takes mail"
            senders = [
                Senders(
                    node.port, count=2, make=build_mail, arrived=lambda: fleet.arrived().total(), ahead=30
                )
                for node in fleet.nodes
            ]
            numbers = iter("ab")
            for each in senders:
                name = next(numbers)
                each._make = lambda number, name=name: build_mail(f"{name}{number}")
                each.start()
            until(lambda: fleet.arrived().total() > 15, seconds=90)
            leader.kill()
            until(lambda: fleet.leader() is other, seconds=12 * LEASE)
            leader.start()
            for each in senders:
                each.finish(seconds=120)
            accepted = {subject for each in senders for subject in each.acknowledged}
            until(lambda: accepted <= fleet.arrived().keys(), seconds=120)
            assert set(fleet.arrived().values()) == {1}
        finally:
            fleet.kill()


@pytest.mark.system
@pytest.mark.timeout(300)
def test_node_that_stops_hands_the_lead_over(tmp_path):
    """An orderly stop ends with everything given back, and the other node delivers within a look."""
    (tmp_path / "ministack").mkdir()
    with run_ministack(tmp_path / "ministack") as url, fast_sandbox() as box:
        fleet = Nodes(tmp_path, box, url, count=2, lease=LEASE)
        try:
            fleet.start()
            leader = until(fleet.leader, seconds=60)
            (other,) = [node for node in fleet.nodes if node is not leader]
            for process in ("receiver-0", "deliverer"):
                gauge = f'relay_deliverer_silent_seconds{{process="{process}"}}'
                for node in fleet.nodes:
                    until(
                        lambda node=node, gauge=gauge: gauge in node.ask("metrics")[1], seconds=30, so=gauge
                    )
            assert leader.stop() == 0
            line = other.wait_for("fleet.led", seconds=4 * LEASE)
            assert line["epoch"] == 2
        finally:
            fleet.kill()
