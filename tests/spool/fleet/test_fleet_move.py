"""The move of a local spool into a fleet's: all that is known of a mail comes along, whatever cuts it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from fleet_helpers import client
from spool_helpers import NOW, SHOWN, LocalSpool, build_destination, build_submission, later

from relay.errors import SpoolBusyError, SpoolError, SpoolUnfitError
from relay.faults import arm_fault
from relay.spool.administration import export_spool, import_spool
from relay.spool.model import Filter, State
from relay.spool.opening import find_unfit, open_desk, open_intake, open_outbox
from relay.vocabulary import Rung

pytestmark = pytest.mark.system
TWO = (build_destination(), build_destination("sales@example.com", "sales"))


def silent(_done, _total):
    """Say nothing."""


class Source(LocalSpool):
    """A local spool with mail in every state."""

    async def fill(self):
        """Put mails, which are kept to be sent once more, and bring them into all states."""
        self.settings = {"large_message_bytes": 10_000}
        self.mails = []
        intake = self.open_intake()
        for like in (
            {
                "destinations": TWO,
                "author": "ann@customer.example",
            },  # one contact, one in doubt with a request
            {"message_id": None},
            {"body": b"Subject: large\r\n\r\n" + b"x" * 20_000},
            {},
            {},
            {},
        ):
            mail = build_submission(intake.new_id(), **like)
            self.mails.append(mail)
            await intake.put(mail)
        outbox = self.open_outbox()
        first, second, _, _, third, fourth, fifth = await outbox.claim(now=NOW, limit=7, lease_seconds=60)
        await outbox.finish(first, contact_id="contact-1", shown=SHOWN, now=later(1))
        await outbox.save_request(
            second,
            request=b'{"ClientToken":"x"}',
            rung=Rung.ORIGINAL,
            token=second.token,
            expires_at=later(600),
            instance_id="00000000-0000-0000-0000-000000000002",
            captured={"order": "4711"},
            now=later(1),
        )
        await outbox.defer(
            second, until=later(60), reason="connect.timeout", detail="no answer", now=later(2)
        )
        await outbox.hold(third, reason="connect.AccessDenied", detail="no right", now=later(2))
        await outbox.bury(fourth, reason="expired", detail="too old", now=later(2))
        await outbox.finish(fifth, contact_id="contact-2", now=later(3))
        await self.close()
        self.opened, self.desks = [], []

    def entries(self):
        """All entries as they should arrive, by reference."""
        desk = open_desk(self.config)
        try:
            return {
                entry.reference: (
                    asdict(
                        replace(
                            entry,
                            **({"state": State.QUEUED, "lease_until": None} if entry.lease_until else {}),
                        )
                    ),
                    desk.history(entry)[:1],
                    desk.export(entry.spool_id),
                )
                for entry in desk.select(Filter(ids=tuple(mail.spool_id for mail in self.mails)))
            }
        finally:
            desk.close()


@pytest.fixture
async def source(tmp_path):
    source = Source(tmp_path / "old")
    source.tmp_path.mkdir()
    await source.fill()
    return source


@pytest.fixture
async def spool(fleet_spool, tmp_path):
    spool = fleet_spool(tmp_path)
    yield spool
    await spool.close()


def arrived(spool, source):
    """The same of what is in the fleet."""
    desk = spool.open_desk()
    found = {}
    for entry in desk.select(Filter(ids=tuple(mail.spool_id for mail in source.mails))):
        history = desk.history(entry)
        found[entry.reference] = (asdict(entry), tuple(history[:1]), desk.export(entry.spool_id))
    return found


def bring(spool, source, **more):
    return import_spool(spool.config, source.config.data_dir, progress=silent, **more)


def same(arrived, there):
    """Compare, but for the instants of a lease that was given back, and of what is due no more."""
    for known in (arrived, there):
        for entry, *_ in known.values():
            entry.pop("next_attempt_at")
            if entry["attempts"] == 1 and entry["state"] is State.QUEUED and not entry["reason"]:
                entry.pop("updated_at")
    assert arrived.keys() == there.keys()
    for reference in there:
        entry, history, octets = arrived[reference]
        assert entry == there[reference][0]
        assert list(history) == list(there[reference][1]) or entry["attempts"] == 1
        assert octets == there[reference][2]


async def test_all_that_is_known_of_a_mail_moves(source, spool):
    """Entries arrive in their states with tokens, doubts, requests and histories; the source owes nothing,
    and a retransmission to the fleet is one.
    """
    before = source.entries()
    assert {entry["state"] for entry, *_ in before.values()} == set(State) - {State.LEASED}

    def move():
        done = bring(spool, source)
        return done, bring(spool, source), arrived(spool, source)

    done, again, after = await asyncio.to_thread(move)
    assert (done.mails, done.owed, done.known, done.left) == (6, 5, 0, [])
    assert (again.mails, again.owed, again.known, again.left) == (0, 0, 0, [])
    same(after, before)
    doubtful = next(entry for entry, *_ in after.values() if entry["in_doubt_since"])
    assert (doubtful["request"], doubtful["captured"]) == (b'{"ClientToken":"x"}', {"order": "4711"})
    assert doubtful["asked_instance"] == "00000000-0000-0000-0000-000000000002"
    assert find_unfit(source.config) == ()
    assert find_unfit(spool.config.model_copy(update={"data_dir": source.config.data_dir})) == ()
    desk = open_desk(source.config)
    assert set(desk.counts().values()) == {0}
    desk.close()
    intake = spool.open_intake()
    for mail in source.mails:
        receipt = await intake.put(mail._replace(spool_id=intake.new_id()))
        assert (receipt.spool_id, receipt.duplicate) == (mail.spool_id, True)
    (known,) = await asyncio.to_thread(spool.open_desk().remembered, "contact-2")
    assert known.spool_id == source.mails[5].spool_id


async def test_moved_mail_is_delivered_by_the_fleet(source, spool):
    """The leader claims what is due, and reads the request and the octets that came from the source."""
    await asyncio.to_thread(bring, spool, source)
    spool.open_intake()
    outbox = spool.open_outbox()
    now = datetime.now(UTC) + timedelta(hours=1)
    claimed = await outbox.claim(now=now, limit=10, lease_seconds=60)
    assert {entry.spool_id for entry in claimed} == {mail.spool_id for mail in source.mails[:3]}
    for entry in claimed:
        mail = next(mail for mail in source.mails if mail.spool_id == entry.spool_id)
        async with outbox.open_raw(entry) as raw:
            assert bytes(raw) == mail.raw
        await outbox.finish(entry, contact_id=f"contact-{entry.reference}", now=now)


POINTS = ("announced", "stored", "committed", "removed", "remembered", "empty")


async def test_killed_at_every_step_it_goes_on(source, spool):
    """After each SIGKILL the source starts no daemon and says why, and the same command goes on, until all is
    moved: each entry is there once.
    """
    before = source.entries()
    outbox = open_outbox(source.config)  # of finished mail the ledger alone is left
    await outbox.expire(now=NOW + timedelta(days=60))
    await outbox.close()
    before = {key: value for key, value in before.items() if value[0]["state"] is not State.DONE}

    def move():
        for point in POINTS:
            assert killed_at(f"fleet.import.{point}", lambda: bring(spool, source)), point
            (sentence,) = find_unfit(source.config)
            assert (
                f"is moving, to {spool.table}, and may be there already; finish that: relay fleet import"
                in sentence
            )
            for open_half in (open_outbox, open_intake):
                with pytest.raises(SpoolUnfitError, match="is moving"):
                    open_half(source.config)
        assert bring(spool, source).left == []
        return arrived(spool, source), spool.open_desk().remembered("contact-2")

    after, known = await asyncio.to_thread(move)
    same(after, before)
    assert [one.spool_id for one in known] == [source.mails[5].spool_id]
    assert find_unfit(source.config) == ()


def killed_at(point, work):
    """Whether a process of its own that does the work is killed at this step."""
    pid = os.fork()
    if pid == 0:
        try:
            arm_fault(point)
            work()
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


async def test_source_in_use_or_paused_is_left_as_it_is(source, spool):
    """A daemon beside it, or a pause that the fleet does not have, end the command before anything moves, and
    the source starts again.
    """
    intake = open_intake(source.config)
    with pytest.raises(SpoolBusyError, match="receives into"):
        await asyncio.to_thread(bring, spool, source)
    await intake.close()
    outbox = open_outbox(source.config)
    with pytest.raises(SpoolBusyError, match="delivers from"):
        await asyncio.to_thread(bring, spool, source)
    await outbox.close()
    desk = open_desk(source.config)
    desk.pause("route sales", now=NOW)
    desk.close()
    with pytest.raises(SpoolError, match="route sales is paused here, and not in the fleet"):
        await asyncio.to_thread(bring, spool, source)
    assert find_unfit(source.config) == ()
    await asyncio.to_thread(spool.open_desk().pause, "route sales", now=NOW)
    assert (await asyncio.to_thread(bring, spool, source)).mails == 6


async def test_mail_that_cannot_be_moved_is_told(source, spool):
    """A mail whose octets are spoilt stays, with the reason, and the source stays closed; once it is dropped
    there, the move is complete.
    """
    spoilt = source.mails[2]
    (path,) = source.config.data_dir.glob(f"spool/raw/*/{spoilt.spool_id}")
    path.write_bytes(b"something else")
    move = await asyncio.to_thread(bring, spool, source)
    assert [left.spool_id for left in move.left] == [spoilt.spool_id]
    assert "does not hash to what was accepted" in move.left[0].why
    assert move.mails == 5
    assert find_unfit(source.config)
    desk = open_desk(source.config)
    desk.drop([spoilt.spool_id], now=NOW)
    desk.close()
    assert (await asyncio.to_thread(bring, spool, source)).left == []
    assert find_unfit(source.config) == ()


async def test_mail_that_the_fleet_has_already_comes_no_second_time(source, spool):
    """A copy of a spool that was moved before changes nothing: neither what the fleet has, nor what has ended
    there since.
    """
    await asyncio.to_thread(bring, spool, source)
    await asyncio.to_thread(spool.open_desk().drop, [source.mails[3].spool_id], now=NOW)
    copy = Source(source.tmp_path.parent / "copy")
    copy.tmp_path.mkdir()
    intake = open_intake(copy.config)
    for mail in source.mails:
        await intake.put(mail)
    await intake.close()
    before = arrived(spool, source)
    move = await asyncio.to_thread(bring, spool, copy)
    assert (move.mails, move.known, move.left) == (0, 6, [])
    assert arrived(spool, source) == before
    names = {item["pk"]["S"] for item in client("dynamodb", spool.url).scan(TableName=spool.table)["Items"]}
    assert f"M#{source.mails[3].spool_id}" not in names


def quick(spool):
    """The configuration with a lease that a command which was killed does not keep for long."""
    return spool.config.model_copy(
        update={"fleet": spool.config.fleet.model_copy(update={"lease_seconds": 3.0})}
    )


def give(spool, target):
    return export_spool(quick(spool), target.config.data_dir, progress=silent)


def by_way(entries):
    """Entries by mail and way: a spool numbers them by itself."""
    found = {}
    for each, *rest in entries.values():
        entry = {name: value for name, value in each.items() if name != "entry_id"}
        found[entry["spool_id"], entry["destination"]["route"]] = (entry, *rest)
    return found


@pytest.fixture
def target(tmp_path, source):
    target = Source(tmp_path / "new")
    (target.tmp_path / "data").mkdir(parents=True)
    target.settings, target.mails = source.settings, source.mails
    return target


async def test_all_moves_out_again_whatever_cuts_it(source, spool, target):
    """After SIGKILL at every step the same command goes on, and no daemon starts on the copy before: in the
    end the local spool has each entry once, delivers it, and the fleet owes nothing.
    """
    before = by_way(source.entries())

    def move_out():
        bring(spool, source)
        with pytest.raises(SpoolError, match="have it take none first: relay pause intake"):
            give(spool, target)
        spool.open_desk().pause("intake", now=NOW)
        for point in ("written", "removed", "empty"):
            assert killed_at(f"fleet.export.{point}", lambda: give(spool, target)), point
            (sentence,) = find_unfit(target.config)
            assert f"is moving, from {spool.table}" in sentence
            assert "finish that: relay fleet export --to" in sentence
            with pytest.raises(SpoolUnfitError, match="is moving"):
                open_outbox(target.config)
        done = give(spool, target)
        assert (done.mails, done.left) == (0, [])
        return spool.open_desk().counts()

    counts = await asyncio.to_thread(move_out)
    assert set(counts.values()) == {0}
    assert find_unfit(target.config) == ()
    same(by_way(target.entries()), before)
    intake = target.open_intake()
    for mail in source.mails:
        receipt = await intake.put(mail._replace(spool_id=intake.new_id()))
        assert (receipt.spool_id, receipt.duplicate) == (mail.spool_id, True)
    outbox = target.open_outbox()
    claimed = await outbox.claim(now=datetime.now(UTC) + timedelta(hours=1), limit=10, lease_seconds=60)
    assert {entry.spool_id for entry in claimed} == {mail.spool_id for mail in source.mails[:3]}
    for entry in claimed:
        async with outbox.open_raw(entry) as raw:
            assert bytes(raw) == next(mail.raw for mail in source.mails if mail.spool_id == entry.spool_id)
    await target.close()
    (known,) = open_desk(target.config).remembered("contact-2")
    assert known.spool_id == source.mails[5].spool_id


async def test_there_and_back_again(source, spool, target):
    """A spool that came out of a fleet goes into it again as it is, though its entries have other numbers;
    while a node delivers, nothing comes out.
    """

    def move():
        bring(spool, source)
        spool.open_desk().pause("intake", now=NOW)
        give(spool, target)
        before = by_way(target.entries())
        return bring(spool, target), before, by_way(arrived(spool, source))

    done, before, after = await asyncio.to_thread(move)
    assert (done.mails, done.known, done.left) == (6, 0, [])
    same(after, before)
    outbox = open_outbox(quick(spool))
    await outbox.recover(now=NOW)
    with pytest.raises(SpoolBusyError, match=r"delivers, in epoch .; stop the nodes of the fleet first"):
        await asyncio.to_thread(give, spool, target)
    await outbox.close()
    assert find_unfit(target.config) == ()
