"""The Connect simulator on the wire: pace, protocol, faults, and how it comes for attachments."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from aws_parts import clients_of, octets, planned, request_for

from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import BUCKET, builtin_config
from relay.errors import FailureClass, RemoteError
from relay.sandbox import fetcher
from relay.sandbox.connect import Pace
from relay.sandbox.limits import Refusal
from relay.sandbox.service import Sandbox, settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def connect(clients):
    return ConnectClient(clients.connect)


@pytest.fixture
def store(clients):
    return AttachmentStore(clients.s3, config=builtin_config().s3)


async def outcome(call):
    try:
        return await call
    except RemoteError as exc:
        return exc.code


async def test_two_requests_a_second_after_a_burst_of_five(monkeypatch):
    """Connect's default quota: the sixth at once is one too many, and half a second later there is room for
    one.
    """
    async with (
        Sandbox(settings=settings_of(builtin_config())) as box,
        clients_of(box.environ(), monkeypatch) as clients,
    ):
        connect = ConnectClient(clients.connect)
        found = [await outcome(connect.start_email_contact(request_for(token=f"t{n}"))) for n in range(5)]
        assert len(box.contacts()) == 5
        throttled = await outcome(connect.start_email_contact(request_for(token="t5")))
        assert throttled == "ThrottlingException"
        assert throttled not in found
        async with asyncio.timeout(10):
            while (
                await outcome(connect.start_email_contact(request_for(token="t5"))) == "ThrottlingException"
            ):
                await asyncio.sleep(0.05)
        assert len(box.contacts()) == 6


async def test_a_pace_is_kept_to_the_second():
    """The bucket fills at its rate and never above its burst."""
    now = 0.0
    pace = Pace(per_second=2, burst=5, clock=lambda: now)
    assert [pace.take() for _ in range(7)] == [True] * 5 + [False] * 2
    now = 0.49
    assert not pace.take()
    now = 0.99
    assert [pace.take(), pace.take()] == [True, False]
    now = 1_000.0
    assert sum(pace.take() for _ in range(20)) == 5


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [(b"{", 403, "MissingAuthenticationTokenException:"), (b"", 403, "MissingAuthenticationTokenException:")],
)
async def test_what_is_not_signed_is_not_looked_at(http, box, body, status, kind):
    """Whoever has no key learns nothing of the arguments."""
    async with http.put(f"{box.connect_url}/contact/email", data=body) as answer:
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, kind)


async def test_what_is_no_json_is_a_serialization_error(clients, connect, box):
    """A signed body that cannot be read is refused as AWS refuses it."""

    def spoil(request, **_):
        request.data = b"{"

    clients.connect.meta.events.register("before-sign.connect", spoil)
    try:
        assert await outcome(connect.start_email_contact(request_for())) == "SerializationException"
    finally:
        clients.connect.meta.events.unregister("before-sign.connect", spoil)


@pytest.mark.parametrize(
    ("fault", "code"), [("throttle", "ThrottlingException"), ("error", "InternalServiceException")]
)
async def test_faults_are_answered_as_the_service_would(connect, box, fault, code):
    """At 1 every call has the fault, and none does any work; at half, some get through."""
    box.chaos(connect={fault: 1})
    assert await outcome(connect.start_email_contact(request_for())) == code
    assert box.contacts() == []
    box.chaos(connect={fault: 0.5})
    seen = {await outcome(connect.start_email_contact(request_for())) for _ in range(40)}
    assert seen == {code, box.contacts()[0]["contact_id"]}


async def test_lost_reply_leaves_one_contact(connect, box):
    """The contact of +lose is made, its reply is lost, and the same request finds the same contact."""
    request = request_for() | {"Attributes": {"relay_tag": "lose", "relay_spool_id": "0EXP1A1N00000003"}}
    assert await outcome(connect.start_email_contact(request)) == "unreachable"
    (contact,) = box.contacts()
    assert await connect.start_email_contact(request) == contact["contact_id"]
    assert len(box.contacts()) == 1


async def test_throttled_and_refused_as_the_service_would(connect, box):
    """+throttle is 429 twice, +reject 400 once, +dead 400 always."""
    said = {}
    for number, tag in enumerate(("throttle", "reject", "dead")):
        request = request_for() | {
            "Attributes": {"relay_tag": tag, "relay_spool_id": f"0EXP1A1N0000001{number}"},
            "ClientToken": tag,
        }
        said[tag] = [await outcome(connect.start_email_contact(request)) for _ in range(3)]
    known = {contact["contact_id"] for contact in box.contacts()}
    assert said["throttle"][:2] == ["ThrottlingException"] * 2
    assert said["throttle"][2] in known
    assert said["reject"][0] == "InvalidRequestException"
    assert said["reject"][1] == said["reject"][2] in known
    assert said["dead"] == ["InvalidRequestException"] * 3


async def test_a_payload_that_made_a_contact_is_not_refused_under_its_token(connect, box):
    """A refusal that a test has planned waits for another payload; its own contact is what the known one
    gets.
    """
    known = request_for()
    contact_id = await connect.start_email_contact(known)
    box.connect.planned.append(Refusal(code="InvalidRequestException", message="as planned"))
    assert await outcome(connect.start_email_contact(known)) == contact_id
    assert (
        await outcome(connect.start_email_contact(known | {"ClientToken": "another"}))
        == "InvalidRequestException"
    )


async def test_attachments_are_fetched_and_weighed(connect, store, box):
    """Size and SHA-256 are of what Connect got by the URL, under the names of the request."""
    data = [octets(10), octets(3_000_000)]
    stored = await store.put_all([planned(each, f"mail/01S/{n}") for n, each in enumerate(data)])
    await connect.start_email_contact(request_for(*stored.urls, names=("見積書.pdf", "b.pdf")))
    assert box.contacts()[0]["attachments"] == [
        {"name": name, "size": len(each), "sha256": hashlib.sha256(each).hexdigest(), "state": "available"}
        for name, each in zip(("見積書.pdf", "b.pdf"), data, strict=True)
    ]


async def fetched(connect, box, url):
    await connect.start_email_contact(request_for(url))
    return box.contacts()[0]["attachments"][0]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda url: url[:-4] + "0000", "SignatureDoesNotMatch"),
        (lambda url: url.replace("X-Amz-Expires=86400", "X-Amz-Expires=604800"), "SignatureDoesNotMatch"),
        (lambda url: url.partition("?")[0], "AccessDenied"),
        (lambda _url: "https://elsewhere.example/file?X-Amz-Signature=0", "is not the S3 of this sandbox"),
        (lambda _url: "file:///etc/passwd", "is not the S3 of this sandbox"),
    ],
)
async def test_a_url_that_does_not_hold_is_not_fetched(connect, store, box, change, error):
    """The contact is there, its attachment failed, and the reason is on record: as with the real service."""
    stored = await store.put_all([planned(b"x")])
    file = await fetched(connect, box, change(stored.urls[0]))
    assert (file["state"], file["size"], file["sha256"]) == ("failed", None, None)
    assert error in file["error"]


async def test_an_expired_url_is_not_fetched(clients, connect, store, box, monkeypatch):
    """Connect that comes too late finds the URL dead."""
    await store.put_all([planned(b"x", "mail/01/0")])
    url = await clients.s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "mail/01/0"}, ExpiresIn=1
    )
    monkeypatch.setattr(box._fetcher, "_delay_seconds", 2.1)
    await connect.start_email_contact(request_for(url))
    await asyncio.to_thread(box._run, box.settle(10))
    assert "Request has expired" in box.contacts()[0]["attachments"][0]["error"]


async def test_an_object_that_is_not_there_is_a_failure(clients, connect, box):
    """A URL can be signed for what was never uploaded."""
    url = await clients.s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "mail/none"})
    assert (await fetched(connect, box, url))["error"] == "S3 answered 404"


async def test_connect_comes_again_while_s3_is_away(connect, store, box):
    """An S3 that was away for a moment loses no attachment."""
    stored = await store.put_all([planned(b"patience")])
    box.chaos(s3={"refuse": True})
    await connect.start_email_contact(request_for(*stored.urls))
    assert (
        json.loads(box.book.newest(after=0, limit=1)[0].to_json())["attachments"][0]["state"] == "processing"
    )
    box.chaos({})
    await asyncio.to_thread(box._run, box.settle(20))
    assert box.contacts()[0]["attachments"][0]["size"] == 8


async def test_connect_does_not_come_for_ever(connect, store, box, monkeypatch):
    """An S3 that stays away is a failed attachment in the end."""
    monkeypatch.setattr(fetcher, "PAUSES", (0.01, 0.01))
    stored = await store.put_all([planned(b"x")])
    box.chaos(s3={"error": 1})
    file = await fetched(connect, box, stored.urls[0])
    assert (file["state"], file["error"]) == ("failed", "S3 answered 500")


async def test_a_failure_in_the_middle_starts_nothing(connect, box):
    """A refused request leaves no contact and does not take its token."""
    with pytest.raises(RemoteError) as caught:
        await connect.start_email_contact(request_for(DestinationEmailAddress="x@elsewhere.example"))
    assert caught.value.failure is FailureClass.CONFIGURATION
    await connect.start_email_contact(request_for())
    assert len(box.contacts()) == 1
