"""The bucket of a fleet as `relay fleet check` finds it, and what this machine may do with its objects.

Owns those questions and their sentences. One empty object is put there, and removed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

from relay.aws.objects import Objects
from relay.aws.provisioning import find_expiries, find_versioning
from relay.check.finding import Finding, fail, ok, warn
from relay.errors import RemoteError
from relay.spool.fleet import tables

#: The answers that tell of a right that lacks.
DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "403"})


def tell_untold(subject: str, error: RemoteError, *, right: str) -> Finding:
    """The finding where AWS does not tell."""
    if error.code in DENIED:
        return warn(subject, f"cannot be looked at ({error.code}); allow {right}")
    return fail(subject, f"cannot be looked at: {error}")


async def examine_bucket(s3: Any, bucket: str, prefix: str) -> AsyncIterator[Finding]:
    """Examine the settings of a bucket with mail below a prefix: its old versions and its lifecycle rules."""
    subject = f"bucket {bucket}"
    try:
        if await find_versioning(s3, bucket):
            yield ok(subject, "keeps old versions")
        else:
            yield warn(
                subject,
                "keeps no old versions, and should: they are the backup of raw mail (docs/fleet.md)",
            )
    except RemoteError as exc:
        yield tell_untold(subject, exc, right="s3:GetBucketVersioning")
    raw = tables.raw_object(prefix, "")
    try:
        reaching = [
            (name, begin)
            for name, begin in await find_expiries(s3, bucket)
            if raw.startswith(begin) or begin.startswith(raw)
        ]
    except RemoteError as exc:
        yield tell_untold(subject, exc, right="s3:GetLifecycleConfiguration")
        return
    for name, begin in reaching:
        yield fail(
            subject,
            f'the lifecycle rule "{name}" removes what begins with "{begin}", and with it mail under {raw} that is owed; '
            "have it name other keys",
        )
    if not reaching:
        yield ok(subject, f"has no lifecycle rule that removes mail under {raw}")


async def examine_objects(objects: Objects, bucket: str, prefix: str, key: str) -> AsyncIterator[Finding]:
    """Examine the rights on objects below a prefix, by an empty one of this key: it is put, put again, read,
    listed and removed.
    """
    subject = f"rights on {bucket}/{prefix}"
    sample = _Sample(objects, key)
    lacking = False
    for right, ask in (
        ("s3:PutObject", sample.put),
        ("s3:PutObject", sample.put_again),
        ("s3:GetObject", sample.read),
        ("s3:ListBucket", sample.list_keys),
        ("s3:DeleteObject", sample.remove),
    ):
        try:
            await ask()
        except RemoteError as exc:
            denied = exc.code in DENIED
            yield fail(subject, f"{right} is denied; allow it" if denied else f"{right} fails: {exc}")
            if not denied or right == "s3:PutObject":
                return  # what follows would say the same
            lacking = True
    if not sample.is_kept:
        yield fail(
            subject,
            "an object was written over although it was to be put once (If-None-Match); this bucket is no S3",
        )
    elif not lacking:
        yield ok(subject, "objects can be put once, read, listed and removed")


class _Sample:
    """An empty object, and each thing that is done with objects."""

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects = objects
        self._key = key
        self._sha256 = hashlib.sha256(b"").digest()
        #: True if the bucket has kept it when it was to be put once more.
        self.is_kept = True

    async def put(self) -> None:
        await self._objects.put(self._key, b"", size=0, sha256=self._sha256, once=False)

    async def put_again(self) -> None:
        self.is_kept = not await self._objects.put(self._key, b"", size=0, sha256=self._sha256)

    async def read(self) -> None:
        await self._objects.find(self._key)

    async def list_keys(self) -> None:
        await self._objects.list(self._key)

    async def remove(self) -> None:
        await self._objects.remove(self._key)
