"""The steps of a fleet at which a process may die by kill -9: each mail is one contact, whatever the step."""

from __future__ import annotations

import smtplib

import pytest
from chaos.fleet.verdict import judge, unfinished
from fleet_helpers import run_ministack
from fleet_nodes import Nodes
from harness import build_mail, send, until
from sandboxes import fast_sandbox

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]
LEASE = 3.0
FILE = b"%PDF-1.7\n" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An emulator and a sandbox for all steps; each has a fleet of its own."""
    home = tmp_path_factory.mktemp("ministack")
    with run_ministack(home) as url, fast_sandbox() as box:
        yield url, box


@pytest.fixture
def fleet(place, tmp_path):
    """Three nodes that are not started: one receives, two deliver."""
    url, box = place
    box.clear()
    env = {"RELAY_CONNECT__TIMEOUT_SECONDS": "4"}
    fleet = Nodes(tmp_path, box, url, count=3, lease=LEASE, env=env)
    yield fleet
    fleet.kill()


def start(node, role, *, ready=True, **env):
    node.args = ["--role", role]
    node.start(wait=False, **env)
    if ready:
        node.wait_for("daemon.ready", seconds=120)


@pytest.mark.parametrize("step", ["fleet.put.stored", "fleet.put.committed"])
def test_receiver_that_dies_promises_nothing_and_loses_nothing(fleet, step):
    """A receiver dies after the octets are in S3, or after the commit: its peer has no 250, brings the mail
    to another node, and it is one contact.
    """
    dying, other, deliverer = fleet.nodes
    mail = build_mail("dead-receiver", attachment=FILE)
    start(dying, "receive", RELAY_FAULT_POINT=step)
    with pytest.raises((smtplib.SMTPException, OSError)):
        send(dying.port, mail, timeout=20)
    dying.wait_for("child.ended", expected=False, seconds=30)
    dying.kill()
    start(other, "receive")
    send(other.port, mail, timeout=30)
    start(deliverer, "deliver")
    finish(fleet, mail)


@pytest.mark.parametrize("step", ["runner.claimed", "delivery.before_connect", "delivery.after_connect"])
def test_leader_that_dies_at_a_step_doubles_nothing(fleet, step):
    """A leader dies after its claim, with the request stored, or with the answer of Connect in its hands: the
    next one sends the same request, and there is one contact.
    """
    receiver, dying, other = fleet.nodes
    mail = build_mail("dead-leader", attachment=FILE)
    start(receiver, "receive")
    send(receiver.port, mail, timeout=30)
    start(dying, "deliver", ready=False, RELAY_FAULT_POINT=step)
    dying.wait_for("child.ended", expected=False, seconds=60)
    dying.kill()
    sent = len(fleet.box.book)
    assert sent == (step == "delivery.after_connect")
    start(other, "deliver")
    finish(fleet, mail)


def finish(fleet, *mails):
    until(lambda: not unfinished(fleet.rows()), seconds=90, so=f"all is done: {fleet.nodes[-1].log()}")
    until(lambda: len(fleet.box.book) >= len(mails), seconds=30)
    for node in fleet.alive():
        assert node.stop() == 0
    judge(fleet, mails)
