"""The edge to S3: files are uploaded from the mail that holds them, and presigned URLs are made for Connect.

Owns *stored attachment*: keys, uploads, URLs and how long those live. Never holds a large file in memory,
never reads a mail on the event loop, never deletes (Connect fetches after its answer, at a time that is not
documented).

Each object carries a signed `x-amz-checksum-sha256` made of the digest that the plan already has. S3 checks
what arrives against it, so the body needs no pass of its own for the signature, over https or not. A file
counts as stored when the answer proves it (`relay.aws.proof`); a status of 200 alone is no proof.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from botocore.exceptions import ClientError

from relay.aws.clients import is_amazons
from relay.aws.credentials import SigningCredentials
from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import check_head, check_put, check_url, unproven
from relay.config.model import S3
from relay.contact.plan import PlannedFile
from relay.errors import FailureClass, RemoteError
from relay.timing import utc_now

#: Most characters of an `S3Url`: service model, shape PreSignedAttachmentUrl.
MAX_URL_LENGTH = 2_000
#: Size up to which a file is read whole: one hop to a thread instead of several.
SMALL_FILE_BYTES = 262_144
_CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The result of `put_all`."""

    #: A presigned URL for each attached file, in the order of the plan.
    urls: tuple[str, ...] = field(repr=False)
    #: The instant at which the first of the URLs dies, by its own time or by that of its credentials. Aware,
    #: UTC.
    expires_at: datetime


class AttachmentStore:
    """A bucket, by a client that `relay.aws.clients` makes once."""

    def __init__(
        self,
        client: Any,
        *,
        config: S3,
        timeout_seconds: float = 300.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._config = config
        self._timeout_seconds = timeout_seconds  # for all files of a mail together; a lease is longer
        self._now = now
        self._credentials = SigningCredentials(client)

    async def put_all(
        self,
        files: Sequence[PlannedFile],
        *,
        original: tuple[str, memoryview] | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> Stored:
        """Store every file, and the untouched mail as (key, octets), with these tags, then sign a URL for
        each attached one.

        The same keys again overwrite the same octets. After this has returned or raised, the mail is not read
        any more.

        Raises:
            RemoteError: what was stored is unknown; all of it can be stored again.
        """
        uploads = [
            _Upload(file.key, file.content_type, file.size, file.chunks, file.sha256) for file in files
        ]
        if original is not None:
            key, octets = original
            digest = await asyncio.to_thread(lambda: hashlib.sha256(octets).hexdigest())
            uploads.append(_Upload(key, "message/rfc822", len(octets), lambda: _slices(octets), digest))
        async with remote_call("s3", timeout_seconds=self._timeout_seconds):
            await self._put_several(uploads, tagging=urlencode(tags, quote_via=quote))
            return await self._sign([file.key for file in files if file.attached])

    async def probe(self) -> None:
        """Check that the bucket is there and readable, and that its URLs are short enough for Connect.

        Raises:
            RemoteError: the error that stands in the way.
        """
        async with remote_call("s3", timeout_seconds=30):
            await self._client.head_bucket(Bucket=self._config.bucket)
            await self._sign([f"{self._config.prefix}{26 * '0'}/00"])  # as long as the longest real one

    async def _put_several(self, uploads: Sequence[_Upload], *, tagging: str) -> None:
        places = asyncio.Semaphore(self._config.uploads)

        async def put(upload: _Upload) -> None:
            async with places:
                await self._put(upload, tagging=tagging)

        try:
            async with asyncio.TaskGroup() as group:
                for upload in uploads:
                    group.create_task(put(upload))
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _put(self, upload: _Upload, *, tagging: str) -> None:
        small = upload.size <= SMALL_FILE_BYTES
        body = Body(upload.chunks, upload.size)
        checksum = base64.b64encode(bytes.fromhex(upload.sha256)).decode("ascii")
        try:
            octets = await asyncio.to_thread(body.readall) if small else body
            with readable_answer("s3"):
                answer = await self._client.put_object(
                    Bucket=self._config.bucket,
                    Key=upload.key,
                    Body=octets,
                    ContentLength=upload.size,
                    ContentType=upload.content_type,
                    # A browser that opens the URL saves a file; it shows no page under the bucket's name.
                    ContentDisposition="attachment",
                    ChecksumSHA256=checksum,
                    **({"Tagging": tagging} if tagging else {}),
                )
        except Exception as exc:
            # a fault of ours, whatever the client makes of it: S3 has no part in it
            if body.fault is not None:
                raise body.fault from exc
            raise
        finally:
            body.close()  # waits for a read under way in a thread: one chunk at most
        await prove_stored(
            self._client,
            answer,
            bucket=self._config.bucket,
            key=upload.key,
            checksum=checksum,
            size=upload.size,
        )

    async def _sign(self, keys: Sequence[str]) -> Stored:
        """Sign URLs for these keys now. `generate_presigned_url` does no I/O of its own."""
        now = self._now()
        credentials_end_at = await self._credentials.renew(now=now)
        urls = [
            await self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._config.bucket, "Key": key},
                ExpiresIn=self._config.url_ttl_seconds,
            )
            for key in keys
        ]
        for key, url in zip(keys, urls, strict=True):
            check_url(
                url,
                endpoint=self._client.meta.endpoint_url,
                bucket=self._config.bucket,
                key=key,
                life_seconds=self._config.url_ttl_seconds,
            )
        longest = max(map(len, urls), default=0)
        if longest > MAX_URL_LENGTH:
            # Every key has the same length, so this concerns all mail, and an operator must act.
            raise RemoteError(
                service="s3",
                failure=FailureClass.CONFIGURATION,
                code="url_too_long",
                detail=f"a presigned URL has {longest} characters, Connect takes {MAX_URL_LENGTH}: the session token "
                "of these credentials is too long; sign with an IAM user's key or a role session without tags, "
                "or shorten s3.prefix",
            )
        expires_at = now + timedelta(seconds=self._config.url_ttl_seconds)
        return Stored(urls=tuple(urls), expires_at=min(expires_at, credentials_end_at or expires_at))


async def prove_stored(
    client: Any, answer: Mapping[str, Any], *, bucket: str, key: str, checksum: str, size: int
) -> None:
    """Check that an upload which got this answer is stored: by its checksum, else by a HEAD.

    Amazon answers each upload with its checksum; not every other server does.

    Raises:
        RemoteError, ClientError: it is not stored, or that cannot be told.
    """
    if check_put(answer, checksum=checksum, required=is_amazons(client)):
        return
    try:
        with readable_answer("s3"):
            head = await client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as exc:
        if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
            raise unproven("s3", f"{key} was uploaded, and a HEAD does not find it") from exc
        raise
    check_head(head, etag=answer["ETag"], checksum=checksum, size=size)


@dataclass(frozen=True, slots=True)
class _Upload:
    key: str
    content_type: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    sha256: str


def _slices(octets: memoryview) -> Iterator[bytes]:
    for start in range(0, len(octets), _CHUNK_BYTES):
        yield bytes(octets[start : start + _CHUNK_BYTES])


class Body(io.RawIOBase):
    """A file of known size made of chunks that can be asked for again, so that a client can read, measure and
    rewind it.

    One chunk is in memory at a time. Reads may come from several threads, one after the other.
    """

    def __init__(self, chunks: Callable[[], Iterator[bytes]], size: int) -> None:
        super().__init__()
        self._chunks = chunks
        self._size = size
        self._lock = threading.Lock()
        #: An exception from making a chunk: a fault of ours, not of the reader.
        self.fault: Exception | None = None
        self._rewind()

    def _rewind(self) -> None:
        self._iterator = self._chunks()
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True; but see `seek`."""
        return True

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        """The number of octets read since the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the start, the end or the present place.

        Others are refused: reaching them would mean reading up to there.
        """
        wanted = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        with self._lock:
            if wanted == 0:
                self._rewind()
            elif wanted == self._size:
                self._iterator, self._rest, self._position = iter(()), memoryview(b""), self._size
            elif wanted != self._position:
                raise io.UnsupportedOperation(f"cannot seek to {wanted} of {self._size}")
        return wanted

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` octets: fewer at the seam of two chunks, none at the end."""
        if size < 0:
            return self.readall()
        with self._lock:
            self._checkClosed()  # closed while the thread was on its way here
            while not self._rest:
                chunk = self._next()
                if chunk is None:
                    return b""
                self._rest = memoryview(chunk)
            piece = bytes(self._rest[:size])
            self._rest = self._rest[size:]
            self._position += len(piece)
            return piece

    def _next(self) -> bytes | None:
        try:
            return next(self._iterator, None)
        except Exception as exc:
            self.fault = exc
            raise

    def readall(self) -> bytes:
        """Read all octets from here to the end."""
        return b"".join(iter(lambda: self.read(_CHUNK_BYTES), b""))

    def close(self) -> None:
        """Close the file, after a read under way has ended."""
        with self._lock:
            self._iterator, self._rest = iter(()), memoryview(b"")
            super().close()
