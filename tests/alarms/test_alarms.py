"""Alarms on their way out: a webhook and an SNS topic, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from aiohttp import web
from aws_parts import Peer, answer, nobody, read_head
from structlog.testing import capture_logs

from relay.alarms import sender as alarms
from relay.alarms.model import Alarm
from relay.alarms.sender import AlarmSender
from relay.config.alarms import Alarms
from relay.vocabulary import AlarmKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALARM = Alarm(kind=AlarmKind.DEAD_LETTERS, raised=True, detail="2 dead letters", count=2)
END = Alarm(kind=AlarmKind.ROUTE_HELD, raised=False, detail="it delivers again", subject="desk-one")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:relay"


def sender(**alarms):
    return AlarmSender(Alarms(**alarms), hostname="mx.test", now=lambda: NOW)


@asynccontextmanager
async def server(*statuses, refuse=""):
    """Something that takes requests, answers with these statuses first and then with 200, and what
    it took.
    """
    taken, left = [], list(statuses)

    async def take(request):
        taken.append((request.content_type, await request.text()))
        body = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        status = left.pop(0) if left else 200
        if refuse and refuse in taken[-1][1]:
            status = 400
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


def documents(taken):
    """What the webhook was told."""
    return [json.loads(text) for _, text in taken]


def held(route):
    """The alarm of a route."""
    return Alarm(kind=AlarmKind.ROUTE_HELD, raised=True, detail="it is held", subject=route)


async def told(one, *those):
    """Have these told, and wait until nothing waits any more."""
    for alarm in those:
        one.tell(alarm)
    async with asyncio.timeout(10):
        while one.is_telling:
            await asyncio.sleep(0.005)
    await one.close()


@pytest.fixture
def quick(monkeypatch):
    """No pause is long."""
    monkeypatch.setattr(alarms, "_LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(alarms, "_LEAST_PAUSE_SECONDS", 0.01)


class Clock:
    """Pauses that take no time, and what they would have come to."""

    def __init__(self, monkeypatch):
        self.pauses = []
        monkeypatch.setattr(alarms, "is_set_within", self.pause)
        monkeypatch.setattr(alarms, "_steady", lambda: self.passed)

    @property
    def passed(self):
        return sum(self.pauses)

    async def pause(self, _event, seconds):
        self.pauses.append(seconds)


async def test_webhook_takes_json():
    """The webhook gets one POST, with what pairs the alarm and its end: host, alarm, subject."""
    async with server() as (url, taken):
        await told(sender(webhook=url), ALARM)
        await told(sender(webhook=url), END)
    assert [content_type for content_type, _ in taken] == ["application/json"] * 2
    assert [json.loads(text) for _, text in taken] == [
        {
            "host": "mx.test",
            "alarm": "dead_letters",
            "subject": "",
            "raised": True,
            "severity": "error",
            "detail": "2 dead letters",
            "count": 2,
            "at": "2026-11-23T12:00:00+00:00",
        },
        {
            "host": "mx.test",
            "alarm": "route_held",
            "subject": "desk-one",
            "raised": False,
            "severity": "error",
            "detail": "it delivers again",
            "at": "2026-11-23T12:00:00+00:00",
        },
    ]


async def published(alarm, hostname="mx.test", *, fail=0):
    """What the topic gets of an alarm in the end, through the real client, by parameter."""
    config = AioConfig(retries={"total_max_attempts": 1})
    async with (
        server(*[500] * fail) as (url, taken),
        aioboto3.Session("AKIAEXAMPLE", "secret", region_name="eu-central-1").client(
            "sns", endpoint_url=url, config=config
        ) as sns,
    ):
        await told(
            AlarmSender(Alarms(sns_topic_arn=TOPIC), hostname=hostname, now=lambda: NOW, sns=sns), alarm
        )
    assert len(taken) == fail + 1
    _, body = taken[-1]
    return dict(parse_qsl(body, keep_blank_values=True))


@pytest.mark.parametrize(
    ("alarm", "line", "raised"),
    [(ALARM, "relay on mx.test: dead_letters", "true"), (END, "relay on mx.test: route_held ended", "false")],
)
async def test_topic_takes_the_same_document(alarm, line, raised):
    """The SNS topic gets the webhook's document; kind and raised stand beside it, for filter policies, and in
    the subject.
    """
    async with server() as (url, taken):
        await told(sender(webhook=url), alarm)
    said = await published(alarm)
    assert (said["Action"], said["TopicArn"], said["Subject"]) == ("Publish", TOPIC, line)
    assert said["Message"] == taken[0][1]
    attributes = {
        said[f"MessageAttributes.entry.{number}.Name"]: (
            said[f"MessageAttributes.entry.{number}.Value.DataType"],
            said[f"MessageAttributes.entry.{number}.Value.StringValue"],
        )
        for number in (1, 2)
    }
    assert attributes == {"alarm": ("String", str(alarm.kind)), "raised": ("String", raised)}


async def test_subject_is_what_sns_takes():
    """A long host name and one outside ASCII leave a subject of ASCII under 100 characters that still says
    what it is.
    """
    for hostname in ("mx." + "a" * 240 + ".test", "mx.bücher.test"):
        line = (await published(END, hostname))["Subject"]
        assert line.isascii()
        assert len(line) < 100
        assert line.endswith(": route_held ended")


async def test_reload_tells_others():
    """After a reload the next alarm goes to the new webhook, from the new name, and no more to the
    old one.
    """
    async with server() as (old, taken), server() as (new, taken_later):
        one = sender(webhook=old)
        await told(one, ALARM)
        one.reload(Alarms(webhook=new), hostname="mx2.test")
        await told(one, END)
        one.reload(Alarms(), hostname="mx2.test")
        await told(one, ALARM)
    assert [json.loads(text)["host"] for _, text in taken] == ["mx.test"]
    assert [json.loads(text)["host"] for _, text in taken_later] == ["mx2.test"]


async def test_refusal_is_logged_and_tried_again(quick):
    """A webhook that answers badly is told in the log, and gets the same document again until it takes it."""
    async with server(500, 404, 302) as (url, taken):
        with capture_logs() as logs:
            await told(sender(webhook=url), ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised"] + ["alarm.untold"] * 3
    assert [line.get("why") for line in logs[1:]] == ["status 500", "status 404", "status 302"]
    assert {line["log_level"] for line in logs[1:]} == {"warning"}
    assert len(taken) == 4
    assert len(set(taken)) == 1


async def test_redirect_is_no_telling(quick):
    """A webhook that has moved is said to have: followed, the POST would become a GET that whoever is there
    may well like.
    """
    methods = []

    async def moved(reader, writer, number):
        methods.append((await read_head(reader))[""].split()[0])
        answer(
            writer, "200 OK" if number > 1 else "301 Moved Permanently", Location="/there", Connection="close"
        )

    async with Peer(moved) as peer:
        with capture_logs() as logs:
            await told(sender(webhook=peer.url), ALARM)
    assert methods == ["POST", "POST"]
    assert [line.get("why") for line in logs] == [None, "status 301"]


@pytest.fixture
def no_proxies(monkeypatch):
    """An environment that names no proxy."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_webhook_goes_by_the_proxy(monkeypatch, no_proxies, scheme):
    """A relay that reaches the internet by a proxy alone, as S3 and Connect do, tells its alarms by it; a
    name that only the proxy can resolve is left to it.
    """
    async with server() as (url, taken):
        monkeypatch.setenv("HTTP_PROXY", scheme + url.removeprefix("http://"))
        answers = await sender(webhook="http://hook.invalid/there").try_once(ALARM)
    assert answers["webhook"].why == ""
    assert documents(taken)[0]["alarm"] == "dead_letters"


async def test_webhook_by_https_opens_a_tunnel(monkeypatch, no_proxies):
    """HTTPS_PROXY gets a CONNECT for the host with its own password, and never the alarm; its refusal is told
    without the password.
    """
    heads = []

    async def refuse(reader, writer, number):
        heads.append(await read_head(reader))
        answer(writer, "407 Proxy Authentication Required", Connection="close")

    async with Peer(refuse) as peer:
        monkeypatch.setenv("HTTPS_PROXY", peer.url.replace("http://", "http://relay:passw0rd@"))
        told_ = (await sender(webhook="https://hook.invalid/there").try_once(ALARM))["webhook"]
    assert heads[0][""].startswith("CONNECT hook.invalid:443")
    assert [value for name, value in heads[0].items() if name.lower() == "proxy-authorization"] == [
        "Basic cmVsYXk6cGFzc3cwcmQ="
    ]
    assert (told_.why, told_.says) == ("ClientHttpProxyError", "the proxy answered with the status 407")


@pytest.mark.parametrize("names", ["127.0.0.1", "*", "localhost,127.0.0.1"])
async def test_no_proxy_is_heeded(monkeypatch, no_proxies, names):
    """A receiver that NO_PROXY names is posted to directly."""
    with nobody() as away:
        monkeypatch.setenv("HTTP_PROXY", away)
        monkeypatch.setenv("NO_PROXY", names)
        async with server() as (url, taken):
            answers = await sender(webhook=url).try_once(ALARM)
    assert (answers["webhook"].why, len(taken)) == ("", 1)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[", "http://"])
async def test_proxy_that_is_none_is_told(monkeypatch, no_proxies, proxy):
    """A proxy that cannot be used is a reason, and no fault."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    answers = await sender(webhook="http://hook.invalid/there").try_once(ALARM)
    assert answers["webhook"].why


async def test_topic_is_tried_again(quick):
    """An SNS that fails is tried again as a webhook is."""
    with capture_logs() as logs:
        message = await published(ALARM, fail=2)
    assert json.loads(message["Message"])["count"] == 2
    assert [line["event"] for line in logs] == ["alarm.raised"] + ["alarm.untold"] * 2
    assert logs[1]["to"] == "sns"


async def test_pauses_grow_and_end(monkeypatch):
    """Tries come at doubling pauses up to a minute; after ten minutes the alarm is given up, and the log says
    so aloud.
    """
    clock = Clock(monkeypatch)
    with nobody() as url, capture_logs() as logs:
        await told(sender(webhook=url), ALARM)
    assert clock.pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert 600 <= clock.passed < 720
    assert {(line["log_level"], line["given_up"]) for line in logs[1:-1]} == {("warning", False)}
    assert (logs[-1]["log_level"], logs[-1]["given_up"]) == ("error", True)


async def test_what_is_taken_ends_the_growth(monkeypatch):
    """After a try that went well the next trouble begins with the least pause again."""
    clock = Clock(monkeypatch)
    async with server(500, 500, 200, 500) as (url, _):
        one = sender(webhook=url)
        one.tell(ALARM)
        await told(one, END)
    assert clock.pauses == [1, 2, 1]


async def test_end_follows_its_alarm(quick):
    """An alarm that ended while nobody listened is told all the same, and before its end."""
    async with server(500, 500, 500) as (url, taken):
        one = sender(webhook=url)
        for number in range(3):
            one.tell(held("desk-one"))
            one.tell(held(f"desk-{number}"))
        await told(one, END)
    stories = {}
    for each in documents(taken)[3:]:
        stories.setdefault(each["subject"], []).append(each["raised"])
    assert stories == {"desk-one": [True, False], "desk-0": [True], "desk-1": [True], "desk-2": [True]}


async def test_newest_state_wins(quick):
    """Of an alarm that comes and goes while nobody listens, the last raise and the last end are told, in the
    order of now.
    """
    async with server(500) as (url, taken):
        one = sender(webhook=url)
        for count in range(1, 100):
            one.tell(replace(ALARM, count=count))
            one.tell(replace(ALARM, raised=False, count=0))
        await told(one, replace(ALARM, count=100))
    heard = [(each["raised"], each["count"]) for each in documents(taken)]
    assert heard[-2:] == [(False, 0), (True, 100)]
    assert len(heard) == 3


async def test_document_that_is_not_liked_holds_up_no_other(quick):
    """While one alarm is refused for what it is, the others are taken."""
    async with server(refuse="desk-one") as (url, taken):
        one = sender(webhook=url)
        one.tell(held("desk-one"))
        one.tell(held("desk-two"))
        async with asyncio.timeout(10):
            while "desk-two" not in {each["subject"] for each in documents(taken)}:
                await asyncio.sleep(0.005)
        assert one.is_telling
        await one.close()


async def test_stop_tries_once_more(monkeypatch):
    """A stop ends the pause: what waits has one more chance, and a webhook that is away delays it no
    further.
    """
    pausing = asyncio.Event()

    async def pause_for_ever(event, _seconds):
        pausing.set()
        await event.wait()

    monkeypatch.setattr(alarms, "is_set_within", pause_for_ever)
    for status, left in ((200, False), (500, True)):
        pausing.clear()
        async with server(500, status) as (url, taken):
            one = sender(webhook=url)
            one.tell(ALARM)
            async with asyncio.timeout(10):
                await pausing.wait()
                await one.close()
        assert (len(taken), one.is_telling) == (2, left)


async def test_stop_waits_for_one_time_out(monkeypatch):
    """A webhook that never answers holds up a stop for one time-out, whatever waits, and no alarm
    before it.
    """
    monkeypatch.setattr(alarms, "_SECONDS", 0.2)

    async def hang(reader, _writer, _number):
        await reader.read()

    async with Peer(hang) as peer:
        one = sender(webhook=peer.url)
        for number in range(50):
            one.tell(held(f"desk-{number}"))
        began = asyncio.get_running_loop().time()
        await one.close()
        assert asyncio.get_running_loop().time() - began < 2
        assert one.is_telling


async def test_fault_of_ours_ends_no_telling(quick, monkeypatch):
    """An exception that nothing expected is logged, and the alarm is tried again."""
    async with server() as (url, taken):
        one = sender(webhook=url)
        post, calls = one._webhook._send, []

        async def break_once(document):
            calls.append(document)
            if len(calls) == 1:
                raise ZeroDivisionError
            return await post(document)

        monkeypatch.setattr(one._webhook, "_send", break_once)
        with capture_logs() as logs:
            await told(one, ALARM)
    assert [line["event"] for line in logs] == ["alarm.raised", "fault.caught", "alarm.untold"]
    assert len(taken) == 1


async def test_reload_takes_along_what_waits(quick):
    """An alarm that the old webhook did not take goes to the new one; with none named it is dropped."""
    async with server() as (new, taken):
        for config, count in ((Alarms(webhook=new), 1), (Alarms(), 0)):
            taken.clear()
            with nobody() as url:
                one = sender(webhook=url)
                one.tell(ALARM)
                one.reload(config, hostname="mx.test")
                await told(one)
            assert len(taken) == count
