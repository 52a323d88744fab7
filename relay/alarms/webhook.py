"""The webhook of alarms: one POST, and the answer to it.

Owns how an alarm is posted. Never tries twice: `sender` does.
"""

from __future__ import annotations

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
            client.post(url, data=post.body, headers=post.headers, allow_redirects=False) as answer,
        ):
            status = f"status {answer.status}"
            if is_taken(answer.status):
                return Answer(says=_tell(status, await _read(answer)))
            return Answer(why=status, says=_tell(status, await _read(answer)))
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        return Answer(why=type(exc).__name__, says=type(exc).__name__)


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
