"""HTTP as the clients of AWS speak it: the answer of the server that was asked, of bounded size, to one PUT
at a time.

Owns the settings that aiobotocore leaves to aiohttp's defaults. aiohttp follows redirects (RFC 9110 §15.4):
it would send a mail to any place that a portal or a filter names, and take the answer from there for
Connect's. It also reads a body of any length. Here a redirect is an answer like any other, which botocore
calls an error. Never decides what an answer means.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

#: The largest answer that is read. Every real answer is smaller: at most an error of some kilobytes.
MOST_ANSWER_BYTES = 1 << 20
#: The octets of an object that are read at once, where objects are read; and the largest answer there.
PART_BYTES = 8 << 20
#: The same for a metadata service, whose answers are some kilobytes of JSON, and the seconds for all of one.
MOST_METADATA_BYTES = 64 << 10
_METADATA_SECONDS = 5.0


class AnswerTooLongError(Exception):
    """An answer longer than any service gives; botocore's clients take it for a failed connection."""


class Transport(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The HTTP session of a client, without redirects and with a bound on answers."""

    most_bytes = MOST_ANSWER_BYTES

    async def _get_session(self, proxy_url: str | None) -> _Session:
        return _Session(await super()._get_session(proxy_url), most_bytes=self.most_bytes)


class ReadsObjects(Transport):
    """A transport for a client that reads objects, part by part."""

    most_bytes = PART_BYTES + MOST_ANSWER_BYTES


class SendsOnce(Transport):
    """A transport that does not send a PUT again by itself when the connection breaks.

    StartEmailContact is a PUT. If it were sent twice in one attempt, the second could get a 409 because of
    the first. The spool would know of no earlier send, and hold the entry as an unexplained conflict.
    """

    async def _get_session(self, proxy_url: str | None) -> _Session:
        session = await super()._get_session(proxy_url)
        session.client._retry_connection = False  # noqa: SLF001 # aiohttp has no other way to say so
        return session


def bounded(session: Any) -> Any:
    """The session of a metadata service, without redirects, and with bounds on the size and time of answers.

    aiobotocore counts the users of such a session (`acquire`), so the object stays as it is, but for the one
    way in which it opens a connection.
    """
    open_session = session._get_session  # noqa: SLF001 # the one place where aiobotocore makes a session

    async def _get_session(proxy_url: str | None) -> _Session:
        client = await open_session(proxy_url)
        return _Session(client, most_bytes=MOST_METADATA_BYTES, seconds=_METADATA_SECONDS)

    session._get_session = _get_session  # noqa: SLF001
    return session


class _Session:
    """The call that aiobotocore makes of a session of aiohttp, and no more."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        *,
        most_bytes: int = MOST_ANSWER_BYTES,
        seconds: float | None = None,
    ) -> None:
        """`seconds` bounds a whole answer; None leaves it to the client's time-outs of each read."""
        self.client = client
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def request(self, method: str, **options: Any) -> _Answer:
        """Send a request. Returns the whole answer.

        Raises:
            AnswerTooLongError: its body has more octets than it may.
            TimeoutError: it was not whole in time.
        """
        async with asyncio.timeout(self._seconds):
            response = await self.client.request(method, allow_redirects=False, **options)
            try:
                return _Answer(response, await _read(response, self._most_bytes))
            except BaseException:
                response.close()
                raise


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > most_bytes:
            raise AnswerTooLongError(f"an answer of more than {most_bytes:,} bytes")
    return bytes(body)


class _Answer:
    """The parts of a response that aiobotocore asks for."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.url = response.url
        self.status = response.status
        self.raw_headers = response.raw_headers
        self._body = body
        #: The body once more, for an operation whose output is a stream (GetObject).
        self.content = _Content(body)

    async def read(self) -> bytes:
        """The body."""
        return self._body


class _Content:
    """A body that is here already, read as a stream."""

    def __init__(self, body: bytes) -> None:
        self._left = body

    async def read(self, size: int = -1) -> bytes:
        """The next octets. Returns at most `size` of them, all that are left where it is negative."""
        taken = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        return taken
