"""The sandbox's S3: moto behind a front that checks signatures, which moto does not, and has faults on
request.

Owns the bucket's address and the refusals of S3 that a client can meet here: bad or expired signatures,
checksums, faults. Everything else is answered by moto.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web

from relay.sandbox.chaos import Dice
from relay.sandbox.moto_app import Answer, MotoApp
from relay.sandbox.signature import Keys, SignatureError, Signed, verify

_BAD_REQUEST = {
    "AuthorizationQueryParametersError",
    "AuthorizationHeaderMalformed",
    "BadDigest",
    "InvalidToken",
}
# Made anew by the front: hop-by-hop (RFC 9110 §7.6.1), or the server's own.
_NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_CHECKSUM = "x-amz-checksum-sha256"
_MAX_OBJECT_BYTES = 256 * 1024 * 1024


class S3Service:
    """The buckets at one address; opened by `open_s3`."""

    def __init__(
        self,
        *,
        keys: Keys,
        dice: Dice,
        buckets: Mapping[str, str],
        moto: MotoApp,
        now: Callable[[], datetime],
    ) -> None:
        self.port = 0
        #: The Region of each bucket.
        self._buckets = buckets
        #: The buckets of which every call is answered 500.
        self.away: set[str] = set()
        self._keys = keys
        self._dice = dice
        self._moto = moto
        self._now = now
        self._sizes: dict[str, int] = {}
        app = web.Application(client_max_size=_MAX_OBJECT_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._date)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._listening: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Make the buckets, and listen."""
        for bucket, region in self._buckets.items():
            where = f"<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            body = b"" if region == "us-east-1" else where.encode()
            made = await self._moto.call("PUT", f"/{bucket}", self._scope(region), body)
            if made.status not in (200, 409):  # 409: another sandbox of this process made it
                raise RuntimeError(f"moto did not make the bucket {bucket}: {made}")
        await self._runner.setup()
        await self._listen()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def apply_faults(self) -> None:
        """Stop listening while every connection is to be refused, and listen again afterwards."""
        refusing = self._dice.chaos.s3.refuse >= 1
        if refusing and self._listening is not None:
            site, self._listening = self._listening, None
            await site.stop()
            for connection in list(self._runner.server.connections) if self._runner.server else ():
                connection.force_close()
        elif not refusing and self._listening is None:
            await self._listen()

    async def read(self, url: str) -> tuple[bytes, str] | None:
        """Read an object and its content type for the page, whatever its URL's age and the faults.

        Returns None when it is gone.
        """
        answer = await self._moto.call("GET", urllib.parse.urlsplit(url).path, self._scope())
        headers = {name.lower(): value for name, value in answer.headers}
        return (answer.body, headers.get("content-type", "")) if answer.status == 200 else None

    def size_of(self, url: str) -> int | None:
        """The size of the object behind a URL. Returns None when no object was put there."""
        return self._sizes.get(urllib.parse.unquote(urllib.parse.urlsplit(url).path))

    @property
    def sizes(self) -> Collection[int]:
        """The sizes of all objects that were put."""
        return self._sizes.values()

    def region_of(self, url: str) -> str:
        """The Region of the bucket that a URL leads to; that of the keys where there is none."""
        bucket = urllib.parse.urlsplit(url).path.split("/")[1:2]
        return self._buckets.get("".join(bucket), self._keys.region)

    def _scope(self, region: str = "") -> dict[str, str]:
        """The parts of a signature that moto wants to see: a key and a Region."""
        scope = f"{self._keys.access_key}/20000101/{region or self._keys.region}/s3/aws4_request"
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}

    async def _listen(self) -> None:
        self._listening = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._listening.start()
        self.port = self._runner.addresses[0][1]

    async def _handle(self, request: web.Request) -> web.Response:
        faults = self._dice.chaos.s3
        if faults.latency_seconds:
            await asyncio.sleep(faults.latency_seconds)
        if self._dice.roll(faults.refuse):
            return _drop(request)
        body = await request.read()
        if self._dice.roll(faults.error) or request.path.split("/")[1] in self.away:
            return _refuse("InternalError", "We encountered an internal error. Please try again.", status=500)
        try:
            self._check(request, body)
        except SignatureError as exc:
            return _refuse(exc.code, str(exc), status=400 if exc.code in _BAD_REQUEST else 403)
        answer = await self._moto.call(request.method, request.raw_path, request.headers, body)
        reply = _pass_on(answer)
        if request.method == "PUT" and answer.status == 200:
            self._sizes[request.path] = len(body)
            # moto sends it for some uploads only, Amazon for all
            if promised := request.headers.get(_CHECKSUM):
                reply.headers[_CHECKSUM] = promised
                reply.headers["x-amz-checksum-type"] = "FULL_OBJECT"
        return _drop(request) if self._dice.roll(faults.lose_reply) else reply

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Date the answer by the clock of this service, by which it judges signatures."""
        response.headers["Date"] = format_datetime(self._now(), usegmt=True)

    def _check(self, request: web.Request, body: bytes) -> None:
        url = f"http://{request.host}{request.raw_path}"
        signed = Signed(method=request.method, url=url, headers=request.headers)
        verify(signed, self._keys, service="s3", now=self._now(), region=self.region_of(url))
        digest = hashlib.sha256(body)
        promised = request.headers.get(_CHECKSUM)
        if promised and promised != base64.b64encode(digest.digest()).decode():
            raise SignatureError(
                "BadDigest", "The SHA256 you specified did not match the calculated checksum."
            )
        signed_digest = request.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        if len(signed_digest) == 64 and signed_digest != digest.hexdigest():
            raise SignatureError("XAmzContentSHA256Mismatch", "The body is not the one that was signed.")


def _pass_on(answer: Answer) -> web.Response:
    reply = web.Response(status=answer.status, body=answer.body)
    for name, value in answer.headers:
        if name.lower() not in _NOT_PASSED_ON:
            reply.headers[name] = value
    return reply


def _drop(request: web.Request) -> web.Response:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refuse(code: str, message: str, *, status: int) -> web.Response:
    request_id = uuid.uuid4().hex[:16].upper()
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        f"<RequestId>{request_id}</RequestId></Error>"
    )
    return web.Response(
        status=status, text=text, content_type="application/xml", headers={"x-amz-request-id": request_id}
    )


@asynccontextmanager
async def open_s3(
    *, keys: Keys, dice: Dice, buckets: Mapping[str, str], now: Callable[[], datetime]
) -> AsyncIterator[S3Service]:
    """Run the service with empty buckets, each in its Region; their objects are gone at the end."""
    moto = MotoApp()
    await moto.load()
    service = S3Service(keys=keys, dice=dice, buckets=buckets, moto=moto, now=now)
    try:
        await service.start()
        yield service
    finally:
        await service.close()
        await moto.close()
