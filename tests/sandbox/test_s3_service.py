"""The sandbox's S3: what it refuses that moto would let pass, and its faults."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import aiohttp
import pytest
from aws_parts import clients_of, planned
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from yarl import URL

from relay.aws.s3 import AttachmentStore
from relay.config.builtin import BUCKET, builtin_config
from relay.sandbox.service import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def store(clients):
    return AttachmentStore(clients.s3, config=builtin_config().s3)


async def status(http, url, method="GET"):
    async with http.request(method, URL(url, encoded=True)) as answer:
        return answer.status, await answer.text()


async def test_what_is_not_signed_is_refused(http, box):
    """Nobody reads a bucket without a signature, whatever lies in it."""
    code, text = await status(http, f"{box.s3.url}/{BUCKET}/mail/1")
    assert code == 403
    assert "<Code>AccessDenied</Code>" in text


async def test_a_forged_url_is_refused(http, store):
    """One character of the signature, and the object stays where it is."""
    (url,) = (await store.put_all([planned(b"x")])).urls
    assert await status(http, url) == (200, "x")
    forged = url[:-1] + ("0" if url[-1] != "0" else "1")
    code, text = await status(http, forged)
    assert (code, "<Code>SignatureDoesNotMatch</Code>" in text) == (403, True)


async def test_an_expired_url_is_refused(http, clients, store):
    """A URL that lived for a second is dead after it."""
    await store.put_all([planned(b"x", "mail/01/0")])
    url = await clients.s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "mail/01/0"}, ExpiresIn=1
    )
    deadline = time.monotonic() + 10
    while (code := (await status(http, url))[0]) == 200 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert code == 403
    assert "Request has expired" in (await status(http, url))[1]


async def test_sizes_are_known_as_uploaded(store, box):
    """Connect weighs files before it takes them; it asks the service, not the relay."""
    stored = await store.put_all([planned(b"12345")])
    assert box.s3.size_of(stored.urls[0]) == 5
    assert box.s3.size_of(stored.urls[0].replace("/0?", "/1?")) is None


async def test_refusing_means_that_nobody_listens(http, store, box):
    """The port is closed, and opened again where it was, with everything in it."""
    (url,) = (await store.put_all([planned(b"kept")])).urls
    box.chaos(s3={"refuse": True})
    _, writer = None, None
    with pytest.raises(ConnectionRefusedError):
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    with pytest.raises(aiohttp.ClientConnectorError):
        await status(http, url)
    box.chaos(s3={"refuse": True})  # twice is as good as once
    box.chaos(s3={})
    assert await status(http, url) == (200, "kept")
    assert writer is None


async def test_a_share_of_connections_can_be_dropped(store, box, http):
    """Less than all: some are dropped, some are served."""
    (url,) = (await store.put_all([planned(b"x")])).urls
    box.chaos(s3={"refuse": 0.5})
    seen = set()
    for _ in range(60):
        try:
            async with aiohttp.ClientSession() as session:
                seen.add((await status(session, url))[0])
        except aiohttp.ClientError:
            seen.add("dropped")
        if len(seen) == 2:
            break
    assert seen == {200, "dropped"}


async def test_errors_and_latency_are_those_of_s3(http, store, box):
    """A fault answers in S3's own XML, and slowness delays even that."""
    (url,) = (await store.put_all([planned(b"x")])).urls
    box.chaos(s3={"error": 1, "latency_seconds": 0.3})
    begun = time.monotonic()
    code, text = await status(http, url)
    assert (code, "<Code>InternalError</Code>" in text) == (500, True)
    assert time.monotonic() - begun >= 0.3


async def test_a_lost_reply_has_done_the_work(clients, store, box):
    """The upload is there although its answer never came."""
    box.chaos(s3={"lose_reply": 1})
    with pytest.raises((ConnectionClosedError, EndpointConnectionError)):
        await clients.s3.put_object(Bucket=BUCKET, Key="mail/lost", Body=b"there")
    box.chaos({})
    answer = await clients.s3.get_object(Bucket=BUCKET, Key="mail/lost")
    assert await answer["Body"].read() == b"there"


async def test_a_body_that_was_signed_by_its_hash_must_be_that_body(http, clients, box):
    """Clients that hash the payload into the signature are checked for it."""
    url = await clients.s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "mail/p"})
    headers = {"x-amz-content-sha256": 64 * "0"}
    async with http.put(URL(url, encoded=True), data=b"other", headers=headers) as answer:
        assert (answer.status, "XAmzContentSHA256Mismatch" in await answer.text()) == (403, True)


async def test_sandboxes_side_by_side_do_not_disturb_each_other(box, clients, monkeypatch):
    """One may end while the other still holds its objects."""
    store = AttachmentStore(clients.s3, config=builtin_config().s3)
    await store.put_all([planned(b"mine", "mail/side/0")])
    async with Sandbox() as other, clients_of(other.environ(), monkeypatch) as theirs:
        await AttachmentStore(theirs.s3, config=builtin_config().s3).probe()
    await store.probe()
    assert box._run(box.s3.read(f"/{BUCKET}/mail/side/0"))[0] == b"mine"
