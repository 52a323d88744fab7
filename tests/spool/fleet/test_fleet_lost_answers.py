"""Answers of AWS that are lost in a fleet: the work was done, and nobody was told."""

from __future__ import annotations

import asyncio

import pytest
from fleet_proxy import Proxy
from spool_helpers import NOW, build_submission, claim_one, later

from relay.errors import SpoolSickError
from relay.spool.model import Filter, State
from relay.spool.page import EntryQuery
from relay.vocabulary import Rung

pytestmark = pytest.mark.system


@pytest.fixture
async def proxy(ministack):
    async with Proxy(ministack) as proxy:
        yield proxy


@pytest.fixture
async def spool(fleet_spool, proxy, tmp_path, monkeypatch):
    """A spool behind the proxy; its table is made without it."""
    spool = fleet_spool(tmp_path)
    for service in ("DYNAMODB", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", proxy.url)
    yield spool
    proxy.lose.clear()
    proxy.refuse.clear()
    await spool.close()


async def entries_of(spool):
    return await asyncio.to_thread(spool.open_desk().select, Filter())


async def test_commit_whose_answer_was_lost_is_a_success(spool, proxy):
    """The transaction was made, and its repetition finds its own mail: one entry, and a 250."""
    intake = spool.open_intake()
    proxy.lose["TransactWriteItems"] = 1
    mail = build_submission(intake.new_id())
    receipt = await intake.put(mail)
    assert (receipt.spool_id, receipt.duplicate) == (mail.spool_id, False)
    assert proxy.seen["TransactWriteItems"] == 2
    assert len(await entries_of(spool)) == 1


async def test_upload_whose_answer_was_lost_is_a_success(spool, proxy):
    """The object is there already, with our fingerprint: the mail is accepted."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    proxy.lose["PUT"] = 1
    mail = build_submission(intake.new_id())
    assert not (await intake.put(mail)).duplicate
    async with outbox.open_raw(await claim_one(outbox)) as raw:
        assert bytes(raw) == mail.raw


async def test_commit_in_doubt_is_no_250_and_the_repetition_meets_the_guard(spool, proxy):
    """If no answer comes at all the peer is told 451, and its repetition on another node finds the mail."""
    intake, other = spool.open_intake(), spool.open_intake()
    proxy.lose["TransactWriteItems"] = 9
    first = build_submission(intake.new_id(), body=b"same", message_id="<m@x>")
    with pytest.raises(SpoolSickError):
        await intake.put(first)
    proxy.lose.clear()
    again = await other.put(build_submission(other.new_id(), body=b"same", message_id="<m@x>"))
    assert (again.spool_id, again.duplicate) == (first.spool_id, True)
    assert len(await entries_of(spool)) == 1


@pytest.mark.parametrize("lost", ["UpdateItem", "PutItem", "TransactWriteItems", "GET"])
async def test_delivery_goes_on_when_an_answer_is_lost(spool, proxy, lost):
    """Claim, stored request and outcome are each made once, though every answer is lost the first time."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id()))
    await outbox.recover(now=NOW)
    proxy.lose[lost] = 1
    entry = await claim_one(outbox)
    proxy.lose[lost] = 1
    await outbox.save_request(entry, request=b"{}", rung=Rung.FULL, token="t", expires_at=later(9), now=NOW)
    proxy.lose[lost] = 1
    await outbox.defer(entry, until=later(1), reason="r", detail="", now=NOW)
    proxy.lose[lost] = 1
    entry = await claim_one(outbox, now=later(1))
    assert (entry.attempts, entry.request) == (2, b"{}")
    proxy.lose[lost] = 1
    await outbox.finish(entry, contact_id="c", now=later(2))
    (found,) = await entries_of(spool)
    assert (found.state, found.contact_id, found.attempts) == (State.DONE, "c", 2)


async def test_claim_that_nobody_knows_of_comes_back(spool, proxy):
    """A claim of which no answer ever came is found, and its entry is delivered."""
    intake, outbox = spool.open_intake(), spool.open_outbox()
    await intake.put(build_submission(intake.new_id()))
    await outbox.recover(now=NOW)
    proxy.lose["UpdateItem"] = 3
    with pytest.raises(SpoolSickError):
        await outbox.claim(now=NOW, limit=1, lease_seconds=60)
    proxy.lose.clear()
    assert await outbox._claims.find_lost(now=later(30)) == 1
    assert (await claim_one(outbox, now=later(30))).attempts == 2


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        ("TransactWriteItems", 400, "ProvisionedThroughputExceededException"),
        ("TransactWriteItems", 400, "AccessDeniedException"),
        ("TransactWriteItems", 500, "InternalServerError"),
        ("PUT", 503, "SlowDown"),
        ("PUT", 403, "AccessDenied"),
        ("*", 500, "InternalServerError"),
    ],
)
async def test_outage_is_a_451_and_its_end_a_250(spool, proxy, refused, status, code):
    """DynamoDB or S3 away, throttled or denied: the mail is refused for now, and accepted after it, once."""
    intake = spool.open_intake()
    await intake.put(build_submission(intake.new_id()))
    proxy.refuse[refused] = (status, code)
    mail = {"body": b"same", "message_id": "<m@x>"}
    before = proxy.seen.total()
    with pytest.raises(SpoolSickError):
        await intake.put(build_submission(intake.new_id(), **mail))
    assert proxy.seen.total() - before <= 12, "tries are few: senders come again by themselves"
    proxy.refuse.clear()
    assert not (await intake.put(build_submission(intake.new_id(), **mail))).duplicate
    assert len(await entries_of(spool)) == 2


async def show_without_s3(spool):
    """What is owed, the figures and the mark are shown without S3; the list of all mail says what is away."""
    desk = spool.open_desk()
    ask = asyncio.to_thread
    page = await ask(desk.page, EntryQuery(states=(State.QUEUED,), words=("example",), seconds=60))
    assert [(row.entry.attempts, row.head) for row in page.rows] == [(0, None)] * 3
    wanted = page.rows[1].entry.spool_id
    (found,) = (await ask(desk.page, EntryQuery(states=(State.QUEUED,), words=(wanted.lower(),)))).rows
    assert found.entry.spool_id == wanted
    assert (await ask(desk.tally, Filter()))[State.QUEUED] == 3
    assert await ask(lambda: desk.accepted(since=NOW)) == 0
    assert await ask(desk.version)
    assert [entry.attempts for entry in await ask(desk.select, Filter(states=(State.QUEUED,)))] == [0, 0, 0]
    with pytest.raises(SpoolSickError, match="s3"):
        await ask(desk.page, EntryQuery())


async def test_s3_that_gives_no_mail_is_left_alone(spool, proxy):
    """While S3 is away nothing burns attempts: what was leased is put back as if it had not been, and
    nothing more is leased; a single entry tries it after a rest.
    """
    intake, outbox = spool.open_intake(), spool.open_outbox()
    for _ in range(3):
        await intake.put(build_submission(intake.new_id()))
    await outbox.recover(now=NOW)
    proxy.refuse["GET"] = (503, "SlowDown")
    entry = await claim_one(outbox)
    with pytest.raises(SpoolSickError):
        async with outbox.open_raw(entry):
            pass
    with pytest.raises(SpoolSickError):
        await outbox.claim(now=later(10**6), limit=9, lease_seconds=60)
    await show_without_s3(spool)
    proxy.refuse.clear()
    outbox._claims.outage._until = 0  # the rest is over
    (entry,) = await outbox.claim(now=later(10**6), limit=9, lease_seconds=60)
    async with outbox.open_raw(entry):
        assert len(await outbox.claim(now=later(10**6), limit=9, lease_seconds=60)) == 2
