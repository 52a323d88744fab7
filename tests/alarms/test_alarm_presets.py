"""The shapes of the webhook's presets, held to schemas that were written after the vendors' pages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from relay.alarms.model import Alarm, Severity
from relay.alarms.presets import build_post, sign
from relay.alarms.sender import AlarmSender
from relay.config.alarms import Alarms, decode_secret
from relay.vocabulary import AlarmKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"
SECRET = b"a secret of thirty-two octets..."
KEY = "whsec_" + base64.b64encode(SECRET).decode()


class Strict(BaseModel):
    """An object with no other members than these."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SlackMessage(Strict):
    """Slack, "Sending messages using incoming webhooks": `text` alone is a message; 40,000 characters."""

    text: Annotated[str, Field(min_length=1, max_length=40_000)]


class PagerDutyPayload(Strict):
    """PagerDuty, "Send an Alert Event": the parameters below `payload`."""

    summary: Annotated[str, Field(min_length=1, max_length=1024)]
    source: Annotated[str, Field(min_length=1)]
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: Annotated[AwareDatetime, Field(strict=False)]
    component: str
    class_: Annotated[str, Field(alias="class")]
    custom_details: dict[str, Any]


class PagerDutyTrigger(Strict):
    """PagerDuty, "Send an Alert Event": the parameters, and the lengths that are permitted."""

    routing_key: Annotated[str, Field(min_length=32, max_length=32)]
    event_action: Literal["trigger"]
    dedup_key: Annotated[str, Field(min_length=1, max_length=255)]
    payload: PagerDutyPayload


class PagerDutyResolve(Strict):
    """The same of the end: it needs the two keys."""

    routing_key: Annotated[str, Field(min_length=32, max_length=32)]
    event_action: Literal["resolve"]
    dedup_key: Annotated[str, Field(min_length=1, max_length=255)]


class TextBlock(Strict):
    """Adaptive Cards 1.2, `TextBlock`."""

    type: Literal["TextBlock"]
    text: str
    wrap: bool
    weight: Literal["default", "lighter", "bolder"] = "default"
    size: Literal["default", "small", "medium", "large", "extraLarge"] = "default"
    color: Literal["default", "dark", "light", "accent", "good", "warning", "attention"] = "default"


class Fact(Strict):
    """Adaptive Cards 1.2, `Fact`."""

    title: str
    value: str


class FactSet(Strict):
    """Adaptive Cards 1.2, `FactSet`."""

    type: Literal["FactSet"]
    facts: list[Fact]


class Card(Strict):
    """Adaptive Cards 1.2, `AdaptiveCard`."""

    schema_: Annotated[Literal["http://adaptivecards.io/schemas/adaptive-card.json"], Field(alias="$schema")]
    type: Literal["AdaptiveCard"]
    version: Literal["1.2"]
    body: list[Annotated[TextBlock | FactSet, Field(discriminator="type")]]


class TeamsAttachment(Strict):
    """Microsoft, "Create Incoming Webhooks": the only attachment."""

    content_type: Annotated[Literal["application/vnd.microsoft.card.adaptive"], Field(alias="contentType")]
    content_url: Annotated[None, Field(alias="contentUrl")]
    content: Card


class TeamsMessage(Strict):
    """Microsoft, "Create Incoming Webhooks": the message around a card."""

    type: Literal["message"]
    attachments: Annotated[list[TeamsAttachment], Field(min_length=1, max_length=1)]


SCHEMAS = {
    "slack": TypeAdapter(SlackMessage),
    "pagerduty": TypeAdapter(PagerDutyTrigger | PagerDutyResolve),
    "teams": TypeAdapter(TeamsMessage),
}


def documents(**more):
    """The document of an alarm, as the sender makes it."""
    alarm = Alarm(**{"kind": AlarmKind.ROUTE_HELD, "raised": True, "detail": "it is held", **more})
    return AlarmSender(Alarms(), hostname="mx.test", now=lambda: NOW)._document(alarm)


def post(preset, document, *, key=ROUTING_KEY, sent_at=NOW):
    """The body that a preset posts, and its headers."""
    made = build_post(document, preset=preset, key=key, sent_at=sent_at)
    return json.loads(made.body), made.headers


ALARMS = st.builds(
    Alarm,
    kind=st.sampled_from(AlarmKind),
    raised=st.booleans(),
    detail=st.text(max_size=9000),
    subject=st.text(max_size=400),
    count=st.none() | st.integers(0, 10**9),
)


@pytest.mark.parametrize("preset", SCHEMAS)
@given(alarm=ALARMS, host=st.text(min_size=1, max_size=253))
def test_shape_is_the_vendors(preset, alarm, host):
    """Every alarm, with any text, is what the vendor's page describes, and under Teams' limit of 28 KB."""
    document = AlarmSender(Alarms(), hostname=host, now=lambda: NOW)._document(alarm)
    made = build_post(document, preset=preset, key=ROUTING_KEY, sent_at=NOW)
    SCHEMAS[preset].validate_json(made.body, strict=True)
    assert made.headers == {"Content-Type": "application/json"}


def test_teams_takes_its_octets():
    """A sentence of the longest kind, outside ASCII, stays under 28 KB."""
    made = build_post(documents(detail="\U0001f4e7" * 9000), preset="teams", key="", sent_at=NOW)
    assert len(made.body) < 28_000


def test_slack_obeys_no_words_of_others():
    """A subject with Slack's characters of control calls nobody and links nowhere."""
    body, _ = post(
        "slack", documents(subject="<!channel>", detail="a & b <https://example.net|here>"), key=""
    )
    assert body["text"] == (
        "*relay on mx.test: route_held (&lt;!channel&gt;)*\na &amp; b &lt;https://example.net|here&gt;"
    )


def test_pagerduty_pairs_an_alarm_with_its_end():
    """The end resolves the incident of its alarm, and of no other; a long key is one of 64 characters."""
    one, _ = post("pagerduty", documents(subject="a"))
    end, _ = post("pagerduty", documents(subject="a", raised=False))
    other, _ = post("pagerduty", documents(subject="b", raised=False))
    long, _ = post("pagerduty", documents(subject="é" * 300))
    assert (one["event_action"], end["event_action"]) == ("trigger", "resolve")
    assert one["dedup_key"] == end["dedup_key"] != other["dedup_key"]
    assert len(long["dedup_key"]) == 64
    assert one["routing_key"] == ROUTING_KEY


def test_severity_is_that_of_the_kind():
    """A full disk wakes somebody, a test does not."""
    found = {
        kind: post("pagerduty", documents(kind=kind))[0]["payload"]["severity"]
        for kind in (AlarmKind.DISK_FULL, AlarmKind.DEAD_LETTERS, AlarmKind.LOG_LARGE, AlarmKind.TEST)
    }
    assert list(found.values()) == list(Severity)


def test_teams_shows_every_line():
    """Each line is a block of its own, for a block folds them; the end of an alarm is green."""
    body, _ = post("teams", documents(detail="one\n\ntwo", raised=False), key="")
    card = body["attachments"][0]["content"]
    assert [block.get("text") for block in card["body"]] == [
        "relay on mx.test: route_held ended",
        "one",
        "two",
        None,
    ]
    assert card["body"][0]["color"] == "good"


def test_generic_is_signed():
    """The signature is that of Standard Webhooks, over id, instant and body; the next try has the same id."""
    made = build_post(documents(), preset="generic", key=KEY, sent_at=NOW)
    later = build_post(documents(), preset="generic", key=KEY, sent_at=NOW + timedelta(seconds=60))
    head = dict(made.headers)
    signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + made.body
    right = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert head["webhook-signature"] == f"v1,{right}"
    assert head["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert later.headers["webhook-id"] == head["webhook-id"]
    assert later.headers["webhook-signature"] != head["webhook-signature"]
    assert json.loads(made.body) == documents()


def test_signature_is_that_of_the_specification():
    """The example of the specification's reference libraries gives the signature that stands there."""
    secret = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    head = sign(b'{"test": 2432232314}', secret, name="msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at=at)
    assert head["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_generic_without_a_key_is_not_signed():
    """A receiver that knows no secret gets the document alone."""
    _, headers = post("generic", documents(), key="")
    assert headers == {"Content-Type": "application/json"}


def test_key_is_never_shown():
    """The key is in no representation of the configuration."""
    assert ROUTING_KEY not in repr(
        Alarms(webhook="https://example.com/", webhook_preset="pagerduty", webhook_key=ROUTING_KEY)
    )
