"""The page over a fleet: which mails it looks at, what it costs, and which node did what."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from click.testing import CliRunner
from fleet_helpers import BUCKET, client
from spool_helpers import NOW, build_submission, claim_one

from relay.cli import main
from relay.sandbox.configuration import write_config
from relay.spool.fleet import listing, paging
from relay.spool.fleet.figures import Figures
from relay.spool.fleet.made import Made, count_made
from relay.spool.fleet.walk import Walk
from relay.spool.ids import build_mark, build_time
from relay.spool.model import Filter, State
from relay.spool.page import EntryQuery, Shown, split_words
from relay.web.spool_view import SpoolView
from relay.web.view import Query

SECOND = 1_000_000


class Keys:
    """A bucket that lists the raw mails of some instants, and counts how often it was asked."""

    def __init__(self, instants):
        self.keys = sorted(
            f"p/raw/{build_time(at)}{build_mark(number)}" for number, at in enumerate(instants)
        )
        self.asked = 0

    async def list(self, prefix, *, after="", limit=1_000):
        self.asked += 1
        return [key for key in self.keys if key.startswith(prefix) and key > after][:limit]


class KeyStore:
    """A store with those keys alone, at an instant."""

    prefix = "p/"

    def __init__(self, keys, *, now):
        self.keys = keys
        self.clock = self
        self._now = now

    def microseconds(self):
        return self._now

    def asked(self):
        return self

    async def __aenter__(self):
        return None, self.keys

    async def __aexit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("instants", "most_asked"),
    [
        ([], 1),
        ([5], 20),
        (range(SECOND, 9_000 * SECOND, SECOND), 60),
        ([7 * SECOND] * 2_500, 40),
        ([1, 2, 90 * 86_400 * SECOND, 95 * 86_400 * SECOND + 1], 25),
    ],
    ids=["none", "one", "a-day", "at-once", "gaps"],
)
async def test_the_walk_meets_every_mail_once(instants, most_asked):
    """The newest comes first, none twice, however mail lies in time; a walk of few mails asks seldom."""
    keys = Keys(instants)
    walk = Walk(KeyStore(keys, now=max(instants, default=0) - 3 * SECOND))  # a clock that is behind
    stretches = [stretch async for stretch in walk.back()]
    met = [each for stretch in stretches for each in stretch.ids]
    assert met == [key.removeprefix("p/raw/") for key in reversed(keys.keys)]
    assert keys.asked <= most_asked
    if met:
        middle = met[len(met) // 2]
        again = [each async for stretch in walk.back(until=middle) for each in stretch.ids]
        assert again == met[len(met) // 2 :]


def test_the_contacts_of_the_last_minute_are_told():
    """A leader's record tells its contacts by seconds; a text of another form counts as none."""
    made = Made()
    for at in (1, 1, 30, 59, 58, 60):
        made.note(at * SECOND)
    text = made.build(61 * SECOND)
    assert [count_made(text, since=at * SECOND) for at in (0, 2, 30, 31, 60, 61)] == [6, 4, 4, 3, 1, 0]
    assert count_made(made.build(900 * SECOND), since=0) == 0
    for nonsense in (None, 5, "", "x", "1 -1", "٣ 1", "9" * 2_000):
        assert count_made(nonsense, since=0) == 0


class Hints:
    """A table whose index shows so many entries that wait, and which counts the questions."""

    def __init__(self, number):
        self.number = number
        self.asked = 0

    async def query_all(self, wanted, *, index=None, **_):
        self.asked += 1
        if index is None:
            return [{"pk": "CTRL", "sk": "routes", "names": frozenset({"support"})}]
        if wanted.values["q"] != "support#1":
            return []
        hint = {"route": "support", "prio": 1, "net": 1, "dom": 1, "to": "a@b.example", "at": 5}
        more = {"due": "00000000000000005", "epoch": 0, "att": 0}
        return [{"pk": f"M#{each}", "sk": "E#000001", **hint, **more} for each in range(self.number)]


async def test_an_open_page_reads_a_thousand_entries_a_second():
    """One look at what is owed is remembered for a millisecond for each entry in it, and then taken anew."""
    hints = Hints(2_000)
    store = KeyStore(hints, now=0)
    store.asked = lambda: Asked(hints)
    now = 10 * SECOND
    store.steady = lambda: now
    figures = Figures(store, Walk(store))
    for at, looks in ((0, 1), (1.9, 1), (2.1, 2), (4.0, 2), (4.2, 3)):
        now = int((10 + at) * SECOND)
        assert (await figures.look()).counts()[State.QUEUED] == 2_000
        assert hints.asked == looks * 6  # one of the control items, and one of each queue


class Asked:
    """The table, as a store gives it for a question."""

    def __init__(self, database):
        self.database = database

    async def __aenter__(self):
        return self.database, None

    async def __aexit__(self, *_):
        return None


@pytest.mark.system
async def test_the_nodes_of_a_mail_are_told(fleet_spool, tmp_path):
    """A row says which node accepted the mail and which delivered it, and the pace is the leader's own."""
    spool = fleet_spool(tmp_path)
    intake = _open(spool, "one", "intake")
    outbox = _open(spool, "two", "outbox")
    desk = spool.open_desk()
    begun = desk.now() - timedelta(seconds=5)
    for _ in range(2):
        await intake.put(build_submission(intake.new_id()))
    await outbox.finish(await claim_one(outbox), contact_id="c-1", now=NOW)
    rows = desk.page(EntryQuery()).rows
    assert {(row.accepted_by, row.delivered_by) for row in rows} == {("one", "two"), ("one", "")}
    assert [row.accepted_by for row in desk.listed([rows[0].entry.spool_id])] == ["one"]
    async with asyncio.timeout(30):
        while not desk.contacts(since=begun):  # the next renewal tells it
            await asyncio.sleep(0.1)
    assert desk.contacts(since=begun) == 1
    await spool.close()


def _open(spool, node, half):
    from relay.spool.fleet.intake import FleetIntake
    from relay.spool.fleet.outbox import FleetOutbox

    kind = FleetIntake if half == "intake" else FleetOutbox
    opened = kind(spool.node_config(node, lease_seconds=8.0))
    spool.opened.append(opened)
    return opened


@pytest.mark.system
async def test_a_page_reads_a_bounded_part_and_says_so(fleet_spool, tmp_path, monkeypatch):
    """Pages, lists and traces look at so many mails, at a price that is held, and tell what they left out."""
    monkeypatch.setattr(paging, "_MOST", 10)
    monkeypatch.setattr(paging, "_TOGETHER", 5)
    monkeypatch.setattr(paging, "_LOOKS", 4)
    monkeypatch.setattr(listing, "MOST_WALKED", 10)
    monkeypatch.setattr(listing, "_TOGETHER", 5)
    spool = fleet_spool(tmp_path)
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    ids = [(await intake.put(build_submission(intake.new_id()))).spool_id for _ in range(24)]
    meter = desk._store.meter
    before = meter.calls.copy()
    page = desk.page(EntryQuery(words=split_words("nowhere-at-all"), seconds=60))
    assert (page.rows, page.unread, bool(page.more)) == ((), 6, True)
    assert page.stopped_at is not None
    # Of ten entries by fives their mails, themselves and what is shown: each at most one unit for each.
    made = meter.calls - before
    assert (made["batch_get_item"], made["get_object"]) == (6, 4)
    assert made["list_objects_v2"] + made["query"] <= 8
    found, mark = [], ""
    while mark or not found:
        page = desk.page(EntryQuery(before=mark, seconds=60, limit=7))
        found += [row.entry.spool_id for row in page.rows]
        mark = page.more
    assert found == ids[::-1]
    assert [entry.spool_id for entry in desk.select(Filter(limit=3))] == ids[:3]
    assert desk.unlooked() == ""
    assert desk.select(Filter(sender="nobody@nowhere.example")) == []
    assert "10 mails" in desk.unlooked()
    assert State.DONE not in desk.tally(Filter(sender="nobody@nowhere.example"))
    assert len(desk.trace("customer.example", limit=3)) == 0
    assert len(desk.trace("@customer.example", limit=3)) == 3
    assert desk.unlooked() == ""
    assert len(desk.trace("nobody@nowhere.example")) == 0
    assert "newest 10 mails" in desk.unlooked()
    assert desk.select(Filter(states=(State.QUEUED,), limit=50))[0].spool_id == ids[0]
    assert desk.unlooked() == ""
    write_config(spool.config, tmp_path / "relay.toml")
    for command in (["queue", "list", "--all", "--sender", "nobody"], ["trace", "nobody@nowhere.example"]):
        done = await asyncio.to_thread(
            CliRunner().invoke, main, [*command, "--config", str(tmp_path / "relay.toml")]
        )
        assert "looks at the" in done.stderr, done.output
    await asyncio.gather(outbox.close(), spool.close())


@pytest.mark.system
async def test_what_is_shown_goes_with_a_mail_of_the_fleet(fleet_spool, tmp_path):
    """An entry that is dropped takes its words and its document along, out of the table and of S3."""
    spool = fleet_spool(tmp_path)
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    receipt = await intake.put(build_submission(intake.new_id(), body=b"Subject: unmistakable\r\n\r\nx"))
    shown = Shown(document=b'"unmistakable"', classification="human", marks=" ", words="unmistakable")
    await outbox.finish(await claim_one(outbox), contact_id="c", shown=shown, now=NOW)
    assert len(desk.page(EntryQuery(words=("unmistakable",))).rows) == 1
    assert desk.drop([receipt.spool_id], now=NOW).count == 1
    assert desk.page(EntryQuery(words=("unmistakable",))).rows == ()
    items = client("dynamodb", spool.url).scan(TableName=spool.table)["Items"]
    assert "unmistakable" not in repr(items)
    objects = client("s3", spool.url).list_objects_v2(Bucket=BUCKET, Prefix=spool.config.fleet.prefix)
    assert not [each for each in objects.get("Contents", ()) if "/raw/" in each["Key"]]
    await spool.close()


@pytest.mark.system
async def test_any_node_shows_and_changes_the_fleet(fleet_spool, tmp_path):
    """The page of a node that took no mail shows what the others took, tells of news, finds and holds it."""
    spool = fleet_spool(tmp_path)
    intake = _open(spool, "one", "intake")
    view = SpoolView(spool.node_config("three", lease_seconds=8.0))

    async def put(subject):
        body = f"From: Ann <ann@customer.example>\r\nSubject: {subject}\r\n\r\nWords\r\n".encode()
        return (await intake.put(build_submission(intake.new_id(), body=body, at=intake.now()))).spool_id

    first = await put("An offer")
    waiting = asyncio.create_task(view.wait(""))
    await asyncio.wait({waiting}, timeout=1.0)  # it has its first look, or sees the mail in it
    second = await put("A question")
    mark = await waiting
    status = await view.status()
    assert (status.waiting.number, status.held.number, status.done) == (2, 0, None)
    assert status.received.number == 2
    assert [row.reference for row in (await view.list(Query(text="OFFER"))).rows] == [f"{first}.1"]
    found = await view.mail(f"{second}.1", content=False)
    assert (found.row.accepted_by, found.row.subject) == ("one", "A question")
    acted = await view.act("hold", [f"{second}.1"], actor="ann", reason="to be read")
    assert acted.changed == (f"{second}.1",)
    assert await view.wait(mark) != mark
    held = await view.list(Query(states=(State.HELD,)))
    assert [(row.reference, row.reason) for row in held.rows] == [(f"{second}.1", "operator")]
    assert (await view.status()).held.reasons == (("operator", 1),)
    assert await view.routes()
    await view.close()
    await spool.close()
