"""An entry that is given another route: where it goes, what it forgets, and what is still its repetition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from spool_helpers import NOW, build_destination, build_submission, claim_one, later

from relay.spool.change import Left, Target
from relay.spool.model import Filter, State
from relay.vocabulary import Rung

OLD = "00000000-0000-0000-0000-000000000001"
NEW = "00000000-0000-0000-0000-000000000002"
SALES = Target(route="sales", instance_id=NEW, address="sales@example.com")
ANYWHERE = Target(route="rest", instance_id=OLD, address="")


@pytest.mark.parametrize("state", ["queued", "held", "dead"])
async def test_entry_goes_out_by_the_other_route(put, outbox, desk, state):
    """It is due now, at the other destination, with a new token, and without the request for the old one."""
    spool_id = await put()
    entry = await claim_one(outbox)
    await outbox.save_request(
        entry, request=b"{}", rung=Rung.TEXT, token=entry.token, expires_at=later(60), now=NOW
    )
    if state == "queued":
        await outbox.defer(entry, until=later(600), reason="connect.404", detail="", settled=True, now=NOW)
    elif state == "held":
        await outbox.hold(entry, reason="policy.spam", detail="", now=NOW)
    else:
        await outbox.bury(entry, reason="payload_refused", detail="", settled=True, now=NOW)
    changed = desk.reroute([spool_id], SALES, now=NOW, agreed=True)
    assert (changed.count, changed.routes) == (1, ("sales",))
    again = await claim_one(outbox)
    where = again.destination
    assert (where.route, where.instance_id, where.address) == ("sales", NEW, "sales@example.com")
    assert (again.request, again.rung, again.sent, again.in_doubt_since) == (None, Rung.FULL, False, None)
    assert again.token != entry.token
    assert again.released == (state == "held")
    assert [event.event for event in desk.history(again)][-1] == "rerouted"
    assert "to sales (sales@example.com" in desk.history(again)[-1].detail


async def test_route_without_a_destination_takes_the_first_forward_path(put, outbox, desk):
    """Without its tag, which Connect does not know."""
    tagged = replace(
        build_destination("support@example.com"), forward_paths=("help+vip@example.com",), tag="vip"
    )
    spool_id = await put(destinations=(tagged,))
    assert desk.reroute([spool_id], ANYWHERE, now=NOW).count == 1
    assert (await claim_one(outbox)).destination.address == "help@example.com"


async def test_retransmission_stays_one(intake, outbox, desk):
    """The sender's repeat meets the guard of the acceptance, by the old route as by the new one."""
    body = b"Subject: once\r\n\r\nHello\r\n"
    first = await intake.put(build_submission(intake.new_id(), body=body, message_id="<1@x>"))
    desk.reroute([first.spool_id], SALES, now=NOW)
    for destination in (
        build_destination(),
        build_destination("sales@example.com", route="sales", instance_id=NEW),
    ):
        for _ in range(2):
            again = await intake.put(
                build_submission(intake.new_id(), body=body, message_id="<1@x>", destinations=(destination,))
            )
            assert (again.duplicate, again.spool_id) == (True, first.spool_id)
    entry = await claim_one(outbox)
    await outbox.finish(entry, contact_id="c-1", now=NOW)
    assert len(desk.select(Filter())) == 1


async def test_doubt_needs_a_person(put, outbox, desk):
    """A request went out by the old route: under another token a second contact may come."""
    spool_id = await put()
    entry = await claim_one(outbox)
    await outbox.save_request(
        entry, request=b"{}", rung=Rung.FULL, token=entry.token, expires_at=later(60), now=NOW
    )
    await outbox.defer(entry, until=later(600), reason="connect.timeout", detail="", now=NOW)
    changed = desk.reroute([spool_id], SALES, now=NOW)
    assert changed.count == 0
    assert [one.in_doubt_since for one in changed.left] == [NOW]
    (left,) = desk.select(Filter(ids=(spool_id,)))
    assert (left.destination.route, left.token, left.request) == ("support", entry.token, b"{}")
    assert desk.reroute([spool_id], SALES, now=NOW, agreed=True).count == 1


async def test_mail_goes_nowhere_twice(put, desk):
    """An entry is not sent to where its mail goes already, and of two entries only one."""
    sales = build_destination("Sales@example.com", route="sales", instance_id=NEW)
    spool_id = await put(destinations=(build_destination(), sales, build_destination("x@example.com")))
    first, second, third = (entry.reference for entry in desk.select(Filter(ids=(spool_id,))))
    changed = desk.reroute([spool_id], SALES, now=NOW, agreed=True)
    assert (changed.count, changed.routes) == (0, ())
    assert [(one.id, one.twin) for one in changed.left] == [(each, second) for each in (first, second, third)]
    other = Target(route="rest", instance_id=OLD, address="rest@example.com")
    changed = desk.reroute([first, third], other, now=NOW)
    assert (changed.count, [(one.id, one.twin) for one in changed.left]) == (1, [(third, first)])


async def test_entry_under_way_stays(put, outbox, desk):
    """An entry that is being delivered, or is done, has its way."""
    spool_id = await put()
    entry = await claim_one(outbox)
    assert desk.reroute([spool_id, "nothing"], SALES, now=NOW).left == (
        Left(id=entry.reference, state=State.LEASED),
        Left(id="nothing", state=None),
    )
    await outbox.finish(entry, contact_id="c-1", now=NOW)
    assert desk.reroute([spool_id], SALES, now=NOW).left == (Left(id=entry.reference, state=State.DONE),)
