"""A proxy on loopback that does to HTTP what networks and services do: refuse, hang, cut off, lie.

A test sets `proxy.plan`, a function from the request to what is done with it; every request is counted and
noted.
The Host header is passed on as it came, for it is signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

_REASONS = {400: "Bad Request", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 409: "Conflict",
            429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came."""

    number: int
    head: bytes
    body: bytes
    at: float

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()


class Exchange:
    """One request and the two ends of its connection: what a deed does its work with."""

    def __init__(
        self, request: Request, writer: asyncio.StreamWriter, upstream: tuple[str, int], proxy: Proxy
    ) -> None:
        self.request = request
        self._writer = writer
        self._upstream = upstream
        self._change = proxy.change

    @property
    def changed(self) -> bool:
        """Whether the plan is another one by now."""
        return self._change.is_set()

    async def fetch(self) -> bytes:
        """The whole answer of the real service."""
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(self.request.head + self.request.body)
            head = await reader.readuntil(b"\r\n\r\n")
            size = 0 if self.request.method == "HEAD" else _length(head)
            return head + await reader.readexactly(size)
        finally:
            writer.close()

    async def send(self, octets: bytes) -> None:
        """Give octets to the client."""
        self._writer.write(octets)
        await self._writer.drain()

    def reset(self) -> None:
        """End the connection by RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def wait_for_change(self, seconds: float) -> None:
        """Until the plan is another one, so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), seconds)


Deed = Callable[[Exchange], Awaitable[None]]


async def forward(exchange: Exchange) -> None:
    """What a proxy is for."""
    await exchange.send(await exchange.fetch())


async def reset_unsent(exchange: Exchange) -> None:
    """The request never reaches the service."""
    exchange.reset()


async def reset_after(exchange: Exchange) -> None:
    """The service does its work, and its answer is lost."""
    await exchange.fetch()
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    """Nobody answers, for longer than a client waits, or until the plan changes."""
    await exchange.wait_for_change(600)
    exchange.reset()


async def truncate(exchange: Exchange) -> None:
    """The work is done, and the connection ends in the middle of the answer."""
    answer = await exchange.fetch()
    head, _, body = answer.partition(b"\r\n\r\n")
    await exchange.send(head + b"\r\n\r\n" + body[: len(body) // 2] if body else head[: len(head) // 2])
    exchange.reset()


async def drip(exchange: Exchange) -> None:
    """The answer comes a few octets at a time, until the plan changes."""
    answer = await exchange.fetch()
    while answer and not exchange.changed:
        await exchange.send(answer[:24])
        answer = answer[24:]
        await asyncio.sleep(0.02)  # the slowness itself
    await exchange.send(answer)


async def conflict(exchange: Exchange) -> None:
    """The service does its work, and then says that it was done before: what a lost answer and a new payload
    come to.
    """
    answer = await exchange.fetch()
    if answer.split(b" ", 2)[1] != b"200":
        return await exchange.send(answer)
    return await json_error(409, "IdempotencyException")(exchange)


def json_error(status: int, code: str, **more: object) -> Deed:
    """An answer as Connect gives it."""

    async def deed(exchange: Exchange) -> None:
        body = json.dumps({"Message": "as planned", **more}).encode()
        await exchange.send(_answer(status, body, f"application/json\r\nx-amzn-ErrorType: {code}:"))

    return deed


def xml_error(status: int, code: str) -> Deed:
    """An answer as S3 gives it."""

    async def deed(exchange: Exchange) -> None:
        body = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as planned</Message></Error>".encode()
        )
        await exchange.send(_answer(status, body, "application/xml"))

    return deed


def page(status: int) -> Deed:
    """A page for people, where a program expects an answer: what load balancers say."""

    async def deed(exchange: Exchange) -> None:
        await exchange.send(_answer(status, b"<html><h1>It is closed</h1></html>", "text/html"))

    return deed


def _answer(status: int, body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'OK')}\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\n\r\n"
    return head.encode() + body


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Proxy:
    """One proxy; `running_proxy` starts it in a thread of its own."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream = (host, int(port))
        self._plan: Callable[[Request], Deed] = lambda _: forward
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0
        #: When each request came, by a monotonic clock.
        self.times: list[float] = []
        #: Attempts to connect that found nobody cannot be counted; connections that were made can.
        self.connections = 0
        self.change = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def do(self, deed: Deed) -> None:
        """The same with every request from now on."""
        self.plan(lambda _: deed)

    def plan(self, plan: Callable[[Request], Deed]) -> None:
        """From now on, by this plan; what hangs is let go."""
        asyncio.run_coroutine_threadsafe(self.change_plan(plan), self.loop).result(10)

    def refuse(self, refusing: bool) -> None:
        """Listen no more, or again; open connections end."""
        asyncio.run_coroutine_threadsafe(self.change_refusal(refusing), self.loop).result(10)

    async def change_plan(self, plan: Callable[[Request], Deed]) -> None:
        """`plan`, from within the proxy's own loop."""
        self._plan = plan
        old, self.change = self.change, asyncio.Event()
        old.set()

    async def change_refusal(self, refusing: bool) -> None:
        """`refuse`, from within the proxy's own loop."""
        if refusing and self._server is not None:
            self._server.close()
            self._server = None
            for writer in tuple(self._open):
                writer.transport.abort()
        elif not refusing and self._server is None:
            await self.listen()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self.change_plan(lambda _: forward)
        await self.change_refusal(refusing=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                at = asyncio.get_running_loop().time()
                request = Request(number=len(self.times) + 1, head=head, body=body, at=at)
                self.times.append(request.at)
                await self._plan(request)(Exchange(request, writer, self._upstream, self))
                if writer.is_closing():
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._open.discard(writer)
            writer.close()


@contextlib.contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy before a service of this machine, in a thread with a loop of its own."""
    proxy = Proxy(upstream)
    ready = threading.Event()
    ended: list[asyncio.Event] = []

    async def run() -> None:
        proxy.loop = asyncio.get_running_loop()
        ended.append(asyncio.Event())
        await proxy.listen()
        ready.set()
        await ended[0].wait()
        await proxy.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy.loop.call_soon_threadsafe(ended[0].set)
        thread.join(timeout=10)
