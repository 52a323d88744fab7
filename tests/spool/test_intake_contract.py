"""What every `Intake` does: acceptance, duplicates, files, room."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from spool_helpers import NOW, build_destination, build_submission, claim_one, later, raw_files

from relay.errors import SpoolError, SpoolFullError
from relay.spool.local.database import open_database
from relay.spool.model import Filter, PolicyHold, State

SALES = build_destination("sales@example.com", route="sales")
SUPPORT = build_destination()


async def read(outbox, entry) -> bytes:
    async with outbox.open_raw(entry) as view:
        return bytes(view)


async def test_put_then_claim_gives_the_mail_back(intake, outbox):
    """What is claimed is what was put: envelope, results, octets, sizes."""
    submission = build_submission(intake.new_id(), references=("<a@b>",))
    receipt = await intake.put(submission)
    entry = await claim_one(outbox)
    assert (receipt.spool_id, receipt.duplicate) == (submission.spool_id, False)
    assert entry.spool_id == submission.spool_id
    assert entry.envelope == submission.envelope
    assert entry.destination == submission.destinations[0]
    assert entry.results == submission.results
    assert (entry.fingerprint, entry.message_id) == (submission.fingerprint, submission.message_id)
    assert (entry.size, entry.trace_size) == (submission.size, submission.trace_size)
    assert (entry.state, entry.attempts, entry.accepted_at) == (State.LEASED, 1, NOW)
    assert await read(outbox, entry) == submission.raw


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 262_144, 262_145, 1_000_000])
async def test_put_keeps_mail_of_any_size(intake, outbox, size):
    """Bytes of every size come back as they went in, whichever way they are kept."""
    body = bytes(range(256)) * (size // 256 + 1)
    submission = build_submission(intake.new_id(), body=body[:size])
    await intake.put(submission)
    assert await read(outbox, await claim_one(outbox)) == submission.raw


@pytest.mark.parametrize("chunks", [1, 7])
async def test_put_keeps_a_mail_received_into_a_file(intake, outbox, chunks):
    """A mail written piece by piece is kept, and `discard` after `put` does no harm."""
    body = b"Subject: large\r\n\r\n" + b"x" * 100_000
    spool_id = intake.new_id()
    file = await asyncio.to_thread(intake.open_file, spool_id)
    submission = build_submission(spool_id, body=body, raw=file)
    whole = b"Received: from x\r\n" + body
    for start in range(0, len(whole), len(whole) // chunks + 1):
        await asyncio.to_thread(file.write, whole[start : start + len(whole) // chunks + 1])
    with file.view() as octets:
        assert octets == whole
    assert file.read(5, len(whole)) == whole[5:]
    assert file.read(len(whole) - 3, 2) == whole[-3:-1]
    await intake.put(submission)
    file.discard()
    file.discard()
    assert await read(outbox, await claim_one(outbox)) == whole


async def test_discarded_file_is_gone(intake, outbox, spool):
    """What was discarded leaves neither entry nor file."""
    file = intake.open_file(intake.new_id())
    file.write(b"half a mail")
    file.discard()
    file.discard()
    assert await outbox.claim(now=NOW, limit=1, lease_seconds=60) == []
    assert raw_files(spool.config.data_dir) == []


async def test_ids_are_short_sortable_and_never_repeated(intake):
    """Ten thousand ids are distinct, in order, and fit a Received line."""
    ids = [intake.new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids
    assert all(8 <= len(one) <= 32 and one.isascii() and one.isalnum() for one in ids)


async def test_one_entry_for_each_destination(intake, outbox):
    """A mail for two desks is two entries that know nothing of each other's outcome."""
    await intake.put(build_submission(intake.new_id(), destinations=(SUPPORT, SALES)))
    first, second = await outbox.claim(now=NOW, limit=5, lease_seconds=60)
    await outbox.finish(first, contact_id="contact-1", now=NOW)
    await outbox.defer(second, until=later(5), reason="connect.timeout", detail="", now=NOW)
    again = await claim_one(outbox, now=later(5))
    assert again.destination == second.destination
    assert again.attempts == 2


async def test_same_mail_again_is_a_duplicate(intake, desk):
    """A retransmission is answered with the first spool id, and stored nowhere."""
    first = await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))
    again = await intake.put(
        build_submission(
            intake.new_id(), body=b"same", message_id="<m@x>", trace=b"Received: other\r\n", at=later(9)
        )
    )
    assert (again.spool_id, again.duplicate) == (first.spool_id, True)
    assert len(desk.select(Filter())) == 1


async def test_same_mail_in_a_file_again_leaves_no_file(intake, spool):
    """A large duplicate's octets are not kept."""
    for _ in range(2):
        spool_id = intake.new_id()
        file = intake.open_file(spool_id)
        file.write(b"Received: from x\r\nsame")
        receipt = await intake.put(build_submission(spool_id, body=b"same", message_id="<m@x>", raw=file))
    assert receipt.duplicate
    assert len(raw_files(spool.config.data_dir)) == 1


async def test_same_mail_for_another_destination_too(intake, desk):
    """Of a mail that was here for one destination, only the new destination gets an entry, under the
    new id.
    """
    first = await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))
    second = build_submission(
        intake.new_id(), body=b"same", message_id="<m@x>", destinations=(SUPPORT, SALES)
    )
    receipt = await intake.put(second)
    assert (receipt.spool_id, receipt.duplicate) == (second.spool_id, False)
    assert [(e.spool_id, e.destination) for e in desk.select(Filter())] == [
        (first.spool_id, SUPPORT),
        (second.spool_id, SALES),
    ]


async def test_same_destination_address_of_another_instance_is_another_destination(intake, desk):
    """The address alone does not make a destination."""
    other = build_destination(instance_id="00000000-0000-0000-0000-000000000002")
    await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))
    receipt = await intake.put(
        build_submission(intake.new_id(), body=b"same", message_id="<m@x>", destinations=(other,))
    )
    assert not receipt.duplicate
    assert len(desk.select(Filter())) == 2


def same_mail(intake, *, destination=SUPPORT, reverse_path="ann@customer.example", **words):
    return build_submission(
        intake.new_id(),
        body=b"same",
        message_id="<m@x>",
        destinations=(destination,),
        reverse_path=reverse_path,
        **words,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"destination": build_destination(route="form")},
        {"destination": replace(SUPPORT, tag="vip")},
        {"reverse_path": "eve@stranger.example"},
        {"reverse_path": None},
    ],
)
async def test_known_octets_of_another_are_another_mail(intake, desk, other):
    """Whoever sends known octets first, by another route, tag or reverse-path, takes nothing from who comes
    after.

    Both have their entries, each with its own envelope and token.
    """
    first = await intake.put(same_mail(intake, **other))
    second = await intake.put(same_mail(intake))
    assert not second.duplicate
    assert (await intake.put(same_mail(intake))).spool_id == second.spool_id
    assert (await intake.put(same_mail(intake, **other))).spool_id == first.spool_id
    theirs, ours = desk.select(Filter())
    assert ours.envelope.reverse_path == "ann@customer.example"
    assert ours.destination == SUPPORT
    assert theirs.token != ours.token


async def test_routes_of_one_transaction_are_entries_of_their_own(intake, desk):
    """Two routes to one address, in one mail: the order of RCPT decides nothing."""
    both = (build_destination(route="form"), SUPPORT)
    for destinations in (both, both[::-1]):
        receipt = await intake.put(build_submission(intake.new_id(), destinations=destinations))
        entries = desk.select(Filter(ids=(receipt.spool_id,)))
        assert [entry.destination for entry in entries] == list(destinations)
        assert len({entry.token for entry in entries}) == 2


@pytest.mark.parametrize(
    "outcome", ["policy drops", "operator drops", "policy holds", "operator holds", "dies", "done"]
)
@pytest.mark.parametrize("forgotten", [False, True])
async def test_what_was_dropped_vouches_for_no_other(intake, outbox, desk, spool, outcome, forgotten):
    """What a policy or a person dropped is gone, so the mail is taken anew; what is held, dead or done is
    there.
    """
    first = await intake.put(same_mail(intake))
    entry = await claim_one(outbox)
    if outcome == "policy drops":
        await outbox.finish(entry, contact_id=None, reason="class.bulk", dropped=True, now=NOW)
    elif outcome == "done":
        await outbox.finish(entry, contact_id="c", now=NOW)
    elif outcome == "dies":
        await outbox.bury(entry, reason="too_old", detail="", now=NOW)
    else:
        await outbox.hold(entry, reason="class.bulk", detail="", now=NOW)
    if outcome == "operator drops":
        desk.drop([first.spool_id], now=NOW)
    if forgotten:  # only the ledger remembers
        await outbox.expire(now=NOW + timedelta(days=spool.config.spool.retain_days, seconds=1))
    again = await intake.put(same_mail(intake, at=later(9)))
    assert again.duplicate is (outcome not in {"policy drops", "operator drops"})


async def test_dmarc_decides_whose_octets_they_are(intake, outbox, desk):
    """Mail that DMARC passes is taken though the same octets failed before; what fails after it stores
    nothing.
    """

    async def put(result):
        mail = same_mail(intake)
        return await intake.put(mail._replace(results={"relay_dmarc": result}))

    await put("fail")
    assert (await put("fail")).duplicate
    assert not (await put("pass")).duplicate
    assert [(await put(result)).duplicate for result in ("pass", "fail", "none")] == [True, True, True]
    failed, passed = desk.select(Filter())
    assert failed.token != passed.token


async def test_mail_of_an_earlier_version_vouches_for_every_route(intake, outbox, desk, spool):
    """Rows without the new columns are taken for any route, tag and reverse-path until their window ends."""
    await intake.put(same_mail(intake))
    done = await intake.put(build_submission(intake.new_id(), body=b"done", message_id="<d@x>"))
    for entry in await outbox.claim(now=NOW, limit=9, lease_seconds=60):
        if entry.spool_id == done.spool_id:
            await outbox.finish(entry, contact_id="c", now=NOW)
    with contextlib.closing(open_database(spool.config.data_dir / "spool" / "spool.db")) as connection:
        connection.execute(
            "UPDATE mails SET sender = NULL; UPDATE entries SET tag = NULL, token = NULL;"
            "UPDATE ledger SET route = NULL, tag = NULL, sender = NULL, token = NULL;"
            "DELETE FROM entries WHERE state = 'done'"
        )
    other = {"destination": build_destination(route="form"), "reverse_path": "eve@stranger.example"}
    assert (await intake.put(same_mail(intake, **other))).duplicate
    finished = build_submission(
        intake.new_id(),
        body=b"done",
        message_id="<d@x>",
        reverse_path=None,
        destinations=(other["destination"],),
    )
    assert (await intake.put(finished)).duplicate
    hours = spool.config.spool.duplicate_window_hours
    assert not (await intake.put(same_mail(intake, at=later(hours * 3600 + 1), **other))).duplicate


async def test_route_that_refuses_is_held_from_the_beginning(intake, outbox, desk):
    """Its entry waits for a person and says why; the other goes out; what the person lets go meets no
    policy.
    """
    hold = PolicyHold(route="sales", reason="policy.disallowed_types", detail="file types not allowed: a.zip")
    mail = build_submission(intake.new_id(), destinations=(SUPPORT, SALES))
    await intake.put(mail._replace(holds=(hold,)))
    assert [entry.destination for entry in await outbox.claim(now=NOW, limit=9, lease_seconds=60)] == [
        SUPPORT
    ]
    (held,) = desk.select(Filter(states=(State.HELD,)))
    assert (held.destination, held.reason, held.detail) == (SALES, hold.reason, hold.detail)
    assert [(event.event, event.reason) for event in desk.history(held)] == [("held", hold.reason)]
    assert desk.counts()[State.HELD] == 1
    assert desk.release([mail.spool_id], now=NOW).count == 1
    assert (await claim_one(outbox)).released


async def test_two_mails_with_one_message_id_are_two(put, desk):
    """A Message-ID used twice for different content makes two entries."""
    await put(body=b"one", message_id="<m@x>")
    await put(body=b"two", message_id="<m@x>")
    assert len(desk.select(Filter())) == 2


async def test_same_mail_after_the_window_is_new(intake, desk, spool):
    """Past duplicate_window_hours the same octets are a new mail."""
    hours = spool.config.spool.duplicate_window_hours
    await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))
    late = build_submission(intake.new_id(), body=b"same", message_id="<m@x>", at=later(hours * 3600 + 1))
    assert not (await intake.put(late)).duplicate
    assert len(desk.select(Filter())) == 2


async def test_mail_without_message_id_is_a_duplicate_until_confirmed(intake, desk):
    """Equal mails without a Message-ID are one while the 250 may be lost, and two once the peer has
    seen it.
    """

    def same():
        return build_submission(intake.new_id(), body=b"door bell rang", message_id=None)

    first = await intake.put(same())
    assert (await intake.put(same())).spool_id == first.spool_id
    intake.confirm(first.spool_id)
    second = await intake.put(same())
    assert not second.duplicate
    assert (await intake.put(same())).spool_id == second.spool_id
    assert len(desk.select(Filter())) == 2


async def test_what_one_receiver_confirms_another_knows(spool, intake):
    """A peer that ends its session and sends the same alarm to another receiver at once has sent two."""
    other = spool.open_intake()
    for number in range(20):
        body = b"door bell rang %d" % number
        first = await intake.put(build_submission(intake.new_id(), body=body, message_id=None))
        intake.confirm(first.spool_id)
        # As much as a new session takes: the least is a mail of its own through the first receiver.
        await intake.put(build_submission(intake.new_id()))
        assert not (await other.put(build_submission(other.new_id(), body=body, message_id=None))).duplicate


async def test_confirming_a_mail_with_message_id_changes_nothing(intake):
    """A mail with a Message-ID stays one, however often it comes."""
    first = await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))
    intake.confirm(first.spool_id)
    assert (await intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>"))).duplicate


async def test_puts_at_once_are_all_kept(intake, desk):
    """Three hundred waiting at once all get their receipt, each once."""
    mails = [build_submission(intake.new_id()) for _ in range(300)]
    receipts = await asyncio.gather(*(intake.put(mail) for mail in mails))
    assert [r.spool_id for r in receipts] == [m.spool_id for m in mails]
    assert len(desk.select(Filter())) == 300


async def test_same_mail_at_once_is_kept_once(intake, desk):
    """Fifty equal mails in one group make one entry, and all know its id."""
    receipts = await asyncio.gather(
        *(intake.put(build_submission(intake.new_id(), body=b"same", message_id="<m@x>")) for _ in range(50))
    )
    assert len({receipt.spool_id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len(desk.select(Filter())) == 1


async def test_mail_that_cannot_be_stored_does_not_harm_its_group(intake, desk):
    """One record that no database takes fails alone."""
    bad = build_submission(intake.new_id(), message_id="<\ud800@x>")
    good = [build_submission(intake.new_id()) for _ in range(5)]
    results = await asyncio.gather(
        *(intake.put(mail) for mail in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert isinstance(results.pop(2), SpoolError)
    assert [r.spool_id for r in results] == [m.spool_id for m in good]
    assert len(desk.select(Filter())) == 5


async def test_mail_that_cannot_be_written_down_leaves_nothing(intake, desk, spool):
    """An envelope that no record takes is refused before anything is stored, and its file goes."""
    spool_id = intake.new_id()
    file = intake.open_file(spool_id)
    file.write(b"Received: from x\r\nsame")
    bad = build_submission(spool_id, body=b"same", raw=file, reverse_path="\udc80@x.example")
    with pytest.raises(SpoolError):
        await intake.put(bad)
    await intake.close()
    assert desk.select(Filter()) == []
    assert raw_files(spool.config.data_dir) == []


async def test_cancelled_put_is_kept_all_the_same(intake, spool, desk):
    """Who stops waiting for the commit does not undo it: the mail is there whole, or not at all."""
    spool_id = intake.new_id()
    file = intake.open_file(spool_id)
    file.write(b"Received: from x\r\nsame")
    task = asyncio.create_task(intake.put(build_submission(spool_id, body=b"same", raw=file)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    file.discard()
    await intake.close()
    assert desk.export(spool_id) == b"Received: from x\r\nsame"


async def test_put_after_close_is_refused(intake):
    """A closed intake takes nothing."""
    await intake.close()
    await intake.close()
    with pytest.raises(SpoolError):
        await intake.put(build_submission(intake.new_id()))


async def _fill(intake) -> int:
    """Put until there is no room; how many went in."""
    for accepted in range(100):
        try:
            await intake.put(build_submission(intake.new_id(), body=b"%200d" % accepted))
        except SpoolFullError:
            return accepted
    raise AssertionError("the quota never refused")


@pytest.mark.parametrize(
    "quota", [{"max_bytes": 1_000}, {"max_entries": 3}], ids=lambda quota: next(iter(quota))
)
async def test_quota_refuses_before_it_is_passed(spool, quota):
    """Mails come in until the quota is full; then `room` says no and `put` raises, and nothing is stored."""
    spool.settings = quota
    intake = spool.open_intake()
    accepted = await _fill(intake)
    assert 2 <= accepted <= 4
    assert not intake.room(200)
    assert sum(spool.open_desk().counts().values()) == accepted


async def test_reserve_of_free_space_is_kept(spool):
    """With less free than the reserve there is no room, for octets or inodes."""
    for reserve in ({"min_free_bytes": 10**18}, {"min_free_inodes": 10**18}):
        spool.settings = reserve
        intake = spool.open_intake()
        assert not intake.room(1)
        with pytest.raises(SpoolFullError):
            await intake.put(build_submission(intake.new_id()))


async def test_pause_of_the_intake_is_seen(spool, desk):
    """What an operator paused, a receiver sees."""
    assert not spool.open_intake().paused()
    assert desk.pause("intake", now=NOW)
    assert spool.open_intake().paused()
    assert desk.resume("intake")
    assert not spool.open_intake().paused()


async def test_probe_leaves_nothing_behind(intake, outbox, desk):
    """A probe writes, and no mail, no entry and no room comes or goes by it."""
    await intake.put(build_submission(intake.new_id()))
    before = desk.counts()
    for half in (intake, outbox, intake):
        await half.probe()
    assert desk.counts() == before
    assert len(desk.select(Filter())) == 1
