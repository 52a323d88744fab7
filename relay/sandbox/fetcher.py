"""The simulator's fetching of attachments: after the answer, by presigned URL, again where S3 does not
answer.

Owns the fetch and the record of it. A URL that leads elsewhere than to the sandbox's S3 is refused without
being fetched, and so is one whose signature or expiry is not valid.
"""

from __future__ import annotations

import asyncio
import hashlib
import urllib.parse
from collections.abc import Callable
from datetime import datetime

import aiohttp
from yarl import URL

from relay.sandbox.contacts import Contact, Fetched
from relay.sandbox.signature import Keys, SignatureError, Signed, verify

#: Seconds between tries while S3 does not answer, about a minute in all. How often Connect tries is not
#: documented.
PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, *(5.0,) * 11)


class Fetcher:
    """The fetches in the background."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        *,
        keys: Keys,
        origin: str,
        region_of: Callable[[str], str],
        now: Callable[[], datetime],
        delay_seconds: float = 0.01,
    ) -> None:
        self._client = client
        self._keys = keys
        self._region_of = region_of
        self._now = now
        self._delay_seconds = delay_seconds
        self._origin = urllib.parse.urlsplit(origin)
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(16)

    def lead(self, origin: str) -> None:
        """Set the origin that URLs must lead to."""
        self._origin = urllib.parse.urlsplit(origin)

    def fetch_all(self, contact: Contact) -> None:
        """Begin to fetch a contact's attachments."""
        for attachment in contact.attachments:
            task = asyncio.create_task(self._fetch(attachment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self, timeout_seconds: float) -> None:
        """Wait for the fetches that are under way now, so long at most."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_seconds)

    async def close(self) -> None:
        """Give up the fetches that are under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, attachment: Fetched) -> None:
        await asyncio.sleep(self._delay_seconds)  # the answer goes first, as in the service
        error = self._wrong(attachment.url)
        if not error:
            for pause in (*PAUSES, None):
                error, again = await self._try(attachment)
                if not again or pause is None:
                    break
                await asyncio.sleep(pause)
        attachment.error = error
        attachment.state = "failed" if error else "available"

    def _wrong(self, url: str) -> str:
        """The reason why a URL is not fetched at all; "" when it is."""
        parts = urllib.parse.urlsplit(url)
        if (parts.scheme, parts.netloc) != (self._origin.scheme, self._origin.netloc):
            return f"{parts.scheme}://{parts.netloc} is not the S3 of this sandbox"
        try:
            verify(
                Signed(method="GET", url=url, headers={"host": parts.netloc}),
                self._keys,
                service="s3",
                now=self._now(),
                region=self._region_of(url),
            )
        except SignatureError as exc:
            return f"{exc.code}: {exc}"
        return ""

    async def _try(self, attachment: Fetched) -> tuple[str, bool]:
        """Try once. Returns the error, "" for none, and whether another try may help."""
        try:
            async with (
                self._places,
                self._client.get(URL(attachment.url, encoded=True)) as answer,
            ):
                if answer.status != 200:
                    return f"S3 answered {answer.status}", answer.status >= 500
                digest, size = hashlib.sha256(), 0
                async for chunk in answer.content.iter_chunked(262_144):
                    digest.update(chunk)
                    size += len(chunk)
        except (aiohttp.ClientError, TimeoutError) as exc:
            return f"S3 did not answer: {exc!r}", True
        attachment.size, attachment.sha256 = size, digest.hexdigest()
        return "", False
