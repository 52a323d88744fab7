"""Delivery and runner together, over a real spool, S3 and Connect: what an operator mends, and what takes
long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from aws_parts import OneWay
from delivery.doubles import running_runner, until
from readings import reading_here
from spool_helpers import build_submission

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.config.model import Config
from relay.delivery.attempt import Delivery
from relay.delivery.pace import Pace
from relay.routes import RouteTable
from relay.sandbox.limits import Refusal
from relay.spool.model import Filter, State
from relay.spool.opening import open_desk, open_intake, open_outbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = "support@example.com"
WRONG_INSTANCE = "00000000-5a4d-4b0c-9c0d-0123456789ab"
PDF = b"%PDF-1.7\n" + bytes(range(32, 127)) * 20


def mail(number: int) -> bytes:
    """A mail with a file, its Message-ID made of its number."""
    return (
        b"From: ada@customer.example\r\nTo: support@example.com\r\nSubject: Mail %d\r\n"
        b"Message-ID: <%d@customer.example>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nText.\r\n'
        b'--b\r\nContent-Type: application/pdf; name="a.pdf"\r\n\r\n%s\r\n--b--\r\n'
    ) % (number, number, PDF)


@pytest.fixture
async def world(box, clients, tmp_path):
    """A spool, mails put into it as a configuration routes them, and a runner by that or another
    configuration.
    """

    def config(**tables) -> Config:
        route = {"match": (ADDRESS,), "name": "desk"} | tables.pop("route", {})
        values = builtin_config().model_dump() | {"routes": (route,), "data_dir": tmp_path / "data"}
        for name, table in tables.items():
            values[name] = values[name] | table
        values["spool"] = values["spool"] | {"min_free_bytes": 0, "min_free_inodes": 0}
        brief = {
            "backoff_min_seconds": 0.1,
            "backoff_max_seconds": 0.2,
            "probe_seconds": 0.1,
            "poll_seconds": 0.1,
        }
        values["deliver"] = values["deliver"] | brief | tables.get("deliver", {})
        return Config.model_validate(values)

    intake, outbox, desk = open_intake(config()), open_outbox(config()), open_desk(config())

    async def put(number, by):
        submission = build_submission(
            intake.new_id(),
            body=mail(number),
            message_id=f"<{number}@customer.example>",
            destinations=RouteTable(by).destinations((ADDRESS,)),
            at=datetime.now(UTC),
        )
        return (await intake.put(submission)).spool_id

    def delivery(by):
        return Delivery(
            config=by,
            outbox=outbox,
            ways=OneWay(
                ConnectClient(clients.connect),
                Pace(rate=1_000, burst=1_000, clock=asyncio.get_running_loop().time),
                AttachmentStore(clients.s3, config=by.s3),
            ),
            understanding=reading_here(),
            now=lambda: datetime.now(UTC),
        )

    @contextlib.asynccontextmanager
    async def running(by):
        async with running_runner(
            outbox,
            delivery(by),
            by.deliver,
            now=lambda: datetime.now(UTC),
            steady=time.monotonic,
            polls_seconds=0.02,
        ) as runner:
            yield lambda mended: runner.reload(delivery(mended), mended.deliver)

    def entry(spool_id):
        (found,) = desk.select(Filter(ids=(spool_id,)))
        return found

    yield SimpleNamespace(
        config=config, put=put, running=running, entry=entry, until=until, desk=desk, outbox=outbox
    )
    await outbox.close()
    await intake.close()
    desk.close()


async def contacts(box):
    """What Connect has, once its files are fetched."""
    return await asyncio.to_thread(box.contacts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect": {"instance_id": WRONG_INSTANCE}},
        {"route": {"destination": "desk@nowhere.example"}},
        {"route": {"instance_id": WRONG_INSTANCE}},
    ],
)
async def test_mended_configuration_delivers_the_mail_that_waited(box, world, wrong):
    """Mail that was accepted for an instance or address that is not there goes to the right one after a
    reload.
    """
    spool_ids = [await world.put(number, world.config(**wrong)) for number in range(3)]
    async with world.running(world.config(**wrong)) as reload:
        await world.until(lambda: world.entry(spool_ids[0]).reason == "connect.ResourceNotFoundException")
        reload(world.config())
        await world.until(lambda: all(world.entry(one).state is State.DONE for one in spool_ids))
    found = await contacts(box)
    assert [one["request"]["InstanceId"] for one in found] == [INSTANCE_ID] * 3
    assert {one["request"]["DestinationEmailAddress"] for one in found} == {ADDRESS}
    assert {one["contact_id"] for one in found} == {world.entry(one).contact_id for one in spool_ids}


async def test_mended_flow_is_used_by_the_mail_that_waited(box, world):
    """A request that Connect refused for its configuration is not sent again after the configuration was
    mended.
    """
    wrong = world.config(route={"contact_flow_id": "wrong"}, deliver={"probe_seconds": 600})
    box.connect.planned.append(Refusal(code="ResourceNotFoundException", message="Contact flow not found"))
    spool_id = await world.put(1, wrong)
    async with world.running(wrong):
        await world.until(lambda: world.entry(spool_id).reason == "connect.ResourceNotFoundException")
    async with world.running(world.config(route={"contact_flow_id": "right"})):
        await world.until(lambda: world.entry(spool_id).state is State.DONE)
    (contact,) = await contacts(box)
    assert contact["request"]["ContactFlowId"] == "right"


async def test_lost_reply_and_another_destination_make_one_contact(box, world):
    """A mail whose contact may exist already stays with its destination, whatever the routes say
    meanwhile.
    """
    spool_id = await world.put(1, world.config())
    box.chaos(connect={"lose_reply": 1})
    async with world.running(world.config()) as reload:
        await world.until(lambda: world.entry(spool_id).reason == "connect.unreachable")
        reload(world.config(route={"destination": "sales@example.com"}))
        await world.until(lambda: world.entry(spool_id).attempts > 2)
        await asyncio.to_thread(box.chaos, {})
        await world.until(lambda: world.entry(spool_id).state is State.DONE)
    (contact,) = await contacts(box)
    assert contact["request"]["DestinationEmailAddress"] == ADDRESS
    assert world.entry(spool_id).contact_id == contact["contact_id"]


async def test_retried_dead_letter_is_whole_again(box, world):
    """A mail that Connect refused down to the last rung is tried whole when an operator says so."""
    spool_id = await world.put(1, world.config())
    box.connect.planned.extend([Refusal(code="InvalidRequestException", message="No")] * 4)
    async with world.running(world.config()):
        await world.until(lambda: world.entry(spool_id).state is State.DEAD)
        world.desk.retry([spool_id], now=datetime.now(UTC))
        await world.until(lambda: world.entry(spool_id).state is State.DONE)
    (contact,) = await contacts(box)
    assert [file["name"] for file in contact["attachments"]] == ["a.pdf"]


async def test_attempt_that_outlasts_its_lease_is_the_only_one(box, world):
    """A delivery that takes longer than deliver.lease_seconds keeps its lease: nobody begins it a second
    time.
    """
    spool_id = await world.put(1, world.config())
    box.chaos(connect={"latency_seconds": 3.0})
    async with world.running(world.config(deliver={"lease_seconds": 1.0})):
        await world.until(lambda: world.entry(spool_id).state is State.DONE)
    assert world.entry(spool_id).attempts == 1
