"""Attachments against an S3 server that is not ours: what moto forgives, this one need not."""

from __future__ import annotations

import hashlib
import re

import aiohttp
import pytest
import pytest_asyncio
from aws_parts import MEBIBYTE, clients_of, octets, planned
from radosgw import running_radosgw
from yarl import URL

from relay.aws.s3 import AttachmentStore
from relay.config.builtin import BUCKET, builtin_config
from relay.errors import FailureClass, RemoteError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("ceph-mon", "ceph-mon"),
    pytest.mark.needs("ceph-osd", "ceph-osd"),
    pytest.mark.needs("radosgw", "radosgw"),
]


@pytest.fixture(scope="module")
def gateway():
    with running_radosgw() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(gateway):
    with pytest.MonkeyPatch.context() as patch:
        async with clients_of(gateway.environ(), patch) as opened:
            await opened.s3.create_bucket(Bucket=BUCKET)
            yield opened


@pytest.fixture
def store(clients):
    return AttachmentStore(clients.s3, config=builtin_config().s3)


async def fetch(url):
    """Status, octets and type of what Connect would get."""
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        return response.status, await response.read(), response.content_type


async def test_files_arrive_octet_for_octet(store):
    """Small files, one of several chunks and the original mail go up, and come back by their URLs with their
    types.
    """
    data = [b"x", octets(262_144), octets(262_145), octets(3 * MEBIBYTE + 17)]
    files = [planned(each, f"mail/01A/{n}") for n, each in enumerate(data)]
    files.append(planned(b"a,b\r\n", "mail/01A/9", content_type="text/csv"))
    stored = await store.put_all(files, original=("mail/01A/eml", memoryview(data[3])))
    fetched = [await fetch(url) for url in stored.urls]
    assert [status for status, _, _ in fetched] == [200] * 5
    assert [octets for _, octets, _ in fetched] == [*data, b"a,b\r\n"]
    assert fetched[4][2] == "text/csv"


async def test_25_megabytes_make_the_round_trip(store):
    """The largest mail's largest file."""
    data = octets(25 * MEBIBYTE)
    stored = await store.put_all([planned(data, "mail/01B/0")])
    _, came, _ = await fetch(stored.urls[0])
    assert hashlib.sha256(came).digest() == hashlib.sha256(data).digest()


async def test_same_key_again_overwrites(store):
    """A repeat leaves one object, the last."""
    await store.put_all([planned(b"first", "mail/01C/0")])
    stored = await store.put_all([planned(b"second", "mail/01C/0")])
    assert (await fetch(stored.urls[0]))[:2] == (200, b"second")


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        (r"X-Amz-Signature=[0-9a-f]{4}", "X-Amz-Signature=0000"),
        (r"mail/01D/0", "mail/01D/1"),
        (r"X-Amz-Expires=\d+", "X-Amz-Expires=600000"),
    ],
    ids=["signature", "key", "life"],
)
async def test_changed_url_opens_nothing(store, pattern, other):
    """A presigned URL is good for its object and its time, and for nothing else."""
    files = [planned(b"mine", "mail/01D/0"), planned(b"other", "mail/01D/1")]
    stored = await store.put_all(files)
    assert (await fetch(stored.urls[0]))[0] == 200
    changed = re.sub(pattern, other, stored.urls[0])
    assert changed != stored.urls[0]
    assert (await fetch(changed))[0] == 403


async def test_wrong_secret_is_a_matter_of_configuration(gateway, clients):
    """A signature that does not hold holds the route; it is no fault of the mail."""
    with pytest.MonkeyPatch.context() as patch:
        async with clients_of(gateway.environ() | {"AWS_SECRET_ACCESS_KEY": "wrong"}, patch) as others:
            store = AttachmentStore(others.s3, config=builtin_config().s3)
            with pytest.raises(RemoteError) as caught:
                await store.put_all([planned(b"x", "mail/01E/0")])
    assert (caught.value.failure, caught.value.code) == (FailureClass.CONFIGURATION, "SignatureDoesNotMatch")


async def test_missing_bucket_is_a_matter_of_configuration(clients):
    """A bucket that is not there holds the route."""
    store = AttachmentStore(clients.s3, config=builtin_config(s3={"bucket": "no-such-bucket"}).s3)
    with pytest.raises(RemoteError) as caught:
        await store.put_all([planned(b"x", "mail/01F/0")])
    assert (caught.value.failure, caught.value.code) == (FailureClass.CONFIGURATION, "NoSuchBucket")


async def test_probe_finds_the_bucket(store):
    """What `relay check` asks is answered."""
    await store.probe()
