"""The webhook of alarms: one POST, and the answer to it.

Owns how an alarm is posted, and by which proxy: the one that the environment names, as for S3
and Connect. Never tries twice: `sender` does.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from relay.alarms.model import Answer
from relay.alarms.presets import Post
from relay.aws.proof import is_taken
from relay.terminal import write_out

#: Octets of an answer that are read: what a receiver finds wrong is in its first line.
_ANSWER_BYTES = 512
#: Characters of them that a person is shown.
_ANSWER_CHARACTERS = 160


async def send_post(url: str, post: Post, *, timeout_seconds: float) -> Answer:
    """Post an alarm once. Redirects are not followed: the POST would become a GET that anybody may like."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.post(
                url, data=post.body, headers=post.headers, allow_redirects=False, proxy=find_proxy(url)
            ) as answer,
        ):
            status = f"status {answer.status}"
            if is_taken(answer.status):
                return Answer(says=_tell(status, await _read(answer)))
            return Answer(why=status, says=_tell(status, await _read(answer)))
    except aiohttp.ClientHttpProxyError as exc:  # its text has the proxy's address, with a password perhaps
        return Answer(why=type(exc).__name__, says=f"the proxy answered with the status {exc.status}")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:  # ValueError: a proxy by SOCKS
        return Answer(why=type(exc).__name__, says=type(exc).__name__)


def find_proxy(url: str) -> str | None:
    """The proxy for a URL by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, read as botocore reads them. Returns None
    for none.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxy = getproxies().get(parts.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The first octets of an answer. Returns what came when the connection breaks: the status is known."""
    try:
        return await answer.content.read(_ANSWER_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return b""


def _tell(status: str, body: bytes) -> str:
    """The status, and behind it the first line of the answer, if it has text."""
    lines = body.decode("utf-8", "replace").split("\n")
    line = write_out(next((line.strip() for line in lines if line.strip()), ""))
    return f"{status}: {line[:_ANSWER_CHARACTERS]}" if line else status
