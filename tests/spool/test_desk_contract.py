"""What every `Desk` does: finding entries, changing those not under way, telling their story."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from spool_helpers import NOW, build_destination, claim_one, later, raw_files

from relay.errors import SpoolError
from relay.spool.change import Changed, Left
from relay.spool.local.database import open_database
from relay.spool.model import BY_POLICY, Filter, State

SALES = (build_destination("sales@example.com", route="sales"),)


@pytest.fixture
async def three(put):
    """Three mails: one for support, one for sales from nobody, one for sales later."""
    return [
        await put(),
        await put(destinations=SALES, reverse_path=None, at=later(10)),
        await put(destinations=SALES, reverse_path="Bob@Other.example", at=later(20), message_id="<m@x>"),
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [0, 1, 2]),
        (Filter(limit=2), [0, 1]),
        (Filter(route="sales"), [1, 2]),
        (Filter(route="nothing"), []),
        (Filter(sender="<>"), [1]),
        (Filter(sender="bob@other.EXAMPLE"), [2]),
        (Filter(sender="<bob@other.example>"), [2]),
        (Filter(sender="bob@other"), []),
        (Filter(sender="ob@other.example"), []),
        (Filter(sender="@other.example"), [2]),
        (Filter(sender="OB"), [2]),
        (Filter(sender='"'), []),
        (Filter(recipient="SALES@"), [1, 2]),
        (Filter(recipient="ales@"), []),
        (Filter(recipient="@example.com"), [0, 1, 2]),
        (Filter(recipient="@com"), []),
        (Filter(recipient='"'), []),
        (Filter(older_than=later(15)), [0, 1]),
        (Filter(states=(State.QUEUED,)), [0, 1, 2]),
        (Filter(states=(State.DEAD,)), []),
        (Filter(route="sales", sender="bob"), [2]),
    ],
    ids=repr,
)
async def test_select_by_filter(desk, three, wanted, found):
    """Each filter finds exactly what it says, oldest first."""
    assert [three.index(entry.spool_id) for entry in desk.select(wanted)] == found


async def test_select_by_the_beginning_of_a_reason(put, outbox, desk):
    """A reason is found by its beginning, and what an operator types is no pattern."""
    for reason in ("connect.ServiceQuotaExceeded", "connect.timeout", "s3.timeout"):
        await put()
        await outbox.defer(await claim_one(outbox), until=later(99), reason=reason, detail="", now=NOW)
    for beginning, found in (
        ("connect", 2),
        ("connect.Serv", 1),
        ("connect.timeout", 1),
        ("connect.timeouts", 0),
        ("timeout", 0),
        ("%", 0),
        ("connect?", 0),
    ):
        assert len(desk.select(Filter(reason=beginning))) == found, beginning


async def test_addresses_beyond_ascii_and_in_quotes(put, desk):
    """Letters of any script are compared without case; quotes are part of an address, not of what
    stores it.
    """
    odd = build_destination("Üser@example.com")
    odd = replace(odd, forward_paths=('"sp ace"@other.example', 'a"b@x.example'))
    spool_id = await put(destinations=(odd,), reverse_path="ÄNN@münchen.example")
    await put()
    for recipient in ("üser@EXAMPLE.com", "u\u0308ser", '"sp ace"@other.example', "@OTHER.example", 'a"b'):
        assert [e.spool_id for e in desk.select(Filter(recipient=recipient))] == [spool_id], recipient
        if "@" in recipient:
            assert [e.spool_id for e in desk.trace(recipient)] == [spool_id], recipient
    for sender in (
        "änn@MÜNCHEN.example",
        "<änn@münchen.example>",
        "@München.example",
        "änn@",
        "MÜNCH",
        "@xn--mnchen-3ya.example",
        "änn@XN--MNCHEN-3YA.example",
    ):
        assert [e.spool_id for e in desk.select(Filter(sender=sender))] == [spool_id], sender


async def test_row_that_cannot_be_read_stops_no_search(put, desk, spool):
    """A spoiled list of forward-paths fits nothing, and what stands beside it is found."""
    await put()
    other = await put()
    with contextlib.closing(open_database(spool.config.data_dir / "spool" / "spool.db")) as connection:
        for broken in ("'{'", "x'ff'", "'7'", "'[7]'"):
            connection.execute(
                f"UPDATE entries SET forward_paths = {broken}, address = 'x@y' WHERE entry_id = 1"
            )
            assert [e.spool_id for e in desk.select(Filter(recipient="@example.com"))] == [other]
            assert [e.spool_id for e in desk.trace("support@example.com")] == [other]


async def test_ids_name_a_mail_or_one_of_its_entries(put, desk):
    """A spool id is all its entries; with the entry's number it is one; nonsense is none."""
    spool_id = await put(destinations=(build_destination(), *SALES))
    both = desk.select(Filter(ids=(spool_id,)))
    assert len(both) == 2
    one = f"{spool_id}.{both[1].entry_id}"
    assert [e.entry_id for e in desk.select(Filter(ids=(one,)))] == [both[1].entry_id]
    assert desk.hold([one], now=NOW).count == 1
    for nonsense in (
        "",
        ".",
        f"{spool_id}.",
        f"{spool_id}.x",
        f"{spool_id}.0",
        f"{spool_id}.01",
        f"{spool_id}.99",
        f"{spool_id}.²",
        f"{spool_id}.1.",
        f"{spool_id}.{10**30}",
        "x",
        "x.1",
    ):
        assert desk.select(Filter(ids=(nonsense,))) == [], nonsense
        assert desk.unknown([nonsense, spool_id]) == [nonsense]
        assert desk.drop([nonsense], now=NOW) == Changed(count=0, left=(Left(id=nonsense, state=None),))
        assert desk.export(nonsense) is None
        assert desk.trace(nonsense) == []
        assert desk.remembered(nonsense) == []


async def test_hold_and_release(put, outbox, desk):
    """A held entry waits; a released one is due now."""
    spool_id = await put()
    assert desk.hold([spool_id], now=NOW).count == 1
    assert desk.hold([spool_id], now=NOW).count == 0
    assert await outbox.claim(now=later(9), limit=1, lease_seconds=1) == []
    assert desk.release([spool_id], now=later(10)).count == 1
    assert desk.release([spool_id], now=later(10)).count == 0
    assert desk.select(Filter())[0].reason == ""
    assert (await claim_one(outbox, now=later(10))).spool_id == spool_id


async def test_retry_makes_deferred_held_and_dead_due(put, outbox, desk):
    """Whatever waits, a retry makes it due now."""
    ids = [await put() for _ in range(3)]
    entries = await outbox.claim(now=NOW, limit=3, lease_seconds=60)
    await outbox.defer(entries[0], until=later(9999), reason="r", detail="", now=NOW)
    await outbox.hold(entries[1], reason="r", detail="", now=NOW)
    await outbox.bury(entries[2], reason="r", detail="", now=NOW)
    assert desk.retry(ids, now=later(1)).count == 3
    assert len(await outbox.claim(now=later(1), limit=9, lease_seconds=60)) == 3


async def test_entry_under_way_is_left_alone(put, outbox, desk):
    """No command touches a leased entry, and each says that it is leased."""
    spool_id = await put()
    entry = await claim_one(outbox)
    left = (Left(id=f"{spool_id}.{entry.entry_id}", state=State.LEASED),)
    for act in (desk.retry, desk.hold, desk.release, desk.drop):
        assert act([spool_id], now=NOW) == Changed(count=0, left=left)
    assert desk.counts()[State.LEASED] == 1


async def test_change_says_what_it_left_and_where_it_went(put, outbox, desk):
    """What is taken is told by its routes; what is not, by the state that stood in the way."""
    ids = [await put() for _ in range(2)]
    await outbox.bury(await claim_one(outbox), reason="r", detail="", now=NOW)
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    both = await put(destinations=(build_destination(), *SALES))
    dead, done, support, sales = desk.select(Filter())
    changed = desk.hold([*ids, both, f"{both}.{sales.entry_id}", "unknown", "unknown"], now=NOW)
    assert changed == Changed(
        count=2,
        left=(
            Left(id=f"{ids[0]}.{dead.entry_id}", state=State.DEAD),
            Left(id=f"{ids[1]}.{done.entry_id}", state=State.DONE),
            Left(id="unknown", state=None),
        ),
        routes=("sales", "support"),
    )
    assert desk.release([f"{both}.{support.entry_id}"], now=NOW) == Changed(count=1, routes=("support",))


@pytest.mark.slow
async def test_entry_that_moves_is_seen_once(put, outbox, desk, spool):
    """A look at the queue shows each entry once, however fast it goes from state to state meanwhile."""
    spool_id = await put()
    running = True

    async def move():
        while running:
            entry = await claim_one(outbox)
            await outbox.defer(entry, until=NOW, reason="r", detail="", now=NOW)

    moving = asyncio.create_task(move())
    try:
        for wanted in (Filter(), Filter(ids=(spool_id,))) * (20 if spool.config.fleet.table else 200):
            found = await asyncio.to_thread(desk.select, wanted)
            assert [entry.spool_id for entry in found] == [spool_id]
    finally:
        running = False
        await moving


async def test_drop_takes_the_mail_with_its_last_entry(put, desk, spool):
    """The raw mail goes with the last entry, its file too."""
    spool_id = await put(destinations=(build_destination(), *SALES), body=b"x" * 300_000)
    first, second = desk.select(Filter())
    assert desk.drop([f"{spool_id}.{first.entry_id}"], now=NOW).count == 1
    assert desk.export(spool_id) is not None
    assert desk.drop([f"{spool_id}.{second.entry_id}"], now=NOW).count == 1
    assert desk.export(spool_id) is None
    assert desk.select(Filter()) == []
    assert raw_files(spool.config.data_dir) == []


async def test_dropped_mail_may_come_again(put, desk):
    """After a drop the same mail is no duplicate: who sends it again is not told 250 for nothing."""
    first = await put(body=b"same", message_id="<m@x>")
    desk.drop([first], now=NOW)
    second = await put(body=b"same", message_id="<m@x>")
    assert [e.spool_id for e in desk.select(Filter())] == [second]
    # What became of the first is known all the same.
    assert [(line.spool_id, line.dropped_at) for line in desk.remembered("<m@x>")] == [(first, NOW)]
    assert [line.dropped_at for line in desk.remembered(first)] == [NOW]


@pytest.mark.parametrize("command", ["release", "retry"])
@pytest.mark.parametrize(
    ("reason", "released"), [("class.auto-reply", True), ("operator", False), ("cut_short", False)]
)
async def test_release_of_what_a_policy_held_is_kept(put, outbox, desk, command, reason, released):
    """A person's word stands over the policy of the route, and over nothing else; later attempts
    know of it.
    """
    spool_id = await put()
    await outbox.hold(await claim_one(outbox), reason=reason, detail="", now=NOW)
    assert getattr(desk, command)([spool_id], now=NOW).count == 1
    entry = await claim_one(outbox)
    assert entry.released is released
    await outbox.defer(entry, until=NOW, reason="connect.timeout", detail="", now=NOW)
    desk.hold([spool_id], now=NOW)
    desk.release([spool_id], now=NOW)
    assert (await claim_one(outbox)).released is released


async def test_dropping_a_finished_entry_keeps_the_ledger(put, outbox, desk):
    """A contact that exists is not made again because its mail was dropped."""
    first = await put(body=b"same", message_id="<m@x>")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    assert desk.drop([first], now=NOW).count == 1
    assert await put(body=b"same", message_id="<m@x>") == first
    assert [line.contact_id for line in desk.remembered("c")] == ["c"]


async def test_export_gives_the_raw_mail(put, desk):
    """Our trace header, then the octets as received; None for what is not here."""
    spool_id = await put(body=b"Subject: x\r\n\r\n\x00\xff\r\n")
    assert desk.export(spool_id) == b"Received: from x\r\nSubject: x\r\n\r\n\x00\xff\r\n"
    assert desk.export(f"{spool_id}.1") == desk.export(spool_id)
    assert desk.export("nothing") is None


async def test_trace_by_every_word(put, outbox, desk):
    """Message-ID with or without brackets, spool id, contact id, sender and recipient lead to the entry."""
    alias = build_destination("desk@example.com")
    alias = type(alias)(
        instance_id="00000000-0000-0000-0000-000000000001",
        address="desk@example.com",
        forward_paths=("alias@example.com",),
        route="r",
    )
    spool_id = await put(message_id="<m@x>", reverse_path="Ann@Customer.example", destinations=(alias,))
    await put(reverse_path="zoe@else.example")
    await outbox.finish(await claim_one(outbox), contact_id="contact-1", now=NOW)
    for word in (
        "<m@x>",
        "m@x",
        spool_id,
        f"{spool_id}.1",
        "contact-1",
        "ann@customer.example",
        "desk@EXAMPLE.com",
        "alias@example.com",
        "<Ann@customer.example>",
        "@customer.example",
    ):
        assert [e.spool_id for e in desk.trace(word)] == [spool_id], word
    assert desk.trace("nobody@example.org") == []


async def test_trace_gives_the_newest(put, outbox, desk):
    """With more than are asked for, the newest are given, oldest first; of what the ledger knows too."""
    ids = [await put(message_id="<same@x>") for _ in range(5)]
    assert [e.spool_id for e in desk.trace("support@example.com", limit=2)] == ids[3:]
    for _ in range(3):
        await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    assert [e.spool_id for e in desk.trace("<same@x>", limit=2)] == ids[3:]
    assert [e.spool_id for e in desk.trace("<same@x>", limit=4)] == ids[1:]
    assert [line.spool_id for line in desk.remembered("same@x", limit=2)] == ids[1:3]


async def test_trace_finds_contact_and_waiting_mail_of_one_message_id(put, outbox, desk):
    """A Message-ID that was used twice leads to both, the one that is a contact and the one that waits."""
    first = await put(body=b"one", message_id="<m@x>")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    second = await put(body=b"two", message_id="<m@x>")
    odd = await put(message_id="<no at sign>")
    assert [entry.spool_id for entry in desk.trace("m@x")] == [first, second]
    assert [entry.spool_id for entry in desk.trace("<no at sign>")] == [odd]


async def test_no_id_hides_the_mail_of_an_address(put, outbox, desk):
    """Somebody took an address for the Message-ID of a mail: the address still leads to all its mail,
    finished and waiting.
    """
    theirs = await put(message_id="<ann@customer.example>", reverse_path="zoe@else.example")
    finished = await put(reverse_path="Ann@customer.example")
    for number in range(2):
        await outbox.finish(await claim_one(outbox), contact_id=f"c{number}", now=NOW)
    waiting = await put(reverse_path="ann@CUSTOMER.example")
    assert [e.spool_id for e in desk.trace("ann@customer.example")] == [theirs, finished, waiting]


async def test_address_leads_to_what_is_no_longer_kept(put, outbox, desk):
    """After retention the ledger still knows whose mail it was, until it forgets the mail, too."""
    spool_id = await put(reverse_path="ann@bücher.example")
    dropped = await put(reverse_path="ann@bücher.example")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    desk.drop([dropped], now=NOW)
    await outbox.expire(now=NOW + timedelta(days=30))
    assert desk.trace("ann@bücher.example") == []
    for word in ("ann@bücher.example", "Ann@xn--bcher-kva.example", "support@example.com"):
        assert {line.spool_id for line in desk.remembered(word)} == {spool_id, dropped}, word
    await outbox.expire(now=NOW + timedelta(days=100))
    assert desk.remembered("ann@bücher.example") == []


async def test_address_of_mail_that_ended_before_the_index(put, outbox, desk, spool):
    """What an earlier version finished has no index, and is found by a walk."""
    spool_id = await put(reverse_path="ann@customer.example")
    await outbox.finish(await claim_one(outbox), contact_id="c", now=NOW)
    with contextlib.closing(open_database(spool.config.data_dir / "spool" / "spool.db")) as connection:
        connection.execute("DELETE FROM addressed; UPDATE marks SET value = 1 WHERE name = 'unaddressed'")
    assert [entry.spool_id for entry in desk.trace("ann@customer.example")] == [spool_id]


async def test_history_tells_the_story(put, outbox, desk):
    """What happened is kept in order, with attempt, reason and detail."""
    spool_id = await put()
    await outbox.defer(
        await claim_one(outbox), until=later(5), reason="s3.timeout", detail="slow", now=later(1)
    )
    desk.hold([spool_id], now=later(2))
    desk.release([spool_id], now=later(3))
    await outbox.finish(await claim_one(outbox, now=later(3)), contact_id="c", now=later(4))
    story = [(e.at, e.event, e.attempt, e.reason, e.detail) for e in desk.history(desk.trace(spool_id)[0])]
    assert story == [
        (later(1), "deferred", 1, "s3.timeout", "slow"),
        (later(2), "held", 1, "operator", ""),
        (later(3), "released", 1, "", ""),
        (later(4), "done", 2, "", ""),
    ]


async def test_history_stays_short(put, outbox, desk):
    """Hundreds of attempts leave the latest events only."""
    spool_id = await put()
    for number in range(120):
        entry = await claim_one(outbox)
        await outbox.defer(entry, until=NOW, reason="r", detail=str(number), now=NOW)
    story = desk.history(desk.trace(spool_id)[0])
    assert len(story) == 50
    assert story[-1].detail == "119"


async def test_counts_and_backlog(put, outbox, desk):
    """Every state is counted, and each route's backlog by age."""
    for age in (1, 100, 10_000):
        await put(at=later(-age))
    await put(destinations=SALES)
    assert desk.hold([desk.select(Filter(route="sales"))[0].spool_id], now=NOW).count == 1
    entry = await claim_one(outbox)
    await outbox.bury(entry, reason="r", detail="", now=NOW)
    assert {State.DONE: 0, **desk.counts()} == {  # a state that the backend cannot count is left out
        State.QUEUED: 2,
        State.LEASED: 0,
        State.HELD: 1,
        State.DEAD: 1,
        State.DONE: 0,
    }
    limits = (timedelta(seconds=60), timedelta(seconds=1000))
    sales, support = desk.backlog(limits=limits, now=NOW)
    assert desk.oldest_at() == NOW - timedelta(seconds=1)  # of those that wait, the one that came first
    assert (sales.route, sales.held, sales.ages, sales.oldest_at) == ("sales", 1, (1, 0, 0), NOW)
    assert (support.queued, support.dead, support.ages) == (2, 1, (1, 1, 0))
    assert support.oldest_at == later(-100)


async def test_what_the_policy_holds_is_counted_apart(put, outbox, desk):
    """Mail that rules hold does not make the oldest mail; mail that anything else holds does."""
    for age, reason in (
        (300, "policy.spf.fail"),
        (200, "class.bulk"),
        (100, "fate_unknown"),
        (50, "operator"),
    ):
        await put(at=later(-age))
        await outbox.hold(await claim_one(outbox), reason=reason, detail="", now=NOW)
    assert {reason.startswith(BY_POLICY) for _, reason in desk.holds_after(None, limit=9)} == {True, False}
    assert (desk.held_by_policy(), desk.oldest_at()) == (2, later(-100))
    desk.drop([entry.spool_id for entry in desk.select(Filter(reason="fate_unknown"))], now=NOW)
    assert (desk.held_by_policy(), desk.oldest_at()) == (2, later(-50))
    desk.drop([entry.spool_id for entry in desk.select(Filter(reason="operator"))], now=NOW)
    assert (desk.held_by_policy(), desk.oldest_at()) == (2, None)
    desk.release([entry.spool_id for entry in desk.select(Filter(reason="policy.spf.fail"))], now=NOW)
    assert (desk.held_by_policy(), desk.oldest_at()) == (1, later(-300))


async def test_entry_of_a_held_route_is_seen_as_held(put, outbox, desk):
    """An error of configuration holds a route: its entries are stored as queued, and an operator sees them
    held.
    """
    support = await put()
    sales = [await put(destinations=SALES) for _ in range(3)]
    hers = desk.select(Filter(ids=(sales[2],)))[0]
    await outbox.defer(
        await claim_one(outbox), until=later(9), reason="connect.timeout", detail="slow", now=NOW
    )
    await outbox.hold_route("sales", reason="connect.AccessDenied", detail="no right", now=NOW)
    assert [e.spool_id for e in desk.select(Filter(states=(State.QUEUED,)))] == [support]
    assert [e.spool_id for e in desk.select(Filter(states=(State.HELD,)))] == sales
    assert [e.spool_id for e in desk.select(Filter(states=(State.HELD, State.QUEUED)))] == [support, *sales]
    assert [e.spool_id for e in desk.select(Filter())] == [support, *sales]
    first, second, _ = desk.trace("sales@example.com")
    assert (first.state, first.shown_state) == (State.QUEUED, State.HELD)
    assert first.shown_reason == ("connect.timeout", "slow")
    assert second.shown_reason == ("connect.AccessDenied", "no right")
    assert [e.spool_id for e in desk.select(Filter(reason="connect.Acc"))] == sales[1:]
    assert [e.spool_id for e in desk.select(Filter(reason="connect.t"))] == sales[:1]
    # An operator's hold is its own, and outlives that of the route.
    assert desk.hold([sales[2]], now=NOW) == Changed(count=1, routes=("sales",))
    assert desk.hold([sales[2]], now=NOW).left == (Left(id=f"{sales[2]}.{hers.entry_id}", state=State.HELD),)
    assert {State.DONE: 0, **desk.tally(Filter())} == {  # a fleet does not count what is done
        State.QUEUED: 1,
        State.LEASED: 0,
        State.HELD: 3,
        State.DEAD: 0,
        State.DONE: 0,
    }
    assert desk.tally(Filter(route="sales", states=(State.QUEUED, State.HELD))) == {
        State.QUEUED: 0,
        State.HELD: 3,
    }
    assert (desk.counts()[State.QUEUED], desk.counts()[State.HELD]) == (3, 1)
    assert [(b.route, b.queued, b.held) for b in desk.backlog(limits=(), now=NOW)] == [
        ("sales", 0, 3),
        ("support", 1, 0),
    ]
    await outbox.resume_route("sales")
    assert [e.spool_id for e in desk.select(Filter(states=(State.HELD,)))] == sales[2:]


@pytest.mark.parametrize("command", ["retry", "release"])
async def test_entry_of_a_held_route_is_due_when_the_route_goes_on(put, outbox, desk, command):
    """What is asked for by a person is due at once, and goes when its route does."""
    spool_id = await put()
    await outbox.defer(await claim_one(outbox), until=later(9999), reason="r", detail="", now=NOW)
    await outbox.hold_route("support", reason="connect.AccessDenied", detail="", now=NOW)
    assert getattr(desk, command)([spool_id], now=NOW) == Changed(count=1, routes=("support",))
    assert await outbox.claim(now=later(1), limit=1, lease_seconds=1) == []
    await outbox.resume_route("support")
    assert (await claim_one(outbox, now=later(1))).spool_id == spool_id


async def test_tally_counts_what_fits(put, outbox, desk, three):
    """Each filter counts, the limit does not."""
    assert desk.tally(Filter(sender="bob", limit=1))[State.QUEUED] == 1
    assert desk.tally(Filter(route="sales", limit=1))[State.QUEUED] == 2
    assert desk.tally(Filter(ids=(three[0], "x"))) == {**dict.fromkeys(State, 0), State.QUEUED: 1}
    assert desk.tally(Filter(states=(State.DEAD,))) == {State.DEAD: 0}


@pytest.mark.parametrize("subject", ["", "intake now", "route", "everything", "delivery x"])
async def test_pause_of_nonsense_is_refused(desk, subject):
    """Only what can stand still can be paused."""
    with pytest.raises(SpoolError, match="cannot be paused"):
        desk.pause(subject, now=NOW)


async def test_resume_ends_the_hold_of_a_route(outbox, desk):
    """An operator who mended the configuration need not wait for the probe."""
    await outbox.hold_route("support", reason="r", detail="", now=NOW)
    assert [hold.route for hold in desk.paused().holds] == ["support"]
    assert desk.resume("route support")
    assert desk.paused().holds == ()
    assert not desk.resume("route support")


async def test_desk_without_a_spool_says_so(tmp_path):
    """A wrong data_dir is told in a sentence, and nothing is made there."""
    from spool_helpers import build_config

    from relay.spool.opening import open_desk

    with pytest.raises(SpoolError, match="there is no spool in"):
        open_desk(build_config(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


async def test_trace_of_the_null_reverse_path(put, outbox, desk):
    """Bounces have no sender to ask for but "<>"; finished ones are found, too."""
    await put()
    bounces = [await put(reverse_path=None), await put(reverse_path=None)]
    (entry,) = [
        one for one in await outbox.claim(now=NOW, limit=3, lease_seconds=60) if one.spool_id == bounces[1]
    ]
    await outbox.finish(entry, contact_id="c-1", now=NOW)
    assert [one.spool_id for one in desk.trace("<>")] == bounces
