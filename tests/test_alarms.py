"""Alarms on their way out: a webhook and an SNS topic, over real HTTP."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import aioboto3
import pytest
from aiohttp import web
from aws_parts import nobody
from structlog.testing import capture_logs

from relay.alarms import AlarmSender
from relay.config.model import Alarms
from relay.standing import Alarm, AlarmKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALARM = Alarm(kind=AlarmKind.DEAD_LETTERS, raised=True, detail="2 dead letters", count=2)
END = Alarm(kind=AlarmKind.ROUTE_HELD, raised=False, detail="it delivers again", subject="desk-one")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:relay"


def sender(**alarms):
    return AlarmSender(Alarms(**alarms), hostname="mx.test", now=lambda: NOW)


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
    """The webhook gets one POST, with what pairs the alarm and its end: host, alarm, subject."""
    async with server() as (url, taken):
        await sender(webhook=url).tell(ALARM)
        await sender(webhook=url).tell(END)
    assert [content_type for content_type, _ in taken] == ["application/json"] * 2
    assert [json.loads(text) for _, text in taken] == [
        {
            "host": "mx.test",
            "alarm": "dead_letters",
            "subject": "",
            "raised": True,
            "detail": "2 dead letters",
            "count": 2,
            "at": "2026-11-23T12:00:00+00:00",
        },
        {
            "host": "mx.test",
            "alarm": "route_held",
            "subject": "desk-one",
            "raised": False,
            "detail": "it delivers again",
            "at": "2026-11-23T12:00:00+00:00",
        },
    ]


async def published(alarm, hostname="mx.test"):
    """What the topic gets of an alarm, through the real client, by parameter."""
    async with (
        server() as (url, taken),
        aioboto3.Session("AKIAEXAMPLE", "secret", region_name="eu-central-1").client(
            "sns", endpoint_url=url
        ) as sns,
    ):
        await AlarmSender(Alarms(sns_topic_arn=TOPIC), hostname=hostname, now=lambda: NOW, sns=sns).tell(
            alarm
        )
    ((_, body),) = taken
    return dict(parse_qsl(body, keep_blank_values=True))


@pytest.mark.parametrize(
    ("alarm", "line", "raised"),
    [(ALARM, "relay on mx.test: dead_letters", "true"), (END, "relay on mx.test: route_held ended", "false")],
)
async def test_topic_takes_the_same_document(alarm, line, raised):
    """The SNS topic gets the webhook's document; kind and raised stand beside it, for filter policies, and in the subject."""
    async with server() as (url, taken):
        await sender(webhook=url).tell(alarm)
    told = await published(alarm)
    assert (told["Action"], told["TopicArn"], told["Subject"]) == ("Publish", TOPIC, line)
    assert told["Message"] == taken[0][1]
    attributes = {
        told[f"MessageAttributes.entry.{number}.Name"]: (
            told[f"MessageAttributes.entry.{number}.Value.DataType"],
            told[f"MessageAttributes.entry.{number}.Value.StringValue"],
        )
        for number in (1, 2)
    }
    assert attributes == {"alarm": ("String", str(alarm.kind)), "raised": ("String", raised)}


async def test_subject_is_what_sns_takes():
    """A long host name and one outside ASCII leave a subject of ASCII under 100 characters that still says what it is."""
    for hostname in ("mx." + "a" * 240 + ".test", "mx.bücher.test"):
        line = (await published(END, hostname))["Subject"]
        assert line.isascii()
        assert len(line) < 100
        assert line.endswith(": route_held ended")


async def test_reload_tells_others():
    """After a reload the next alarm goes to the new webhook, from the new name, and no more to the old one."""
    async with server() as (old, taken), server() as (new, taken_later):
        one = sender(webhook=old)
        await one.tell(ALARM)
        one.reload(Alarms(webhook=new), hostname="mx2.test")
        await one.tell(END)
        one.reload(Alarms(), hostname="mx2.test")
        await one.tell(ALARM)
    assert [json.loads(text)["host"] for _, text in taken] == ["mx.test"]
    assert [json.loads(text)["host"] for _, text in taken_later] == ["mx2.test"]


@pytest.mark.parametrize("status", [500, 404])
async def test_refusal_is_logged_and_harmless(status):
    """A webhook that answers badly is told in the log, and nothing else happens."""
    async with server(status=status) as (url, _):
        with capture_logs() as logs:
            await sender(webhook=url).tell(ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised", "alarm.untold"]


async def test_nobody_listens():
    """A webhook that is away is told in the log, and nothing else happens."""
    with nobody() as url, capture_logs() as logs:
        await sender(webhook=url).tell(ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised", "alarm.untold"]
