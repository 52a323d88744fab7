"""The fixtures of the spool's tests: one spool a test, of each implementation."""

from __future__ import annotations

import pytest
from spool_helpers import LocalSpool, build_config, build_submission

from relay.config.model import Config


@pytest.fixture
def config(tmp_path) -> Config:
    return build_config(tmp_path / "data")


@pytest.fixture(params=[LocalSpool], ids=["local"])
async def spool(request, tmp_path):
    spool = request.param(tmp_path)
    yield spool
    await spool.close()


@pytest.fixture
def intake(spool):
    return spool.open_intake()


@pytest.fixture
def outbox(spool, intake):
    return spool.open_outbox()


@pytest.fixture
def desk(spool, intake):
    return spool.open_desk()


@pytest.fixture
def put(intake):
    """Puts a mail unlike any other, or like what it is told; the spool id it got."""

    async def put(**like):
        receipt = await intake.put(build_submission(intake.new_id(), **like))
        return receipt.spool_id

    return put
