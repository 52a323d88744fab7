"""What the SMTP edge does for one ordinary mail, in calls: the same on every machine, however busy.

`bench.edge_cpu` measures the same sessions in microseconds. The budgets are counts of today and 2 %: who
needs more of them looks first for what is done twice.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import relay
from bench.edge_cpu import LOADS, Bench, Load
from relay import telemetry

ROOM = str(Path(relay.__file__).parent)
MAILS = 20
#: By load, the calls of and from our own functions for one mail, its share of the session included.
BUDGETS = {"2 KB, reused": 380, "2 KB": 441, "200 KB": 594}


async def count_calls(folder: Path, load: Load) -> float:
    """The calls for one mail of a load whose recipients, dates and the like were seen before."""
    telemetry.configure("json", "info")
    bench = Bench(folder)
    calls = 0

    def look(frame, event, _argument):
        nonlocal calls
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(ROOM):
            calls += 1

    await bench.run(load)
    sys.setprofile(look)
    try:
        await bench.run(load)
    finally:
        sys.setprofile(None)
        bench.server.close()
        await bench.intake.close()
    return calls / load.mails


@pytest.mark.parametrize("name", BUDGETS)
def test_an_ordinary_mail_keeps_to_its_calls(name, tmp_path):
    """No mail costs the event loop more calls than its budget: nothing is looked for, built or
    asked twice.
    """
    load = next(load for load in LOADS if load.name == name)
    few = Load(name=load.name, octets=load.octets, reused=load.reused, mails=MAILS)
    assert asyncio.run(count_calls(tmp_path, few)) <= BUDGETS[name]
