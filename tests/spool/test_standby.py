"""What every backend keeps of a switch to a standby, and of the instance to which a request went."""

from __future__ import annotations

from datetime import timedelta

from spool_helpers import NOW, claim_one, later

from relay.spool.action import Action, Via
from relay.spool.audit import AuditFilter
from relay.vocabulary import Rung

HOME, FAR = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
REQUEST = {"request": b"{}", "rung": Rung.FULL, "token": "t", "expires_at": later(9_999)}


def ask(desk, *, standby, **more):
    """Switch the route of these tests."""
    leaving = HOME if standby else FAR
    return desk.switch("support", standby=standby, leaving=leaving, now=NOW, **more)


async def test_switch_is_kept_until_the_other(spool, outbox, desk):
    """A switch is told once, outlives the desk that made it, is audited, and ends with the other switch."""
    action = Action(actor="ann", via=Via.CLI, command="route switch", about=("support", "--to standby"))
    assert [ask(desk, standby=True, action=action), ask(desk, standby=True, action=action)] == [True, False]
    assert (await outbox.paused()).standby == spool.open_desk().paused().standby == ("support",)
    stages = [row.stage for row in desk.actions(AuditFilter()) if row.action.command == "route switch"]
    assert stages[-1] == "refused"
    assert "done" in stages
    assert [ask(desk, standby=False), ask(desk, standby=False)] == [True, False]
    assert (await outbox.paused()).standby == ()


async def test_switch_ends_the_hold_of_its_route(put, outbox, desk):
    """An error of configuration at one instance says nothing of the other."""
    await put()
    for route in ("support", "sales"):
        await outbox.hold_route(route, reason="connect.404", detail="", now=NOW)
    ask(desk, standby=True)
    assert [hold.route for hold in desk.paused().holds] == ["sales"]


async def test_switch_makes_due_what_is_not_in_doubt(put, outbox, desk):
    """A mail that waits for its next attempt is due at once, unless its request may have become a contact."""
    for settled in (True, False):
        await put()
        entry = await claim_one(outbox)
        await outbox.save_request(entry, **REQUEST, instance_id=HOME, now=NOW)
        await outbox.defer(entry, until=later(3_000), reason="", detail="", settled=settled, now=NOW)
    ask(desk, standby=True)
    now = later(60)
    due = await outbox.claim(now=now, limit=9, lease_seconds=9)
    assert [(entry.asked_instance, entry.in_doubt_since) for entry in due] == [(HOME, None)]
    await outbox.give_back(now=now)


async def test_request_of_unknown_place_is_where_the_route_led(put, outbox, desk):
    """A doubt without an instance, as a restore makes it, stays where the route led before the switch."""
    await put()
    entry = await claim_one(outbox)
    await outbox.begin_sending(entry, token="t", now=NOW)
    await outbox.defer(entry, until=NOW, reason="", detail="", now=NOW)
    ask(desk, standby=True)
    ask(desk, standby=False)
    assert (await claim_one(outbox, now=later(1))).asked_instance == HOME


async def test_contact_is_remembered_at_its_instance(put, outbox, desk):
    """A reply is related to a contact of its own instance alone, and a trace names the one that has it; a
    retransmission of a mail that went to the standby is one all the same.
    """
    spool_id = await put(message_id="<first@x>", body=b"Subject: 1\r\n\r\n1")
    entry = await claim_one(outbox)
    await outbox.save_request(entry, **REQUEST, instance_id=FAR, now=NOW)
    await outbox.finish(entry, contact_id="c1", now=NOW)
    await put(message_id="<second@x>")
    reply = await claim_one(outbox, now=later(2))
    found = [
        await outbox.find_contact(
            reply, message_ids=["<first@x>"], since=NOW - timedelta(days=1), instance_id=instance
        )
        for instance in (FAR, HOME, None)
    ]
    assert found == ["c1", None, "c1"]
    assert [record.instance_id for record in desk.remembered("<first@x>")] == [FAR]
    assert await put(message_id="<first@x>", body=b"Subject: 1\r\n\r\n1") == spool_id
