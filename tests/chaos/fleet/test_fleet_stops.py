"""Orderly stops of a fleet's nodes under load, at the pace that Connect allows."""

from __future__ import annotations

import smtplib
import threading
import time
from datetime import UTC, datetime

import pytest
from chaos.fleet.fire import Fire
from chaos.fleet.verdict import judge, unfinished
from fleet_helpers import run_ministack
from fleet_nodes import Nodes
from harness import build_mail, send, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(500)]
#: Seconds that a mail may wait for a stop (issue: "no mail waits longer than 3 s for it").
MOST_SECONDS = 3.0
#: Seconds between two mails: three quarters of what Connect takes.
PAUSE = 0.67


class Line:
    """Mails at a steady rate to whichever nodes are open, with the instant of each 250."""

    def __init__(self, fleet):
        self._fleet = fleet
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.mails = []
        self.accepted_at = {}
        self.closed = set()
        self.errors = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(timeout=60)

    def _run(self):
        try:
            while not self._stopped.wait(PAUSE):
                number = len(self.mails)
                mail = build_mail(number)
                self.mails.append(mail)
                self._bring(mail, number)
                self.accepted_at[str(mail["Subject"])] = datetime.now(UTC)
        except BaseException as exc:  # noqa: BLE001 - told by the test
            self.errors.append(exc)

    def _bring(self, mail, number):
        """Bring it to one open node after the other: a node that stops sends its peers away."""
        for turn in range(number, number + 20):
            nodes = [node for node in self._fleet.nodes if node not in self.closed]
            try:
                return send(nodes[turn % len(nodes)].port, mail, timeout=20)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)  # a mail server's retry, in small
        raise AssertionError("no node takes mail")


def test_stop_of_each_node_in_turn_delays_no_mail(tmp_path):
    """Each node is stopped and started again while mail comes in, the leader among them: no mail waits
    longer than three seconds, Connect never says 429, and nothing is lost or doubled.
    """
    (tmp_path / "ministack").mkdir()
    settings = settings_of(builtin_config(), requests_per_second=2.0, burst=5)
    with (
        run_ministack(tmp_path / "ministack") as url,
        running_sandbox(settings=settings) as box,
        Fire(box, url, lost=0.0, stale=0.0, seed=1) as fire,
    ):
        fleet = Nodes(tmp_path, box, url, count=3, lease=15.0, env=fire.env, rate=2, burst=5)
        try:
            fleet.start()
            until(fleet.leader, seconds=60)
            led = 0
            with Line(fleet) as line:
                until(lambda: fleet.arrived().total() >= 4, seconds=60)
                for node in fleet.nodes:
                    led += node is fleet.leader()
                    line.closed.add(node)  # what a load balancer does before a stop
                    assert node.stop() == 0, node.log()
                    before = fleet.arrived().total()
                    until(lambda before=before: fleet.arrived().total() >= before + 4, seconds=60)
                    node.start(wait=False)
                    node.wait_for("daemon.ready", seconds=120)
                    line.closed.discard(node)
            assert line.errors == []
            until(lambda: not unfinished(fleet.rows()), seconds=60)
        finally:
            fleet.kill()
        judge(fleet, line.mails)
        assert led >= 1, "a leader was stopped"
        assert set(fire.statuses) == {200}
        waits = {
            subject: (contact.received_at - line.accepted_at[subject]).total_seconds()
            for contact in box.book.select()
            for subject in [contact.request["EmailMessage"]["RawMessage"]["Subject"]]
        }
        print(f"{len(waits)} mails, the slowest after {max(waits.values()):.2f} s; stopped leaders: {led}")
        assert max(waits.values()) <= MOST_SECONDS, waits


def test_leader_that_stops_leaves_nothing_leased(tmp_path):
    """While the leader is stopped, what it has under way is finished or given back: the next leader neither
    waits for a lease nor blames a mail.
    """
    (tmp_path / "ministack").mkdir()
    with run_ministack(tmp_path / "ministack") as url, running_sandbox(settings=None) as box:
        fleet = Nodes(tmp_path, box, url, count=2, lease=15.0)
        try:
            fleet.start()
            leader = until(fleet.leader, seconds=60)
            (other,) = [node for node in fleet.nodes if node is not leader]
            for number in range(12):
                send(other.port, build_mail(number))
            until(lambda: fleet.arrived().total() >= 3, seconds=60)
            begun = time.monotonic()
            assert leader.stop() == 0, leader.log()
            other.wait_for("fleet.led", seconds=15)
            print(f"the lead was handed over within {time.monotonic() - begun:.2f} s of the signal")
            until(lambda: fleet.arrived().total() >= 12, seconds=60)
            until(lambda: not unfinished(fleet.rows()), seconds=30)
        finally:
            fleet.kill()
        assert {int(row["cut"]) for row in fleet.rows() if "cut" in row} == set(), "nobody is blamed"
        assert set(fleet.arrived().values()) == {1}
