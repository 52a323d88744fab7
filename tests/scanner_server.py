"""A clamd and an rspamd for tests: real sockets in a thread, and manners by word."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VIRUS = b"A-VIRUS-FOR-TESTS"
SPAM = b"SOME-SPAM-FOR-TESTS"
#: A name that tries to end a line, a header and an attribute.
EVIL = 'Evil"\r\nX-Forged: yes\r\n=; \x1b[2J'
CLEAN = {"action": "no action", "score": -0.1, "required_score": 15, "symbols": {}}
SPAMMY = {
    "action": "add header",
    "score": 7.5,
    "required_score": 15,
    "symbols": {"TEST_SPAM": {"score": 7.5}, EVIL: {"score": 0.5}},
}


class ScannerServer:
    """Both scanners; `manner` says what they do with each mail from now on."""

    def __init__(self) -> None:
        #: "good", "silent", "deaf" (takes nothing), "drip", "endless", "garbage", "evil", "early" "closing".
        self.manner = "good"
        self.clamd = ""
        self.rspamd = ""
        #: The heads of requests to rspamd, and the mails that each scanner got whole.
        self.heads: list[bytes] = []
        self.mails: list[bytes] = []
        #: Connections that were made.
        self.asked = 0
        #: The most connections at one time.
        self.most = 0
        self._open = 0

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        """Serve until `done`."""
        servers, tasks = [], set()
        for dialog in (self._meet_clamd, self._meet_rspamd):

            async def meet(reader, writer, dialog=dialog):
                task = asyncio.current_task()
                tasks.add(task)
                self.asked += 1
                self._open += 1
                self.most = max(self.most, self._open)
                try:
                    await dialog(reader, writer)
                except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
                    pass  # the other side has what it wanted
                finally:
                    self._open -= 1
                    tasks.discard(task)
                    writer.close()

            servers.append(await asyncio.start_server(meet, "127.0.0.1", 0))
        places = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        self.clamd, self.rspamd = places[0], f"http://{places[1]}"
        ready.set()
        await done.wait()
        for server in servers:
            server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _meet_clamd(self, reader, writer):
        if self.manner == "deaf":
            await asyncio.Event().wait()
        word = await reader.readuntil(b"\0")
        if word == b"zPING\0":
            writer.write(b"PONG\0")
            return
        if self.manner == "closing":
            return
        if self.manner == "early":
            writer.write(b"stream: OK\0")
            await writer.drain()
        mail = b""
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            mail += await reader.readexactly(size)
        self.mails.append(mail)
        good = b"stream: Test.Virus FOUND\0" if VIRUS in mail else b"stream: OK\0"
        await self._say(writer, good, b"stream: %b FOUND\0" % EVIL.encode())

    async def _meet_rspamd(self, reader, writer):
        if self.manner == "deaf":
            await asyncio.Event().wait()
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /ping "):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npong\r\n")
            return
        self.heads.append(head)
        if self.manner == "closing":
            return
        lines = head.lower().split(b"\r\n")
        size = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        mail = await reader.readexactly(size)
        self.mails.append(mail)
        evil = {**SPAMMY, "symbols": {EVIL * 1_000: {"score": 5}}}
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        await self._say(
            writer, json.dumps(SPAMMY if SPAM in mail else CLEAN).encode(), json.dumps(evil).encode()
        )

    async def _say(self, writer, good, evil):
        match self.manner:
            case "silent":
                await asyncio.Event().wait()
            case "drip":
                while True:
                    writer.write(b"s")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "endless":
                while True:
                    writer.write(b"stream: " * 8_192)
                    await writer.drain()
            case "garbage":
                writer.write(bytes(range(256)) * 64)
            case "evil":
                writer.write(evil)
            case _:
                writer.write(good)
        await writer.drain()


@contextmanager
def scanners_in_a_thread() -> Iterator[ScannerServer]:
    """Both scanners, until the end of the block."""
    server, ready, stop = ScannerServer(), threading.Event(), []

    async def run():
        done = asyncio.Event()
        stop.extend((asyncio.get_running_loop(), done))
        await server.serve(ready, done)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        stop[0].call_soon_threadsafe(stop[1].set)
        thread.join(10)
