"""A page on loopback, over values that a test sets."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from relay.web.access import OpenAccess
from relay.web.application import build_page


@pytest.fixture
async def serve():
    clients = []

    async def run(view, *, extras=None, **rights):
        access = OpenAccess("127.0.0.1", **rights)
        client = TestClient(TestServer(build_page(view, access=access, extras=extras)))
        await client.start_server()
        clients.append(client)
        return client

    yield run
    for client in clients:
        await client.close()
