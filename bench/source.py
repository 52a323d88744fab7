"""A load of signed mails, each different: `smtp-source` can send one file again and again, or mail unsigned.

Not a bench of its own: `bench.identity` uses it. The mails differ in a field that is not signed.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import uvloop

_FAILED = "the server said {}"


def run(port: int, mail: bytes, *, sessions: int, messages: int, sender: str, helo: str) -> float:
    """Messages a second of one run over so many sessions, each of which is used for many mails."""

    async def send() -> float:
        numbers = itertools.count(time.time_ns())
        share = -(-messages // sessions)
        begun = time.monotonic()
        await asyncio.gather(
            *(_meet(port, mail, numbers, share, sender=sender, helo=helo) for _ in range(sessions))
        )
        return share * sessions / (time.monotonic() - begun)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(send())


async def _meet(
    port: int, mail: bytes, numbers: itertools.count[int], messages: int, *, sender: str, helo: str
) -> None:
    """One session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(octets: bytes, code: bytes) -> None:
        writer.write(octets)
        reply = await reader.readline()
        if not reply.startswith(code + b" "):
            raise RuntimeError(_FAILED.format(reply.decode(errors="replace")))

    await say(b"", b"220")
    await say(b"HELO " + helo.encode() + b"\r\n", b"250")
    for _ in range(messages):
        await say(b"MAIL FROM:<" + sender.encode() + b">\r\n", b"250")
        await say(b"RCPT TO:<support@example.com>\r\n", b"250")
        await say(b"DATA\r\n", b"354")
        await say(b"Message-ID: <%d@bank.example>\r\n%b\r\n.\r\n" % (next(numbers), mail), b"250")
    writer.close()
