"""A route to whatever address was written to, before a Connect that has only a few of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from harness import Daemon, build_mail, send, subjects, until

from relay.sandbox.limits import Settings
from relay.sandbox.service import running_sandbox

pytestmark = pytest.mark.process

GOOD = ("ann@example.com", "bob@example.com")
SETTINGS = Settings(
    has_address=lambda _instance_id, address: address in GOOD, requests_per_second=1_000.0, burst=1_000
)


@pytest.fixture
def box():
    with running_sandbox(settings=SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ()).start() as running:
        yield running


def send_to(daemon, *addresses):
    """A mail for each, its subject the address."""
    for address in addresses:
        send(daemon.port, build_mail(address, to=address), (address,))


def unknown(count):
    return [f"unknown{number}@example.com" for number in range(count)]


def lines(daemon, event):
    return [line for line in daemon.events if line["event"] == event]


def test_known_address_among_unknown_ones_is_found(box, daemon):
    """After a start nobody knows what a 404 is about: the route is held, and its first contact ends that
    for good.

    From then on a 404 puts off the mail for its address, and that alone.
    """
    send_to(daemon, *unknown(40), GOOD[0])
    until(lambda: len(box.book) == 1, so="the contact")
    (held,) = lines(daemon, "route.held")
    assert held["reason"] == "connect.ResourceNotFoundException"
    daemon.wait_for("route.resumed")
    tried = len(lines(daemon, "delivery.attempted"))
    until(lambda: len(lines(daemon, "delivery.attempted")) > tried + 40, so="each was tried again")
    tried = len(lines(daemon, "delivery.attempted"))
    send_to(daemon, *unknown(50)[40:], GOOD[1])
    until(lambda: len(box.book) == 2, so="the other contact")
    until(lambda: len(lines(daemon, "delivery.attempted")) >= tried + 21, so="each was tried again")
    assert sorted(subjects(box.contacts())) == [f"Mail {address}" for address in GOOD]
    refused = [line for line in lines(daemon, "delivery.attempted")[tried:] if line["outcome"] == "deferred"]
    assert {line["reason"] for line in refused} == {"connect.ResourceNotFoundException"}
    assert f"{refused[0]['destination']} is not known to Connect" in refused[0]["detail"]
    assert len(lines(daemon, "route.held")) == 1
    assert daemon.stop() == 0
