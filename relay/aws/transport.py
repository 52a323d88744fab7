"""HTTP as the clients of AWS speak it: an answer comes from whom we asked, is of a bounded size, and a PUT goes out once.

Owns what aiobotocore leaves to aiohttp's defaults. aiohttp follows redirects (RFC 9110 §15.4), and would send a mail to
whatever place a portal or a filter names, and take that place's answer for Connect's; it also reads a body of any
length. Here a redirect is an answer like any other, which botocore calls an error. Never decides what an answer means.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

#: The largest answer to any call of ours is an error of some kilobytes.
MOST_ANSWER_BYTES = 1 << 20


class AnswerTooLongError(Exception):
    """An answer that no service gives; botocore's clients take it for a connection that failed."""


class Transport(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The HTTP session of a client: no redirects, no endless answers."""

    async def _get_session(self, proxy_url: str | None) -> _Session:
        return _Session(await super()._get_session(proxy_url))


class SendsOnce(Transport):
    """A transport that does not send a PUT again by itself when the connection breaks.

    StartEmailContact is a PUT. Sent twice in one attempt, the answer to the second could be a 409 to the first, which nobody
    could explain: to the spool nothing had gone out before.
    """

    async def _get_session(self, proxy_url: str | None) -> _Session:
        session = await super()._get_session(proxy_url)
        session.client._retry_connection = False  # noqa: SLF001 # aiohttp has no other way to say so
        return session


class _Session:
    """The one call that aiobotocore makes of a session of aiohttp."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client

    async def request(self, method: str, **options: Any) -> _Answer:
        """Send a request. Returns the whole answer.

        Raises:
            AnswerTooLongError: its body has more than `MOST_ANSWER_BYTES`.
        """
        response = await self.client.request(method, allow_redirects=False, **options)
        try:
            return _Answer(response, await _read(response))
        except BaseException:
            response.close()
            raise


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            raise AnswerTooLongError(f"an answer of more than {MOST_ANSWER_BYTES:,} bytes")
    return bytes(body)


class _Answer:
    """What aiobotocore asks of a response."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.url = response.url
        self.status = response.status
        self.raw_headers = response.raw_headers
        self._body = body

    async def read(self) -> bytes:
        """Return the body."""
        return self._body
