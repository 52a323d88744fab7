"""Receiving, other than speed: memory under large mail, many idle connections, and how long a 250 takes.

    python -m bench.edge [--only NAME] [--rate 200] [--seconds 5] [--idle 5000]

The same daemon as in `bench.smtp`, alone. Needs no root, and as many open files as there are idle
connections.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import tempfile
import time
from pathlib import Path

from bench.smtp import Server, relay, rss_mib

_HELLO = b"EHLO bench.example\r\n"
_MAIL = (b"MAIL FROM:<ada@customer.example>\r\n", b"RCPT TO:<support@example.com>\r\n", b"DATA\r\n")
_LINE = b"A line of ordinary length, as people and programs write them.\r\n"


class Client:
    """A plain client, for one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        """A client that has been greeted."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        await client.answer(220)
        return client

    async def answer(self, code: int) -> None:
        """The whole reply, which must be of this code."""
        line = b"   -"
        while line[3:4] == b"-":
            line = await self._reader.readline()
        if not line.startswith(b"%d" % code):
            raise RuntimeError(f"{code} was expected: {line!r}")

    async def say(self, line: bytes, code: int = 250) -> None:
        """A command and its reply."""
        self._writer.write(line)
        await self.answer(code)

    async def send(self, name: str, octets: int) -> float:
        """One mail; the seconds from the end of its data to its 250."""
        for line in _MAIL:
            await self.say(line, 354 if line.startswith(b"DATA") else 250)
        self._writer.write(b"Message-ID: <%b@bench.example>\r\nSubject: bench\r\n\r\n" % name.encode())
        block = _LINE * min(1_000, octets // len(_LINE) + 1)
        while octets > 0:
            self._writer.write(block)
            await self._writer.drain()
            octets -= len(block)
        begun = time.perf_counter()
        await self.say(b".\r\n")
        return time.perf_counter() - begun

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def send_once(port: int, name: str, octets: int) -> float:
    """A connection for one mail."""
    client = await Client.connect(port)
    await client.say(_HELLO)
    try:
        return await client.send(name, octets)
    finally:
        client.close()


async def measure_latency(server: Server, *, rate: float, seconds: float) -> str:
    """At a moderate, even rate of new connections: the time from end-of-data to 250."""
    tasks = []
    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(begun + number / rate - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(send_once(server.port, f"latency-{number}", 2_000)))
    times = sorted(await asyncio.gather(*tasks))
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    return (
        f"| end of data to 250, {rate:g} mails/s of 2 KB | p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms | |"
    )


async def measure_memory(server: Server) -> str:
    """Twenty sessions of 25 MB at once: by how much all processes together grow at most."""
    await asyncio.gather(*(send_once(server.port, f"warm-{number}", 2_000) for number in range(20)))
    before = peak = rss_mib(server.pids())
    sending = asyncio.gather(*(send_once(server.port, f"large-{number}", 25_000_000) for number in range(20)))
    while not sending.done():
        peak = max(peak, rss_mib(server.pids()))
        await asyncio.sleep(0.02)
    await sending
    grown = peak - before
    return f"| 20 sessions of 25 MB at once | grows by {grown:.0f} MB from {before:.0f} | <= 100 MB {verdict(good=grown <= 100)} |"


async def measure_idle(server: Server, idle: int) -> str:
    """So many greeted and silent sessions: what each costs, and whether a mail still gets through."""
    await asyncio.gather(*(send_once(server.port, f"warm-{number}", 2_000) for number in range(20)))
    before = rss_mib(server.pids())
    held: list[socket.socket] = []
    for _ in range(idle):
        held.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        if not (greeting := held[-1].recv(200)).startswith(b"220"):
            raise RuntimeError(f"session {len(held)} was not greeted: {greeting!r}")
    each = (rss_mib(server.pids()) - before) * 1_024 / idle
    begun = time.perf_counter()
    await send_once(server.port, "after-the-idle", 2_000)
    seconds = time.perf_counter() - begun
    for sock in held:
        sock.close()
    return (
        f"| {idle:,} idle connections | {each:.1f} KB each; a new client's 2 KB mail in {seconds * 1e3:.0f} ms "
        f"| <= 30 KB {verdict(good=each <= 30)} |"
    )


def verdict(*, good: bool) -> str:
    """Whether a target was met, as the tables say it."""
    return "met" if good else "MISSED"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("latency", "memory", "idle"))
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--idle", type=int, default=5_000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measures = {
        "latency": lambda server: measure_latency(server, rate=options.rate, seconds=options.seconds),
        "memory": measure_memory,
        "idle": lambda server: measure_idle(server, options.idle),
    }
    print("| what | measured | target |\n| --- | --- | --- |", flush=True)
    for name, measure in measures.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as folder, relay(Path(folder) / "relay") as server:
                print(asyncio.run(measure(server)), flush=True)


if __name__ == "__main__":
    main()
