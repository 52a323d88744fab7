"""The destination of an attempt: what is in doubt stays at its instance, and all else follows the switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from spool_helpers import NOW, LocalSpool, build_config, build_submission, claim_one, later

from relay.config.model import Config
from relay.delivery.destinations import Destinations
from relay.vocabulary import Rung

HOME, FAR = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


def build(tmp_path, **route):
    """A configuration with one route to support."""
    data = build_config(tmp_path / "data").pack()
    whole = {"match": ["support@example.com"], "name": "support", **route}
    return Config.model_validate({**data, "routes": [whole]})


@pytest.fixture
async def world(tmp_path):
    """A spool with one mail under way: the outbox, the desk and the entry."""
    spool = LocalSpool(tmp_path)
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    await intake.put(build_submission(intake.new_id()))
    yield outbox, desk, await claim_one(outbox)
    await spool.close()


@pytest.mark.parametrize("is_switched", [False, True])
@pytest.mark.parametrize("sent_to", [None, HOME, FAR])
@pytest.mark.parametrize("asked", [None, HOME, FAR])
@pytest.mark.parametrize("is_doubtful", [False, True])
@pytest.mark.parametrize("standby", [None, FAR])
async def test_every_case(world, tmp_path, is_switched, sent_to, asked, is_doubtful, standby):
    """A doubt binds a mail to the instance of its request, stored or only noted; without one the mail goes
    where its route leads, and a stored request for another instance is dropped where there is a standby.
    """
    outbox, desk, entry = world
    if is_switched:
        desk.switch("support", standby=True, leaving=HOME, now=NOW)
    config = build(tmp_path, **({"standby": standby} if standby else {}))
    sent = sent_to and {"InstanceId": sent_to, "DestinationEmailAddress": "support@example.com"}
    since, request = NOW if is_doubtful else None, b"{}" if sent_to else None
    entry = replace(entry, asked_instance=asked, in_doubt_since=since, request=request)
    destinations = Destinations(config, outbox)
    led = await destinations.lead(entry, destinations.find_route(entry), sent)
    today = FAR if standby and is_switched else HOME
    if is_doubtful:
        expected = sent_to or asked or today
    elif sent_to and not standby:
        expected = sent_to
    else:
        expected = today
    assert led.entry.destination.instance_id == expected
    assert led.elsewhere is (expected != today)
    keeps = sent_to is not None and expected == sent_to
    assert (led.sent is not None, led.entry.request is not None) == (keeps, keeps)


async def test_doubt_outlives_the_request_that_is_dropped(world, tmp_path):
    """A mail whose request is in doubt at the standby goes on there at the last rung, too, though the route
    is back and its request is gone.
    """
    outbox, desk, entry = world
    desk.switch("support", standby=True, leaving=HOME, now=NOW)
    await outbox.save_request(
        entry,
        request=b'{"InstanceId": "%s"}' % FAR.encode(),
        rung=Rung.FULL,
        token="t",
        expires_at=later(99),
        instance_id=FAR,
        now=NOW,
    )
    await outbox.begin_original(entry, reason="crash", detail="", now=NOW)
    await outbox.defer(entry, until=NOW, reason="connect.timeout", detail="", now=NOW)
    desk.switch("support", standby=False, leaving=FAR, now=NOW)
    again = await claim_one(outbox, now=later(1))
    destinations = Destinations(build(tmp_path, standby=FAR), outbox)
    led = await destinations.lead(again, destinations.find_route(again), None)
    assert (again.request, led.entry.destination.instance_id, led.elsewhere) == (None, FAR, True)
