"""A client of HTTP for the pages and services of the sandbox."""

from __future__ import annotations

import aiohttp
import pytest_asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http():
    async with aiohttp.ClientSession() as session:
        yield session
