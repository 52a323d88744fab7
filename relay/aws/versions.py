"""The edge to S3 for what must be gone: every version of every object below a prefix, and the marks of
deletions.

Owns the listing in pages, and the reasons why a version stays: Object Lock, a hold, a permission. Never goes
around a lock (`BypassGovernanceRetention`), and never looks at what an object holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import unproven
from relay.errors import RemoteError

_SERVICE = "s3"
_SECONDS = 30.0
#: Pages of a thousand versions below one prefix: a mail has dozens of objects.
_PAGES = 100
_FORBIDDEN = frozenset({"AccessDenied", "403"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The result below one prefix."""

    #: Versions and marks of deletions that are gone; objects where the versions may not be listed.
    count: int = 0
    #: Sentences about what stays.
    left: tuple[str, ...] = ()


class Versions:
    """The versions in a bucket, by a client that `relay.aws.clients` makes."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def remove_below(self, prefix: str) -> Removed:
        """Remove every version below a prefix.

        Raises:
            RemoteError: S3 cannot be asked.
        """
        try:
            return await self._remove(self._list_versions(prefix))
        except RemoteError as exc:
            if exc.code not in _FORBIDDEN:
                raise
        why = (
            f"older versions below s3://{self._bucket}/{prefix} stay, if the bucket keeps any: allow "
            "s3:ListBucketVersions and s3:DeleteObjectVersion"
        )
        try:
            removed = await self._remove(self._list_objects(prefix))
        except RemoteError as exc:
            if exc.code not in _FORBIDDEN:
                raise
            return Removed(
                left=(f"what is below s3://{self._bucket}/{prefix} stays: allow s3:ListBucketVersions",)
            )
        return Removed(count=removed.count, left=(*removed.left, why))

    async def _remove(self, found: AsyncIterator[Mapping[str, str]]) -> Removed:
        count, left = 0, []
        # All are listed first: a page begins behind the last version of the one before, which must be there.
        for each in [version async for version in found]:
            try:
                await self._call("delete_object", **each)
                count += 1
            except RemoteError as exc:
                if exc.code not in _FORBIDDEN:
                    raise
                left.append(f"s3://{self._bucket}/{each['Key']} stays: {await self._explain(each)}")
        return Removed(count=count, left=tuple(left))

    async def _list_versions(self, prefix: str) -> AsyncIterator[Mapping[str, str]]:
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            page = await self._call("list_object_versions", Prefix=prefix, **more)
            with readable_answer(_SERVICE):
                found = [
                    {"Key": str(each["Key"]), "VersionId": str(each["VersionId"])}
                    for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                ]
            for each in found:
                yield each
            if not page.get("IsTruncated"):
                return
            with readable_answer(_SERVICE):
                more = {
                    "KeyMarker": str(page["NextKeyMarker"]),
                    "VersionIdMarker": str(page["NextVersionIdMarker"]),
                }
        raise unproven(_SERVICE, f"its list of versions below {prefix} has no end within {_PAGES} pages")

    async def _list_objects(self, prefix: str) -> AsyncIterator[Mapping[str, str]]:
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            page = await self._call("list_objects_v2", Prefix=prefix, **more)
            with readable_answer(_SERVICE):
                found = [{"Key": str(each["Key"])} for each in page.get("Contents", ())]
            for each in found:
                yield each
            if not page.get("IsTruncated"):
                return
            with readable_answer(_SERVICE):
                more = {"ContinuationToken": str(page["NextContinuationToken"])}
        raise unproven(_SERVICE, f"its list of objects below {prefix} has no end within {_PAGES} pages")

    async def _explain(self, version: Mapping[str, str]) -> str:
        """The reason why a version may not be removed, as far as S3 tells."""
        try:
            head = await self._call("head_object", **version)
        except RemoteError:  # it may not be asked about, either
            head = {}
        until = head.get("ObjectLockRetainUntilDate")
        if isinstance(until, datetime):
            return f"locked until {until:%Y-%m-%d %H:%M} UTC (Object Lock, {head.get('ObjectLockMode')})"
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            return "locked by a legal hold (Object Lock)"
        return (
            "it may not be removed; allow s3:DeleteObjectVersion, and to learn of a lock s3:GetObjectRetention and "
            "s3:GetObjectLegalHold"
        )

    async def _call(self, operation: str, **arguments: str) -> Any:
        async with remote_call(_SERVICE, timeout_seconds=_SECONDS):
            with readable_answer(_SERVICE):
                return await getattr(self._client, operation)(Bucket=self._bucket, **arguments)
