"""A proxy before the emulator of DynamoDB and S3, on a test's event loop: it loses, refuses and counts."""

from __future__ import annotations

from collections import Counter

import aiohttp
from aiohttp import web


class Proxy:
    """A proxy before the emulator, which drops answers or refuses requests, as it is told."""

    def __init__(self, upstream):
        self._upstream = upstream
        #: How many answers of an operation are dropped, and what is refused before it is done; "dynamodb" and
        #: "s3" are all operations of one service, and "*" is both. The status 0 cuts the connection.
        self.lose: Counter[str] = Counter()
        self.refuse: dict[str, tuple[int, str]] = {}
        #: How many calls of an operation are refused, where not all are.
        self.times: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    async def __aenter__(self):
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()
        await self._session.close()

    def _is_struck(self, word):
        if word not in self.times:
            return True
        self.times[word] -= 1
        return self.times[word] >= 0

    def _refused(self, request, service, status, code):
        if not status:
            request.transport.close()
            return web.Response(status=500)
        if service == "s3":
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so told</Message></Error>"
            return web.Response(status=status, text=text, content_type="application/xml")
        return web.json_response({"__type": code, "message": "so told"}, status=status)

    async def _pass(self, request):
        body = await request.read()
        name = request.headers.get("X-Amz-Target", request.method).rpartition(".")[2]
        self.seen[name] += 1
        service = "dynamodb" if "X-Amz-Target" in request.headers else "s3"
        for word in (name, service, "*"):
            if word in self.refuse and self._is_struck(word):
                return self._refused(request, service, *self.refuse[word])
        headers = {
            key: value
            for key, value in request.headers.items()
            if key.lower() not in ("content-length", "transfer-encoding", "expect")
        }
        async with self._session.request(
            request.method, f"{self._upstream}{request.raw_path}", data=body, headers=headers
        ) as answer:
            content = await answer.read()
            if self.lose[name] > 0:
                self.lose[name] -= 1
                request.transport.close()
                return web.Response(status=500)
            kept = {
                key: value
                for key, value in answer.headers.items()
                if key.lower() not in ("transfer-encoding", "connection", "server")
            }
            return web.Response(status=answer.status, body=content, headers=kept)
