"""Tests of `relay.daemon.action_log`: rows of the audit in the log."""

from __future__ import annotations

import asyncio
import json

from spool_helpers import build_config

from relay import telemetry
from relay.daemon import action_log
from relay.spool.action import Action, Via
from relay.spool.opening import open_desk, open_outbox


async def test_actions_are_told_once(tmp_path, capsys, monkeypatch):
    """What was done before the daemon began, and what is done while it runs, is one line each in the log."""
    monkeypatch.setattr(action_log, "_LOOK_SECONDS", 0.01)
    config = build_config(tmp_path / "data")
    outbox, stopped = open_outbox(config), asyncio.Event()
    desk = open_desk(config)

    def act(*about):
        desk.note_action(Action(actor="ann", via=Via.CLI, command="queue export", about=about, reason="why"))

    act("early")
    telemetry.configure("json", "info")
    for word in ("first", "second"):
        telling = asyncio.create_task(action_log.tell_actions(outbox, stopped))
        act(word)
        async with asyncio.timeout(20):
            while await outbox.untold_actions():
                await asyncio.sleep(0.01)
        stopped.set()
        await telling
        stopped.clear()
    await outbox.close()
    desk.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] == "operator.action"]
    assert [line["about"] for line in told] == [["early"], ["first"], ["second"]]
    assert {(line["actor"], line["via"], line["command"], line["reason"]) for line in told} == {
        ("ann", "cli", "queue export", "why")
    }
