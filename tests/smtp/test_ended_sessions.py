"""A connection and its conversation, from the first octet to nothing."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from bench.edge_cpu import Bench, Load
from relay.smtp.admission import Admission
from relay.smtp.connection import Connection
from relay.smtp.protocol import Conversation
from relay.smtp.session import Session
from relay.smtp.transfer import Transfer

ROLES = (Admission, Connection, Conversation, Session, Transfer)


async def leftovers(folder: Path) -> list[object]:
    """What is still in memory of twenty sessions that have ended, where nobody collects garbage."""
    bench = Bench(folder)
    gc.collect()
    gc.disable()
    try:
        await bench.run(Load(name="", octets=2_000, reused=False, mails=20))
        await asyncio.sleep(0)
        return [each for each in gc.get_objects() if isinstance(each, ROLES)]
    finally:
        gc.enable()
        bench.server.close()
        await bench.intake.close()


@pytest.mark.slow
def test_a_session_that_has_ended_leaves_nothing_in_memory(tmp_path):
    """No circle of references is left to the collector of garbage, which holds the loop for milliseconds."""
    assert asyncio.run(leftovers(tmp_path)) == []
