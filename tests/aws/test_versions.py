"""The removal of every version below a prefix, and the reasons why one stays."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from relay.aws.versions import Versions

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOCKED = "bucket-with-locks"


@contextmanager
def handled(client, operation, handler):
    """A time in which botocore calls this before it sends the operation."""
    event = f"provide-client-params.s3.{operation}"
    client.meta.events.register(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)


def refuse(*, model, **_):
    """What a principal gets that may not do this."""
    error = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    raise ClientError(error, model.name)


@pytest_asyncio.fixture(loop_scope="module")
async def s3(clients, box):
    """The relay's client; the bucket keeps versions."""
    await clients.s3.put_bucket_versioning(Bucket=box.bucket, VersioningConfiguration={"Status": "Enabled"})
    return clients.s3


async def keys_of(s3, bucket):
    page = await s3.list_object_versions(Bucket=bucket)
    return [each["Key"] for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]


async def test_versions_come_in_pages(s3, box):
    """A list with several pages is read to its end; what lies below another prefix stays."""
    for key in ("A/0", "A/1", "A/2", "A/0", "A/1", "AB/0"):
        await s3.put_object(Bucket=box.bucket, Key=f"mail/{key}", Body=b"x")
    await s3.delete_object(Bucket=box.bucket, Key="mail/A/0")
    pages = []

    def by_twos(*, params, **_):
        pages.append(params)
        params["MaxKeys"] = 2

    with handled(s3, "ListObjectVersions", by_twos):
        removed = await Versions(s3, box.bucket).remove_below("mail/A/")
    assert (removed.count, removed.left) == (6, ())
    assert len(pages) >= 3
    assert await keys_of(s3, box.bucket) == ["mail/AB/0"]


async def test_a_bucket_without_versions(clients, box):
    """The objects of a bucket that never kept versions go."""
    place = {"LocationConstraint": box.keys.region}
    await clients.s3.create_bucket(Bucket="no-versions", CreateBucketConfiguration=place)
    await clients.s3.put_object(Bucket="no-versions", Key="mail/A/0", Body=b"x")
    assert (await Versions(clients.s3, "no-versions").remove_below("mail/A/")).count == 1
    assert await keys_of(clients.s3, "no-versions") == []


async def test_locked_versions_are_told(clients, box):
    """A version under Object Lock stays with its date, one under a hold with that; others go."""
    s3, until = clients.s3, datetime(2099, 1, 2, tzinfo=UTC)
    place = {"LocationConstraint": box.keys.region}
    await s3.create_bucket(Bucket=LOCKED, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=True)
    lock = {"ChecksumAlgorithm": "SHA256", "ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    await s3.put_object(Bucket=LOCKED, Key="mail/A/0", Body=b"x", **lock)
    await s3.put_object(
        Bucket=LOCKED, Key="mail/A/1", Body=b"x", ChecksumAlgorithm="SHA256", ObjectLockLegalHoldStatus="ON"
    )
    await s3.put_object(Bucket=LOCKED, Key="mail/A/2", Body=b"x")
    removed = await Versions(s3, LOCKED).remove_below("mail/A/")
    assert removed.count == 1
    assert removed.left == (
        f"s3://{LOCKED}/mail/A/0 stays: locked until 2099-01-02 00:00 UTC (Object Lock, COMPLIANCE)",
        f"s3://{LOCKED}/mail/A/1 stays: locked by a legal hold (Object Lock)",
    )


async def test_permissions_that_lack_are_told(s3, box):
    """Without a permission as much as may go goes, and a sentence names what to allow."""
    for key in ("A/0", "B/0"):
        await s3.put_object(Bucket=box.bucket, Key=f"mail/{key}", Body=b"x")
    versions = Versions(s3, box.bucket)
    with handled(s3, "DeleteObject", refuse):
        removed = await versions.remove_below("mail/A/")
        assert (removed.count, "allow s3:DeleteObjectVersion" in removed.left[0]) == (0, True)
    with handled(s3, "ListObjectVersions", refuse):
        removed = await versions.remove_below("mail/A/")
        assert (removed.count, "allow s3:ListBucketVersions" in removed.left[0]) == (1, True)
        with handled(s3, "ListObjectsV2", refuse):
            removed = await versions.remove_below("mail/B/")
            assert (removed.count, removed.left) == (
                0,
                (f"what is below s3://{box.bucket}/mail/B/ stays: allow s3:ListBucketVersions",),
            )
