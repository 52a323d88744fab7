"""Events: written with each outcome, told at least once, signed, put off, given up, and never in the way."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from spool_helpers import NOW, LocalSpool, build_config, build_submission, claim_one, later, tables_of

from relay.config.model import Config
from relay.events.feed import EventFeed
from relay.spool.feed import Refusal
from relay.spool.model import PolicyHold

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
ANN = "ann@customer.example"


@pytest.fixture
async def spool(tmp_path):
    spool = LocalSpool(tmp_path)
    yield spool
    await spool.close()


@pytest.fixture
def intake(spool):
    return spool.open_intake()


@pytest.fixture
def outbox(spool, intake):
    return spool.open_outbox()


@pytest.fixture
def put(intake):
    async def put(**like):
        return (await intake.put(build_submission(intake.new_id(), **like))).spool_id

    return put


async def waiting(outbox):
    """The kinds of the events that wait."""
    return [str(event.kind) for event in await outbox.pending_feed(now=outbox.now(), limit=99)]


async def test_each_outcome_is_an_event(spool, intake, put, outbox):
    """Accepted, held, dead, dropped and delivered mail is told with its ids, whoever changed it: a policy, an
    attempt, a person or its age.
    """
    await outbox.keep_feed(wanted=True)
    hold = PolicyHold(route="support", reason="policy.dmarc", detail="")
    submission = build_submission(intake.new_id(), message_id="<first@x>")
    first = (await intake.put(submission._replace(holds=(hold,)))).spool_id
    desk = spool.open_desk()
    desk.release([first], now=NOW)
    await outbox.finish(await claim_one(outbox, now=later(1)), contact_id="c1", now=NOW)
    second = await put()
    desk.hold([second], now=NOW)
    third = await put()
    await outbox.bury(await claim_one(outbox, now=later(2)), reason="connect.x", detail="", now=NOW)
    await put()
    await outbox.finish(
        await claim_one(outbox, now=later(3)), contact_id=None, dropped=True, reason="class.bulk", now=NOW
    )
    events = await outbox.pending_feed(now=outbox.now(), limit=99)
    assert [(str(each.kind), each.reason) for each in events] == [
        ("accepted", ""),
        ("held", "policy.dmarc"),
        ("delivered", ""),
        ("accepted", ""),
        ("held", "operator"),
        ("accepted", ""),
        ("dead", "connect.x"),
        ("accepted", ""),
        ("dropped", "class.bulk"),
    ]
    told = events[2]
    assert (told.spool_id, told.message_id, told.contact_id, told.route) == (
        first,
        "<first@x>",
        "c1",
        "support",
    )
    assert [events[4].spool_id, events[6].spool_id] == [second, third]


async def test_nothing_is_kept_that_nobody_wants(put, outbox):
    """Without a receiver no event is written, and what waited is forgotten when the receiver is taken out."""
    await put()
    assert await waiting(outbox) == []
    await outbox.keep_feed(wanted=True)
    await put()
    assert await waiting(outbox) == ["accepted"]
    await outbox.keep_feed(wanted=False)
    await put()
    assert await waiting(outbox) == []


async def test_refused_mail_is_an_event(intake, outbox):
    """A refusal by the policy, which the spool has no row of, is told, too."""
    await outbox.keep_feed(wanted=True)
    intake.note_refusals([Refusal(NOW, "id1", "support", "i", "policy.virus")])
    await intake.close()
    (event,) = await outbox.pending_feed(now=outbox.now(), limit=9)
    assert (str(event.kind), event.spool_id, event.entry, event.reason) == (
        "refused",
        "id1",
        0,
        "policy.virus",
    )


@asynccontextmanager
async def receiver(*answers):
    """A webhook that gives these answers, then 200. Gives its URL, and what it got."""
    got, left = [], list(answers)

    async def take(request):
        got.append((dict(request.headers), await request.read()))
        status = left.pop(0) if left else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", got
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(outbox, tmp_path, **events):
    """The feed at work until the block ends; its pauses are short."""
    data = build_config(tmp_path / "data").pack()
    config = Config.model_validate({**data, "hostname": "mx.test", "events": events})
    stopped = asyncio.Event()

    async def wait(seconds):
        try:
            await asyncio.wait_for(stopped.wait(), min(seconds, 0.02))
        except TimeoutError:
            return False
        return True

    feeding = EventFeed(
        lambda: config, outbox, wall=lambda: datetime.now(UTC), steady=time.monotonic, wait=wait
    )
    task = asyncio.create_task(feeding.run())
    try:
        yield
    finally:
        stopped.set()
        await task


async def until(look):
    """Wait until the condition holds."""
    async with asyncio.timeout(20):
        while not await look():
            await asyncio.sleep(0.01)


async def test_webhook_is_told_with_a_signature_over_time_and_body(put, outbox, tmp_path):
    """Each event is one POST whose signature covers id, instant and body; the document has the promised keys
    and no address.
    """
    await outbox.keep_feed(wanted=True)
    spool_id = await put(message_id="<m@x>")
    async with receiver() as (url, got), running(outbox, tmp_path, webhook=url, webhook_key=SECRET):
        await until(lambda: asyncio.sleep(0, got))
        await until(_is_empty(outbox))
    ((headers, body),) = got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mark = hmac.digest(b64decode(SECRET.removeprefix("whsec_")), signed, "sha256")
    assert headers["webhook-signature"] == f"v1,{b64encode(mark).decode()}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    document = json.loads(body)
    assert document == {
        "version": 1,
        "id": headers["webhook-id"].removeprefix("evt_"),
        "type": "accepted",
        "at": document["at"],
        "host": "mx.test",
        "route": "support",
        "spool_id": spool_id,
        "entry": f"{spool_id}.1",
        "message_id": "<m@x>",
        "contact_id": None,
        "instance_id": "00000000-0000-0000-0000-000000000001",
        "reason": "",
    }
    assert ANN not in body.decode()
    table = (
        (Path(__file__).parent.parent.parent / "docs" / "events.md").read_text().split("## EventBridge")[0]
    )
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(document)


def _is_empty(outbox):
    async def look():
        return await outbox.measure_feed() == (0, 0)

    return look


async def test_what_is_not_taken_is_told_again_and_given_up_in_the_end(spool, put, outbox, tmp_path):
    """An error and a redirect, which is not followed, put an event off, with a pause that grows; after
    `max_tries` it is given up, kept, and counted for a person.
    """
    await outbox.keep_feed(wanted=True)
    await put()
    async with (
        receiver(302, 500) as (url, got),
        running(outbox, tmp_path, webhook=url, webhook_key=SECRET, max_tries=2),
    ):
        await until(lambda: asyncio.sleep(0, got))
        await until(lambda: _was_put_off(outbox))
        _make_due(spool)
        await until(lambda: _is_given_up(outbox))
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    assert len(got) == 2
    desk = spool.open_desk()
    assert (desk.feed(), desk.retry_feed(), desk.feed()) == ((0, 1), 1, (1, 0))
    assert await waiting(outbox) == ["accepted"]


async def _was_put_off(outbox):
    return await outbox.measure_feed() == (1, 0) and not await waiting(outbox)


async def _is_given_up(outbox):
    return await outbox.measure_feed() == (0, 1)


def _make_due(spool):
    with tables_of(spool.config.data_dir) as connection:
        connection.execute("UPDATE feed SET due_at = 0")


async def test_an_event_that_was_sent_but_not_settled_comes_again(put, outbox, tmp_path):
    """A process that ends between the answer and the spool tells the event again, under the same id."""
    await outbox.keep_feed(wanted=True)
    await put()
    before = await outbox.pending_feed(now=outbox.now(), limit=9)
    assert await outbox.pending_feed(now=outbox.now(), limit=9) == before
    async with receiver() as (url, got), running(outbox, tmp_path, webhook=url, webhook_key=SECRET):
        await until(_is_empty(outbox))
    assert json.loads(got[0][1])["id"] == f"{before[0].spool_id}.1.{before[0].number}"


@pytest.mark.slow
async def test_bus_of_eventbridge_gets_each_event(put, outbox, tmp_path, monkeypatch):
    """More events than one call takes arrive at a rule of the bus, with source, kind and document."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in (
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
    ):
        monkeypatch.setenv(name, value)
    try:
        bus, queues = boto3.client("events"), boto3.client("sqs")
        bus.create_event_bus(Name="mail")
        queue = queues.create_queue(QueueName="q")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        bus.put_rule(
            Name="all", EventBusName="mail", EventPattern=json.dumps({"source": ["connect-mail-relay"]})
        )
        bus.put_targets(Rule="all", EventBusName="mail", Targets=[{"Id": "1", "Arn": arn}])
        await outbox.keep_feed(wanted=True)
        ids = {await put() for _ in range(12)}
        async with running(outbox, tmp_path, eventbridge="mail"):
            await until(_is_empty(outbox))
        found = []
        while batch := queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(each["Body"]) for each in batch]
        assert {each["detail-type"] for each in found} == {"Mail accepted"}
        assert {each["detail"]["spool_id"] for each in found} == ids
    finally:
        server.stop()
