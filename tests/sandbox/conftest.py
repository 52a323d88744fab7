"""A sandbox without a pace for each module, emptied after each test, with clients of its own."""

from __future__ import annotations

import aiohttp
import pytest
import pytest_asyncio
from aws_parts import FAST, clients_of

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of


@pytest.fixture(scope="module")
def box():
    with running_sandbox(settings=settings_of(builtin_config(), **FAST), seed=1) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _clean(request):
    yield
    if "box" in request.fixturenames:
        sandbox = request.getfixturevalue("box")
        sandbox.chaos({})
        sandbox.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(box):
    with pytest.MonkeyPatch.context() as patch:
        async with clients_of(box.environ(), patch) as opened:
            yield opened
