"""What every `Outbox` does: claims, leases, outcomes, routes that stand still, the end of finished mail."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from spool_helpers import NOW, build_destination, build_submission, claim_one, later, raw_files
from structlog.testing import capture_logs

from relay.errors import LeaseLostError, SpoolBusyError, SpoolError
from relay.spool.model import Filter, State
from relay.vocabulary import Rung


def on(route):
    return (build_destination(f"{route}@example.com", route=route),)


async def claim(outbox, *, now=NOW, limit=100, **more):
    return await outbox.claim(now=now, limit=limit, lease_seconds=60, **more)


async def test_claim_takes_the_oldest_due_first(put, outbox):
    """Entries come in the order in which they fell due, and not before."""
    third = await put(at=later(2))
    first = await put(at=NOW)
    second = await put(at=later(1))
    assert [e.spool_id for e in await claim(outbox, now=later(1))] == [first, second]
    assert [e.spool_id for e in await claim(outbox, now=later(2))] == [third]


async def test_claim_is_fair_between_routes(put, outbox):
    """A route with a long queue does not keep another waiting, in one claim or over many."""
    for _ in range(6):
        await put(destinations=on("busy"))
    for _ in range(2):
        await put(destinations=on("calm"), at=later(1))
    routes = [e.destination.route for e in await claim(outbox, now=later(1), limit=4)]
    assert sorted(routes) == ["busy", "busy", "calm", "calm"]


async def test_claims_of_one_take_turns(put, outbox):
    """With one place free at a time, routes still take turns."""
    for route in ("a", "b", "c"):
        for _ in range(3):
            await put(destinations=on(route))
    turns = [(await claim_one(outbox)).destination.route for _ in range(9)]
    assert [sorted(turns[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3


async def test_replies_come_before_new_mail(put, outbox):
    """A mail whose references lead to a contact of ours is claimed before older new ones."""
    await put(message_id="<question@customer.example>")
    await outbox.finish(await claim_one(outbox), contact_id="contact-1", now=NOW)
    new = await put(references=("<unknown@x>",))
    reply = await put(references=("<unknown@x>", "<question@customer.example>"), at=later(1))
    assert [e.spool_id for e in await claim(outbox, now=later(1))] == [reply, new]


async def test_claim_counts_the_attempt_before_it_begins(put, outbox, spool):
    """After a crash of the runner the attempt is still counted."""
    await put()
    assert (await claim_one(outbox)).attempts == 1
    await outbox.close()
    outbox = spool.open_outbox()
    assert await outbox.recover(now=NOW) == 1
    assert (await claim_one(outbox)).attempts == 2


async def test_leased_entry_is_not_claimed_until_its_lease_ends(put, outbox):
    """Nobody else gets a leased entry; when the lease is over, somebody does."""
    await put()
    first = await claim_one(outbox, lease_seconds=60)
    assert await claim(outbox, now=later(59)) == []
    second = await claim_one(outbox, now=later(60))
    assert (second.entry_id, second.attempts) == (first.entry_id, 2)


async def test_renewed_lease_lasts_longer(put, outbox):
    """A delivery that takes its time can keep its lease."""
    await put()
    entry = await claim_one(outbox, lease_seconds=60)
    await outbox.renew(entry, lease_seconds=60, now=later(50))
    assert await claim(outbox, now=later(100)) == []
    await outbox.finish(entry, contact_id="c", now=later(105))


@pytest.mark.parametrize(
    "act", ["finish", "defer", "hold", "bury", "save_request", "begin_sending", "refuse", "renew"]
)
async def test_change_after_a_lost_lease_is_refused(put, outbox, act):
    """The fence: an outcome of an older attempt changes nothing."""
    await put()
    old = await claim_one(outbox, lease_seconds=60)
    new = await claim_one(outbox, now=later(60))
    words = {
        "finish": {"contact_id": "old"},
        "defer": {"until": later(1), "reason": "r", "detail": "d"},
        "hold": {"reason": "r", "detail": "d"},
        "bury": {"reason": "r", "detail": "d"},
        "save_request": {"request": b"{}", "rung": Rung.TEXT, "token": "t", "expires_at": later(1)},
        "begin_sending": {"token": "t"},
        "refuse": {"rung": Rung.TEXT, "token": "t", "reason": "r", "detail": "d"},
        "renew": {"lease_seconds": 1},
    }
    with pytest.raises(LeaseLostError):
        await getattr(outbox, act)(old, now=later(61), **words[act])
    await outbox.finish(new, contact_id="new", now=later(61))


async def test_defer_keeps_reason_and_due_time(put, outbox, desk):
    """A deferred entry is queued, says why, and is due when it was told."""
    await put()
    await outbox.defer(
        await claim_one(outbox),
        until=later(90),
        reason="connect.timeout",
        detail="no answer in 60 s",
        now=NOW,
    )
    (entry,) = desk.select(Filter())
    assert (entry.state, entry.reason, entry.detail) == (State.QUEUED, "connect.timeout", "no answer in 60 s")
    assert entry.next_attempt_at == later(90)
    assert await claim(outbox, now=later(89)) == []
    assert len(await claim(outbox, now=later(90))) == 1


async def test_attempt_that_was_not_begun_is_not_counted(put, outbox, desk):
    """An entry that is put back has the attempts and the history of before, and is due when it is
    said to be.
    """
    await put()
    entry = await claim_one(outbox)
    await outbox.begin_sending(entry, token="t", now=NOW)
    until = later(60)
    await outbox.defer(
        entry, until=until, reason="relay.busy", detail="d", settled=True, begun=False, now=NOW
    )
    (found,) = desk.select(Filter())
    assert (found.attempts, found.reason, found.next_attempt_at) == (entry.attempts - 1, "relay.busy", until)
    assert found.in_doubt_since is None
    assert list(desk.history(found)) == []
    with pytest.raises(LeaseLostError):
        await outbox.hold(entry, reason="r", detail="", now=NOW)
    again = await claim_one(outbox, now=until)
    assert again.attempts == entry.attempts


async def test_request_is_kept_byte_for_byte_until_it_is_void(put, outbox):
    """The stored request comes back with the next claim, whatever rung is next, until it is void."""
    await put()
    entry = await claim_one(outbox)
    request = '{"Subject":"Grüße"}'.encode()
    await outbox.save_request(
        entry, request=request, rung=Rung.FULL, token="t", expires_at=later(3600), now=NOW
    )
    await outbox.defer(entry, until=NOW, reason="r", detail="", now=NOW)
    entry = await claim_one(outbox)
    assert (entry.request, entry.rung, entry.request_expires_at) == (request, Rung.FULL, later(3600))
    await outbox.defer(entry, until=NOW, reason="r", detail="", rung=Rung.TRIMMED, now=NOW)
    entry = await claim_one(outbox)
    assert (entry.request, entry.rung) == (request, Rung.TRIMMED)
    await outbox.defer(entry, until=NOW, reason="r", detail="", void=True, now=NOW)
    entry = await claim_one(outbox)
    assert (entry.request, entry.rung, entry.request_expires_at) == (None, Rung.TRIMMED, None)


async def test_hold_and_bury_wait_for_a_person(put, outbox, desk):
    """Held and dead entries are not claimed, ever, and say why."""
    await put()
    await put()
    first, second = await claim(outbox)
    await outbox.hold(first, reason="spool_corrupt", detail="x", now=NOW)
    await outbox.bury(second, reason="too_old", detail="y", now=NOW)
    assert await claim(outbox, now=later(10**7)) == []
    assert await outbox.next_due_at() is None
    assert [(e.state, e.reason) for e in desk.select(Filter())] == [
        (State.HELD, "spool_corrupt"),
        (State.DEAD, "too_old"),
    ]


async def test_next_due_at_sees_queue_and_leases(put, outbox):
    """The next thing to do is the next due entry, or the end of the next lease."""
    assert await outbox.next_due_at() is None
    await put(at=later(10))
    await put(at=later(20))
    assert await outbox.next_due_at() == later(10)
    await claim_one(outbox, now=later(10), lease_seconds=3)
    assert await outbox.next_due_at() == later(13)


async def test_routes_held_by_the_caller_are_skipped(put, outbox):
    """What the runner holds is neither claimed nor waited for."""
    await put(destinations=on("broken"))
    await put(destinations=on("fine"), at=later(5))
    assert [e.destination.route for e in await claim(outbox, now=later(5), held_routes=["broken"])] == [
        "fine"
    ]
    assert await outbox.next_due_at(held_routes=["broken", "fine"]) == later(65)
    assert len(await claim(outbox, now=later(5))) == 1


async def test_route_hold_survives_a_restart(put, outbox, spool):
    """A hold in the spool skips the route, is told with its reason, and stays over a restart."""
    await put(destinations=on("broken"))
    assert await outbox.hold_route("broken", reason="connect.AccessDenied", detail="no right", now=NOW)
    assert not await outbox.hold_route("broken", reason="connect.NotFound", detail="gone", now=later(5))
    await outbox.close()
    outbox = spool.open_outbox()
    assert await claim(outbox) == []
    assert await outbox.next_due_at() is None
    (hold,) = (await outbox.paused()).holds
    assert (hold.route, hold.reason, hold.since) == ("broken", "connect.NotFound", NOW)
    assert await outbox.resume_route("broken")
    assert not await outbox.resume_route("broken")
    assert len(await claim(outbox)) == 1


async def test_probe_takes_one_entry_of_each_address(put, outbox):
    """Of a held route one entry an address may be tried, due or not, and other routes go on beside it."""
    for _ in range(3):
        await put(destinations=on("broken"), at=later(500))
    await put(destinations=on("fine"))
    await outbox.hold_route("broken", reason="r", detail="", now=NOW)
    claimed = await claim(outbox, probes=await outbox.find_probes("broken"))
    assert [e.destination.route for e in claimed] == ["broken", "fine"]
    assert await outbox.find_probes("broken") == []
    await outbox.defer(claimed[0], until=later(600), reason="r", detail="", now=NOW)
    (probe,) = await claim(outbox, probes=await outbox.find_probes("broken"))
    assert probe.reference != claimed[0].reference, "what was due first comes first"


async def test_probes_are_of_ten_addresses_by_what_is_due_first(put, outbox):
    """Many mails for one address, and replies, do not keep a held route's other addresses from
    being tried.
    """
    await put(message_id="<question@x>")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)

    async def put_for(number, seconds, **more):
        return await put(destinations=to(number), at=later(seconds), **more)

    def to(number):
        return (build_destination(f"a{number}@example.com", route="broken"),)

    expected = [await put_for(1, 0)]
    for _ in range(20):
        await put_for(1, 1)
    expected += [await put_for(number, 10 + number) for number in range(2, 9)]
    expected += [await put_for(20, 30, references=("<question@x>",)), await put_for(9, 40)]
    for number in range(21, 40):
        await put_for(number, 50, references=("<question@x>",))
    await outbox.hold_route("broken", reason="r", detail="", now=NOW)
    claimed = await claim(outbox, probes=await outbox.find_probes("broken"))
    assert [e.spool_id for e in claimed] == expected
    following = await claim(outbox, probes=await outbox.find_probes("broken"))
    assert len({e.destination.address for e in (*claimed, *following)}) == 20


async def test_probes_have_the_turn_of_their_route(put, outbox):
    """Held routes that are tried take no place from mail that can go: one from each route in turn."""
    for number in range(8):
        await put(destinations=(build_destination(f"a{number}@example.com", route="broken"),))
        await put(destinations=on("fine"))
    await outbox.hold_route("broken", reason="r", detail="", now=NOW)
    probes = await outbox.find_probes("broken")
    first = await claim(outbox, limit=4, probes=probes)
    assert {e.reference for e in first if e.destination.route == "broken"} <= {*probes}, (
        "probes are references"
    )
    assert sorted(e.destination.route for e in first) == ["broken", "broken", "fine", "fine"]
    turns = [(await claim(outbox, limit=1, probes=probes))[0].destination.route for _ in range(4)]
    assert sorted(turns) == ["broken", "broken", "fine", "fine"]


async def test_probes_that_are_none_any_more_are_not_taken(put, outbox, desk):
    """Between the choice of probes and their claim an operator may hold or drop them, pause their route, or
    resume it.
    """
    ids = [
        await put(destinations=(build_destination(f"a{number}@example.com", route="broken"),), at=later(500))
        for number in range(4)
    ]
    await outbox.hold_route("broken", reason="r", detail="", now=NOW)
    probes = await outbox.find_probes("broken")
    desk.hold([ids[0]], now=NOW)
    desk.drop([ids[1]], now=NOW)
    (taken,) = await claim(outbox, limit=1, probes=probes)
    assert taken.spool_id == ids[2]
    desk.pause("route broken", now=NOW)
    assert await claim(outbox, probes=probes) == []
    assert await outbox.find_probes("broken") == []
    desk.resume("route broken")
    assert await claim(outbox, probes=probes) == [], "it is held no more, and nothing of it is due"


async def test_operators_pauses_stop_claims(put, outbox, desk):
    """Nothing of a paused route is claimed, not even as a probe, and nothing at all while delivery is
    paused.
    """
    await put(destinations=on("a"))
    await put(destinations=on("b"))
    assert desk.pause("route a", now=NOW)
    assert not desk.pause("route a", now=NOW)
    assert await outbox.find_probes("a") == []
    assert [e.destination.route for e in await claim(outbox)] == ["b"]
    desk.pause("delivery", now=NOW)
    desk.resume("route a")
    assert await claim(outbox) == []
    assert await outbox.next_due_at() is None
    paused = await outbox.paused()
    assert (paused.delivery, paused.routes) == (True, ())
    desk.resume("delivery")
    assert len(await claim(outbox)) == 1


async def test_recover_returns_every_lease_at_once(put, outbox, spool):
    """A new deliverer does not wait for the leases of a dead one."""
    for _ in range(3):
        await put()
    await claim(outbox)
    await outbox.close()
    outbox = spool.open_outbox()
    assert await outbox.recover(now=later(1)) == 3
    assert len(await claim(outbox, now=later(1))) == 3
    assert await outbox.recover(now=later(1)) == 3


async def test_blamed_entries_come_back_apart_and_later_each_time(put, outbox):
    """Mails that a crashed runner had come back one after the other, and later after each crash in a row."""
    ids = [await put() for _ in range(3)]
    await claim(outbox)
    assert await outbox.recover(now=NOW, blame=True) == 3
    first = await outbox.next_due_at()
    assert first is not None
    assert first > NOW
    assert [e.spool_id for e in await claim(outbox, now=first)] == ids[:1]
    assert await outbox.recover(now=first, blame=True) == 1
    second = [e for e in await claim(outbox, now=first + timedelta(hours=1)) if e.spool_id == ids[0]]
    assert [e.cut_short for e in second] == [2]
    assert second[0].next_attempt_at - first > first - NOW


async def test_mail_that_always_ends_the_runner_is_held(put, outbox, spool):
    """After max_attempts_cut_short crashes in a row the entry is held, and says so."""
    await put()
    limit = spool.config.deliver.max_attempts_cut_short
    now = NOW
    for _ in range(limit):
        now += timedelta(hours=1)
        await claim_one(outbox, now=now)
        await outbox.recover(now=now, blame=True)
    (entry,) = spool.open_desk().select(Filter())
    assert (entry.state, entry.reason, entry.cut_short) == (State.HELD, "cut_short", limit)


async def test_hang_blames_only_what_was_alone(put, outbox):
    """A hang counts against the one mail that was under way; of several each comes back apart, with its count
    as it was.
    """
    ids = [await put() for _ in range(3)]
    await claim(outbox)
    assert await outbox.recover(now=NOW, blame=True, hung=True) == 3
    now = await outbox.next_due_at()
    (entry,) = await claim(outbox, now=now)
    assert (entry.spool_id, entry.cut_short, entry.reason) == (ids[0], 0, "hung")
    assert await outbox.recover(now=now, blame=True, hung=True) == 1
    later_on = now + timedelta(hours=1)
    found = {}
    for _ in ids:
        (entry,) = await claim(outbox, now=later_on)
        found[entry.spool_id] = (entry.cut_short, entry.reason)
        await outbox.defer(entry, until=later(9_000), reason="r", detail="", now=later_on)
    assert found == {ids[0]: (1, "hung"), ids[1]: (0, "hung"), ids[2]: (0, "hung")}


async def test_mail_of_a_hang_is_delivered_alone(put, outbox, spool):
    """However much other mail is due or under way, what was under way in a hang waits for its end, and then
    has no company.
    """
    suspects = {await put() for _ in range(2)}
    await claim(outbox)
    await outbox.recover(now=NOW, blame=True, hung=True)
    for _ in range(3):
        await put()
    others = await claim(outbox, now=NOW)
    assert len(others) == 3
    now = later(3600)
    for _ in range(3):
        await put()
    for entry in others:
        await outbox.renew(entry, lease_seconds=9_000, now=NOW)
    for entry in others:
        assert await claim(outbox, now=now) == []
        await outbox.defer(entry, until=later(9_000), reason="r", detail="", now=now)
    for _ in range(2):
        (entry,) = await claim(outbox, now=now)
        suspects.remove(entry.spool_id)
        assert await claim(outbox, now=now) == []
        await outbox.defer(entry, until=later(9_000), reason="r", detail="", now=now)
    assert len(await claim(outbox, now=now)) == 3


async def test_mail_of_a_hang_on_a_held_route_stops_nobody(put, outbox):
    """A suspect of a held route waits with its route, while others' mail goes out; nobody looks for it
    meanwhile.
    """
    suspect = await put(destinations=(build_destination(route="broken"),))
    await claim(outbox)
    await outbox.recover(now=NOW, blame=True, hung=True)
    other = await put()
    found = await outbox.claim(now=later(3600), limit=9, lease_seconds=60, held_routes=["broken"])
    assert [entry.spool_id for entry in found] == [other]
    assert await claim(outbox, now=later(3600)) == []
    assert await outbox.next_due_at() is None
    await outbox.defer(found[0], until=later(9_000), reason="r", detail="", now=later(3600))
    assert [entry.spool_id for entry in await claim(outbox, now=later(3600))] == [suspect]


async def test_mail_that_always_hangs_the_runner_is_held(put, outbox, spool):
    """A mail that hangs the runner whenever it is alone is held after max_attempts_cut_short times, and not
    before.
    """
    await put()
    limit = spool.config.deliver.max_attempts_cut_short
    now = NOW
    for times in range(limit):
        now += timedelta(hours=1)
        assert (await claim_one(outbox, now=now)).cut_short == times
        await outbox.recover(now=now, blame=True, hung=True)
    (entry,) = spool.open_desk().select(Filter())
    assert (entry.state, entry.reason, entry.cut_short) == (State.HELD, "cut_short", limit)


async def test_outcome_clears_the_blame(put, outbox):
    """A mail whose delivery failed in the ordinary way is not one that kills."""
    await put()
    await claim_one(outbox)
    await outbox.recover(now=NOW, blame=True)
    entry = await claim_one(outbox, now=later(3600))
    assert entry.cut_short == 1
    await outbox.defer(entry, until=later(3600), reason="r", detail="", now=later(3600))
    assert (await claim_one(outbox, now=later(3600))).cut_short == 0


async def test_only_one_deliverer(outbox, spool):
    """A second outbox on the same spool is refused, until the first is closed."""
    with pytest.raises(SpoolBusyError):
        spool.open_outbox()
    await outbox.close()
    spool.open_outbox()


async def test_contacts_are_found_by_message_id(put, outbox):
    """The newest known contact of the given instance is found, and none that is too old."""
    await put(message_id="<1@x>")
    await put(message_id="<2@x>", at=later(10))
    await put(
        message_id="<3@x>",
        destinations=(build_destination(instance_id="00000000-0000-0000-0000-000000000002"),),
        at=later(20),
    )
    for number, entry in enumerate(await claim(outbox, now=later(20)), 1):
        await outbox.finish(entry, contact_id=f"contact-{number}", now=later(20))
    ids = ["<0@x>", "<1@x>", "<2@x>", "<3@x>"]
    find = partial(outbox.find_contact, entry)
    assert await find(message_ids=ids, since=NOW) == "contact-3"
    assert (
        await find(message_ids=ids, since=NOW, instance_id="00000000-0000-0000-0000-000000000001")
        == "contact-2"
    )
    assert (
        await find(message_ids=ids, since=later(15), instance_id="00000000-0000-0000-0000-000000000001")
        is None
    )
    assert await find(message_ids=[], since=NOW) is None


async def test_finished_mail_expires_and_the_ledger_remembers(put, outbox, desk, spool):
    """After retain_days a finished mail is gone, its contact is still found, and after 90 days that is gone
    too.
    """
    spool_id = await put(message_id="<1@x>", body=b"x" * 300_000)
    waiting = await put(message_id="<2@x>")
    entry = await claim_one(outbox)
    await outbox.finish(entry, contact_id="contact-1", now=NOW)
    day = timedelta(days=1)
    assert await outbox.expire(now=NOW + 13 * day) == 0
    assert await outbox.expire(now=NOW + 15 * day) == 1
    assert desk.export(spool_id) is None
    assert desk.export(waiting) is not None
    assert raw_files(spool.config.data_dir) == []
    assert desk.trace("<1@x>") == []
    assert [line.contact_id for line in desk.remembered("<1@x>")] == ["contact-1"]
    assert await outbox.find_contact(entry, message_ids=["<1@x>"], since=NOW) == "contact-1"
    await outbox.expire(now=NOW + 91 * day)
    assert desk.remembered("<1@x>") == []


async def test_a_ledger_with_too_many_records_forgets_the_oldest(spool):
    """Of more records than the quota the oldest go, and it is told; none that still keeps a mail from coming
    twice goes.
    """
    spool.settings = {"max_ledger_rows": 2, "retain_days": 10}
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    day = timedelta(days=1)

    async def pass_on(number: int) -> None:
        await intake.put(build_submission(intake.new_id(), message_id=f"<{number}@x>", at=NOW + number * day))
        await outbox.finish(
            await claim_one(outbox, now=NOW + 30 * day), contact_id=f"c{number}", now=NOW + 30 * day
        )

    def known() -> list[int]:
        return [number for number in range(6) if desk.remembered(f"<{number}@x>")]

    for number in range(6):
        await pass_on(number)
    with capture_logs() as lines:
        await outbox.expire(now=NOW + 10 * day)
        assert known() == [0, 1, 2, 3, 4, 5]
        await outbox.expire(now=NOW + 12.5 * day)
        assert known() == [3, 4, 5]
        await outbox.expire(now=NOW + 30 * day)
        assert known() == [4, 5]
    told = [line["records"] for line in lines if line["event"] == "ledger.shortened"]
    assert told == [3, 1]
    await intake.close()


async def test_a_retransmission_after_the_mail_has_gone_is_still_known(put, outbox, desk):
    """Finished mail that was removed for want of room is no new mail when its sender never heard of
    our 250.
    """
    first = await put(body=b"same", message_id="<m@x>")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    await outbox.expire(now=NOW + timedelta(days=15))
    assert desk.export(first) is None
    assert await put(body=b"same", message_id="<m@x>") == first
    assert await outbox.claim(now=later(9), limit=1, lease_seconds=60) == []


async def test_what_a_peer_has_seen_outlives_its_mail(intake, outbox):
    """Equal mails without a Message-ID are two once the first 250 was seen, before the outcome or
    after it.
    """
    for confirmed_first in (True, False):
        body = b"door bell rang %d" % confirmed_first
        receipt = await intake.put(build_submission(intake.new_id(), body=body, message_id=None))
        if confirmed_first:
            intake.confirm(receipt.spool_id)
            await intake.put(build_submission(intake.new_id(), destinations=on("other")))
        first, *rest = await claim(outbox)
        for entry in (first, *rest):
            await outbox.finish(entry, contact_id="c", now=NOW)
        if not confirmed_first:
            intake.confirm(receipt.spool_id)
        await outbox.expire(now=NOW + timedelta(days=15))
        again = await intake.put(build_submission(intake.new_id(), body=body, message_id=None))
        assert not again.duplicate
        await outbox.finish(await claim_one(outbox), contact_id="d", now=NOW)


async def test_mail_with_an_unfinished_entry_is_kept_whole(put, outbox, desk):
    """While one destination waits, the mail stays."""
    spool_id = await put(destinations=(*on("a"), *on("b")))
    await outbox.finish((await claim(outbox))[0], contact_id="c", now=NOW)
    assert await outbox.expire(now=NOW + timedelta(days=30)) == 0
    assert desk.export(spool_id) is not None


async def test_finished_mail_goes_early_when_the_quota_is_near(spool):
    """Mail that is done makes room for mail that is not."""
    spool.settings = {"max_bytes": 2_000}
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for number in range(4):
        await intake.put(build_submission(intake.new_id(), body=b"%450d" % number))
    for entry in (await claim(outbox))[:3]:
        await outbox.finish(entry, contact_id="c", now=NOW)
    assert await outbox.expire(now=later(1)) == 3
    assert spool.open_desk().counts()[State.LEASED] == 1


async def test_start_after_the_clock_was_set_back(put, outbox, desk, spool):
    """What was never tried is due, and nothing waits for longer than the longest backoff (1 h, and a
    quarter).
    """
    fresh = await put(at=later(86_400))
    soon = await put()
    late = await put()
    first, second = await claim(outbox)
    assert [first.spool_id, second.spool_id] == [soon, late]
    await outbox.defer(first, until=later(4_000), reason="r", detail="", now=NOW)
    await outbox.defer(second, until=later(86_400), reason="r", detail="", now=NOW)
    await outbox.recover(now=NOW)
    due = {entry.spool_id: entry.next_attempt_at for entry in desk.select(Filter())}
    assert due == {fresh: NOW, soon: later(4_000), late: later(4_500)}


async def test_finished_mail_refuses_none(spool):
    """A quota that is full of finished mail is emptied from its oldest end, however fresh; what waits or is
    dead stays.
    """
    spool.settings = {"max_bytes": 2_000_000}
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for number in range(4):
        await intake.put(build_submission(intake.new_id(), body=b"%300000d" % number))
    first, second, third, fourth = await claim(outbox)
    await outbox.bury(third, reason="r", detail="", now=NOW)
    await outbox.finish(second, contact_id="c", now=later(10**6))  # by a clock that was set back since
    assert await outbox.make_room() == 1
    assert await outbox.make_room() == 0
    await outbox.finish(first, contact_id="c", now=NOW)
    assert await outbox.make_room() == 0, "there is room enough"
    intake._room_left._look = None  # a second later
    assert intake.room(400_000)
    desk = spool.open_desk()
    assert {entry.spool_id: entry.state for entry in desk.select(Filter())} == {
        first.spool_id: State.DONE,
        third.spool_id: State.DEAD,
        fourth.spool_id: State.LEASED,
    }


async def test_finished_mail_goes_for_the_reserve_of_the_disk(spool):
    """The same where the disk comes near spool.min_free_bytes: better no trace of a mail than no mail."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id()))
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    assert await outbox.make_room() == 0
    await outbox.close()
    spool.settings = {"min_free_bytes": 10**18}
    outbox = spool.open_outbox()
    assert await outbox.make_room() == 1
    assert await outbox.make_room() == 0


async def test_aged_entries_are_buried_in_every_state(put, outbox, desk):
    """What waited too long is dead, queued or held; what is leased, or was just asked for, is left alone."""
    ids = [await put() for _ in range(4)]
    fresh = await put(at=later(5000))
    desk.hold([ids[1]], now=NOW)
    leased = await claim_one(outbox)
    assert leased.spool_id == ids[0]
    now = NOW + timedelta(days=4)
    await outbox.renew(leased, lease_seconds=60, now=now)
    desk.retry([ids[2]], now=now)
    aged = await outbox.bury_aged(accepted_before=later(4000), reason="too_old", detail="4 days", now=now)
    assert aged.after is None
    assert sorted(e.spool_id for e in aged.entries) == sorted([ids[1], ids[3]])
    assert {e.spool_id: e.state for e in desk.select(Filter())} == {
        ids[0]: State.LEASED,
        ids[1]: State.DEAD,
        ids[2]: State.QUEUED,
        ids[3]: State.DEAD,
        fresh: State.QUEUED,
    }


@pytest.mark.slow
async def test_all_aged_entries_are_buried_in_one_sweep(put, outbox, desk):
    """Hundreds of old entries go in steps, each once, whatever their states, past those that a person asked
    for.
    """
    ids = [await put() for _ in range(450)]
    fresh = await put(at=later(5000))
    desk.hold([*ids[:150], *ids[::7]], now=NOW)
    now = NOW + timedelta(days=4)
    asked = {*ids[150:260]} - {*ids[::7]}
    desk.retry(sorted(asked), now=now)
    after, buried, steps = 0, [], 0
    while after is not None:
        aged = await outbox.bury_aged(
            accepted_before=later(4000), reason="too_old", detail="", now=now, after=after
        )
        buried += [entry.spool_id for entry in aged.entries]
        after, steps = aged.after, steps + 1
    assert steps > 1
    assert sorted(buried) == sorted({*ids} - asked)
    assert desk.counts()[State.DEAD] == len(buried)
    assert desk.select(Filter(ids=(fresh,)))[0].state is State.QUEUED


async def test_attempts_keep_no_aged_entry(put, outbox, desk):
    """Mail of a held route that was tried a minute ago is given up all the same: nobody asked for that."""
    spool_id = await put()
    now = NOW + timedelta(days=30)
    entry = await claim_one(outbox, now=now)
    await outbox.defer(entry, until=now, reason="connect.AccessDenied", detail="no such action", now=now)
    aged = await outbox.bury_aged(accepted_before=now, reason="too_old", detail="4 days", now=now)
    (buried,) = aged.entries
    assert (buried.spool_id, buried.state) == (spool_id, State.DEAD)
    assert buried.detail == "4 days; before: connect.AccessDenied: no such action"
    # Retried once more, and not in time: the story is told once.
    desk.retry([spool_id], now=now)
    later_still = now + timedelta(days=1)
    aged = await outbox.bury_aged(accepted_before=now, reason="too_old", detail="4 days", now=later_still)
    assert [entry.detail for entry in aged.entries] == [buried.detail]


@pytest.mark.parametrize(
    ("minutes", "tried", "states"),
    [(119, False, [State.QUEUED]), (121, False, [State.DEAD]), (1, True, [State.DEAD])],
)
async def test_aged_entry_that_an_operator_asked_for_has_its_attempt(
    put, outbox, desk, minutes, tried, states
):
    """A retry of old mail is carried out first; once it was, or two hours later, the age counts again."""
    spool_id = await put()
    now = NOW + timedelta(days=30)
    desk.retry([spool_id], now=now)
    if tried:
        await outbox.defer(await claim_one(outbox, now=now), until=now, reason="r", detail="", now=now)
    now += timedelta(minutes=minutes)
    await outbox.bury_aged(accepted_before=now, reason="too_old", detail="", now=now)
    assert [entry.state for entry in desk.select(Filter())] == states


async def test_change_that_cannot_be_stored_fails_alone(put, outbox):
    """A detail that no row can hold is an error of its own change, and not of those that shared its
    transaction.
    """
    for _ in range(2):
        await put()
    spoiled, fine = await outbox.claim(now=NOW, limit=2, lease_seconds=60)
    results = await asyncio.gather(
        outbox.defer(spoiled, until=NOW, reason="r", detail="half a pair: \ud83d", now=NOW),
        outbox.finish(fine, contact_id="c", now=NOW),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [SpoolError, type(None)]


async def test_hold_of_a_route_that_nothing_names_ends(put, outbox, desk):
    """While an entry waits for it, queued or under way, it stays: its probes end it."""
    await put(destinations=(build_destination(route="gone"),))
    await outbox.hold_route("gone", reason="connect.404", detail="", now=NOW)
    assert not await outbox.resume_unused("gone")
    (reference,) = await outbox.find_probes("gone")
    (entry,) = await outbox.claim(now=NOW, limit=1, lease_seconds=60, probes=[reference])
    assert not await outbox.resume_unused("gone")
    await outbox.finish(entry, contact_id="c-1", now=NOW)
    assert await outbox.resume_unused("gone")
    assert not await outbox.resume_unused("gone")
    assert desk.paused().holds == ()


@pytest.mark.parametrize("size", [100, 400_000])
async def test_forgotten_mail_is_nowhere(put, outbox, desk, spool, size):
    """The octets of a redacted mail go with the last of its entries, from the database or its file."""
    spool_id = await put(destinations=(*on("a"), *on("b")), body=b"x" * size)
    first, second = await claim(outbox)
    await outbox.finish(first, contact_id="contact-1", forget=True, now=NOW)
    assert desk.export(spool_id) is not None
    await outbox.finish(second, contact_id="contact-2", now=NOW)
    assert desk.export(spool_id) is None
    assert raw_files(spool.config.data_dir) == []
    assert {entry.state for entry in desk.select(Filter())} == {State.DONE}
    assert await outbox.expire(now=later(100 * 86_400)) == 1
