"""Health and metrics over HTTP."""

from __future__ import annotations

import aiohttp
import pytest

from relay.daemon.admin import build_application, merge_expositions, open_admin
from relay.errors import ConfigError

RECEIVER = """\
# HELP relay_transactions_total Transactions by what became of them.
# TYPE relay_transactions_total counter
relay_transactions_total{disposition="accept"} 3.0
relay_transactions_total{disposition="reject"} 1.0
"""
OTHER = RECEIVER.replace("3.0", "4.0")


async def get(bind: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://{bind}{path}") as response:
        return response.status, await response.text()


async def pages(problems=()):
    async def metrics():
        return {"receiver-0": RECEIVER, "receiver-1": OTHER}

    return build_application(problems=lambda: tuple(problems), metrics=metrics)


async def test_ready_and_alive():
    """Nothing in the way: both pages say ok."""
    async with open_admin(["127.0.0.1:0"], await pages()) as (bind,):
        assert await get(bind, "/livez") == (200, "ok\n")
        assert await get(bind, "/readyz") == (200, "ok\n")


async def test_not_ready_says_why():
    """What is in the way stands in the answer, one reason a line, with status 503; alive is alive."""
    async with open_admin(["127.0.0.1:0"], await pages(["deliverer is not up", "stopping"])) as (bind,):
        assert await get(bind, "/readyz") == (503, "deliverer is not up\nstopping\n")
        assert await get(bind, "/livez") == (200, "ok\n")


async def test_notice_is_told_and_keeps_nobody_out():
    """What a person should know stands behind the ok, and mail may be sent here."""
    app = build_application(
        problems=tuple, notices=lambda: ("deliverer: the clock",), metrics=lambda: pytest.fail("not asked")
    )
    async with open_admin(["127.0.0.1:0"], app) as (bind,):
        assert await get(bind, "/readyz") == (200, "ok\ndeliverer: the clock\n")


async def test_metrics_of_all_processes():
    """Each sample of each process is there once, under its process."""
    async with open_admin(["127.0.0.1:0"], await pages()) as (bind,):
        status, text = await get(bind, "/metrics")
    assert status == 200
    assert 'relay_transactions_total{disposition="accept",process="receiver-0"} 3.0' in text
    assert 'relay_transactions_total{disposition="accept",process="receiver-1"} 4.0' in text
    assert text.count("# TYPE relay_transactions_total counter") == 1


def test_process_that_does_not_answer_is_left_out():
    """An empty answer of one process leaves the samples of the others."""
    text = merge_expositions({"receiver-0": RECEIVER, "deliverer": ""}).decode()
    assert 'process="receiver-0"' in text
    assert "deliverer" not in text


async def test_port_that_is_taken():
    """A port that somebody else has is an operator's sentence with the key and the value."""
    async with open_admin(["127.0.0.1:0"], await pages()) as (bind,):
        with pytest.raises(
            ConfigError, match=rf'admin\.bind = "{bind}": .* in use.*RELAY_ADMIN__BIND.*"" for none'
        ):
            async with open_admin([bind], await pages()):
                pass
