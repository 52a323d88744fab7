"""Alarms on their way out: a webhook and an SNS topic, over real HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aioboto3
import pytest
from aiohttp import web
from aws_parts import nobody
from structlog.testing import capture_logs

from relay.alarms import AlarmSender
from relay.config.model import Alarms
from relay.standing import Alarm, AlarmKind

ALARM = Alarm(kind=AlarmKind.DEAD_LETTERS, raised=True, detail="2 dead letters")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:relay"


@asynccontextmanager
async def server(status=200):
    """Something that takes requests, and what it took."""
    taken = []

    async def take(request):
        taken.append((request.content_type, await request.text()))
        body = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        return web.Response(status=status, text=body, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", taken
    finally:
        await runner.cleanup()


async def test_webhook_takes_json():
    """The webhook gets one POST: host, alarm, raised, detail."""
    async with server() as (url, taken):
        await AlarmSender(Alarms(webhook=url), hostname="mx.test").tell(ALARM)
    assert taken == [
        (
            "application/json",
            '{"host": "mx.test", "alarm": "dead_letters", "raised": true, "detail": "2 dead letters"}',
        )
    ]


async def test_topic_takes_a_message():
    """The SNS topic gets one Publish, through the real client."""
    async with (
        server() as (url, taken),
        aioboto3.Session("AKIAEXAMPLE", "secret", region_name="eu-central-1").client(
            "sns", endpoint_url=url
        ) as sns,
    ):
        await AlarmSender(Alarms(sns_topic_arn=TOPIC), hostname="mx.test", sns=sns).tell(ALARM)
    assert len(taken) == 1
    assert "Action=Publish" in taken[0][1]
    assert "2+dead+letters" in taken[0][1]


@pytest.mark.parametrize("status", [500, 404])
async def test_refusal_is_logged_and_harmless(status):
    """A webhook that answers badly is told in the log, and nothing else happens."""
    async with server(status=status) as (url, _):
        with capture_logs() as logs:
            await AlarmSender(Alarms(webhook=url), hostname="mx.test").tell(ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised", "alarm.untold"]


async def test_nobody_listens():
    """A webhook that is away is told in the log, and nothing else happens."""
    with nobody() as url, capture_logs() as logs:
        await AlarmSender(Alarms(webhook=url), hostname="mx.test").tell(ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised", "alarm.untold"]
