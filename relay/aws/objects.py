"""The edge to the objects of a fleet's spool in S3: raw mail and stored requests, put once and read whole.

Owns how octets are put, proved, read and removed, and how long that may take. Each object carries a signed
SHA-256, and one that exists is never written over. Foreign errors become RemoteError here. Never decides what
an object is for.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import check_head, check_put, unproven
from relay.aws.transport import PART_BYTES
from relay.errors import RemoteError

_SERVICE = "s3"
#: The least seconds of a call, its repetitions included, and the octets a second that are expected of it.
_LEAST_SECONDS = 20.0
_OCTETS_A_SECOND = 500_000


def seconds_for(size: int) -> float:
    """The seconds that a call with so many octets may take."""
    return _LEAST_SECONDS + size / _OCTETS_A_SECOND


class Objects:
    """A bucket, by a client that `relay.aws.clients` makes."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        count: Callable[[str, Mapping[str, Any]], None] = lambda _operation, _answer: None,
    ) -> None:
        """`count` is told of every answer."""
        self._client = client
        self._bucket = bucket
        self._count = count

    async def _call(self, operation: str, **arguments: Any) -> Any:
        with readable_answer(_SERVICE):
            answer = await getattr(self._client, operation)(Bucket=self._bucket, **arguments)
            self._count(operation, answer)
            return answer

    async def put(
        self,
        key: str,
        body: bytes | BinaryIO,
        *,
        size: int,
        sha256: bytes,
        about: Mapping[str, str] | None = None,
        once: bool = True,
        seconds: float | None = None,
    ) -> bool:
        """Put octets, of which this is the SHA-256, with these words `about` them.

        Returns False if `once`, and an object has the key already.

        Raises:
            RemoteError: nobody knows whether the object is there.
        """
        checksum = base64.b64encode(sha256).decode("ascii")
        try:
            async with remote_call(_SERVICE, timeout_seconds=seconds or seconds_for(size)):
                with readable_answer(_SERVICE):
                    answer = await self._call(
                        "put_object",
                        Key=key,
                        Body=body,
                        ContentLength=size,
                        ContentType="application/octet-stream",
                        ChecksumSHA256=checksum,
                        Metadata=dict(about or {}),
                        **({"IfNoneMatch": "*"} if once else {}),
                    )
        except RemoteError as exc:
            if exc.code in {"PreconditionFailed", "412"}:
                return False
            raise
        if not check_put(answer, checksum=checksum, required=False):
            await self._prove(key, answer["ETag"], checksum=checksum, size=size)
        return True

    async def _prove(self, key: str, etag: str, *, checksum: str, size: int) -> None:
        async with remote_call(_SERVICE, timeout_seconds=_LEAST_SECONDS):
            with readable_answer(_SERVICE):
                head = await self._call("head_object", Key=key, ChecksumMode="ENABLED")
        check_head(head, etag=etag, checksum=checksum, size=size)

    async def find(self, key: str) -> Mapping[str, str] | None:
        """The words about an object. Returns None if there is none."""
        try:
            async with remote_call(_SERVICE, timeout_seconds=_LEAST_SECONDS):
                with readable_answer(_SERVICE):
                    head = await self._call("head_object", Key=key)
        except RemoteError as exc:
            if _is_missing(exc):
                return None
            raise
        with readable_answer(_SERVICE):
            return {str(name).lower(): str(value) for name, value in head.get("Metadata", {}).items()}

    async def parts(self, key: str, *, size: int) -> AsyncIterator[bytes]:
        """The octets of an object of this size, in parts of at most `PART_BYTES`.

        Raises:
            RemoteError: it cannot be read, or has another size.
            KeyError: there is none.
        """
        for at in range(0, max(size, 1), PART_BYTES):
            wanted = min(PART_BYTES, size - at)
            yield await self._get(key, at=at, wanted=wanted, size=size)

    async def _get(self, key: str, *, at: int, wanted: int, size: int) -> bytes:
        whole = wanted == size
        try:
            async with remote_call(_SERVICE, timeout_seconds=seconds_for(wanted)):
                with readable_answer(_SERVICE):
                    answer = await self._call(
                        "get_object",
                        Key=key,
                        **({} if whole else {"Range": f"bytes={at}-{at + wanted - 1}"}),
                    )
                    octets: bytes = await answer["Body"].read()
        except RemoteError as exc:
            if _is_missing(exc):
                raise KeyError(key) from exc
            raise
        if len(octets) != wanted:
            raise unproven(_SERVICE, f"{wanted} octets of an object were asked for, and {len(octets)} came")
        return octets

    async def begin(self, key: str, *, at: int, most: int, size: int) -> bytes:
        """The first octets behind a place of an object of this size.

        Raises:
            RemoteError: it cannot be read.
            KeyError: there is none, or it has been emptied.
        """
        wanted = min(most, size - at)
        if wanted <= 0:
            return b""
        try:
            return await self._get(key, at=at, wanted=wanted, size=size)
        except RemoteError as exc:
            if exc.code in {"InvalidRange", "416"}:  # RFC 9110 §15.5.17
                raise KeyError(key) from exc
            raise

    async def remove(self, key: str) -> None:
        """Remove an object; harmless if there is none."""
        async with remote_call(_SERVICE, timeout_seconds=_LEAST_SECONDS):
            await self._call("delete_object", Key=key)

    async def remove_older(self, key: str) -> None:
        """Remove the older versions of an object, where the bucket keeps any.

        Raises:
            RemoteError: some may stay.
        """
        async with remote_call(_SERVICE, timeout_seconds=_LEAST_SECONDS):
            with readable_answer(_SERVICE):
                # An object of the spool is put twice at most, so that one page is enough.
                page = await self._call("list_object_versions", Prefix=key)
                older = [
                    str(each["VersionId"])
                    for each in page.get("Versions", ())
                    if each["Key"] == key and not each["IsLatest"]
                ]
            for version in older:
                await self._call("delete_object", Key=key, VersionId=version)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Keys below a prefix that come after another, in order."""
        async with remote_call(_SERVICE, timeout_seconds=_LEAST_SECONDS):
            with readable_answer(_SERVICE):
                answer = await self._call(
                    "list_objects_v2",
                    Prefix=prefix,
                    MaxKeys=limit,
                    **({"StartAfter": after} if after else {}),
                )
                return [str(each["Key"]) for each in answer.get("Contents", ())]


def _is_missing(error: RemoteError) -> bool:
    """Returns whether the bucket has no such object; a missing bucket has another code."""
    cause = error.__cause__
    if error.code == "NoSuchKey":
        return True
    return error.code in {"404", "NotFound"} and isinstance(cause, ClientError)
