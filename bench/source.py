"""A load of signed mails, each different: `smtp-source` can send one file again and again, or mail unsigned.

Not a bench of its own: `bench.identity` uses it. The mails differ in a field that is not signed. With a port
and a file it sends that file once, for `bench.lag_in`.
"""

from __future__ import annotations

import asyncio
import itertools
import smtplib
import sys
import time
from pathlib import Path

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


def _send_once(port: str, path: str) -> None:
    """Hand over the mail in a file, which has no line that begins with a dot, once a line comes in."""
    octets = Path(path).read_bytes() + b".\r\n"
    print("ready", flush=True)
    sys.stdin.readline()
    with smtplib.SMTP("127.0.0.1", int(port), timeout=120, local_hostname="mx.bank.example") as client:
        client.ehlo()
        client.mail("service@bank.example")
        client.rcpt("support@example.com")
        client.putcmd("data")
        client.getreply()
        client.send(octets)
        code, text = client.getreply()
        if code != 250:
            raise SystemExit(_FAILED.format(f"{code} {text.decode(errors='replace')}"))
        print("done", flush=True)


if __name__ == "__main__":
    _send_once(*sys.argv[1:])
