"""Finished mail of routes with a retention of their own: each goes in its time, and what is owed never."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from spool_helpers import NOW, build_config, build_destination, build_submission, claim_one, raw_files

from relay.spool.local import retention
from relay.spool.model import State
from relay.spool.opening import open_desk, open_intake, open_outbox


@pytest.fixture
async def spool(tmp_path):
    base = build_config(tmp_path / "data", large_message_bytes=4_096)
    routes = tuple(
        base.routes[0].model_copy(update={"name": name, "retain_days": days})
        for name, days in (("short", 1.0), ("usual", None), ("long", 60.0))
    )
    config = base.model_copy(update={"routes": routes})
    intake, outbox, desk = open_intake(config), open_outbox(config), open_desk(config)
    yield config, intake, outbox, desk
    desk.close()
    await outbox.close()
    await intake.close()


async def finish(intake, outbox, *routes, body=None):
    """A mail that is done on all of these routes. Returns its id."""
    destinations = tuple(build_destination(f"{route}@example.com", route=route) for route in routes)
    receipt = await intake.put(build_submission(intake.new_id(), destinations=destinations, body=body))
    for _ in routes:
        entry = await claim_one(outbox)
        await outbox.finish(entry, contact_id="c", now=NOW)
    return receipt.spool_id


async def test_each_route_has_its_own_retention(spool, monkeypatch):
    """After a day, after the usual 14 and after 60 one route's mail goes; a large one with its file."""
    config, intake, outbox, desk = spool
    monkeypatch.setattr(retention, "STEP", 2)  # several stretches of the walk
    ids = {
        name: [await finish(intake, outbox, name) for _ in range(5)] for name in ("long", "short", "usual")
    }
    ids["short"].append(await finish(intake, outbox, "short", body=os.urandom(9_000)))
    both = await finish(intake, outbox, "short", "long")
    waiting = await intake.put(
        build_submission(intake.new_id(), destinations=(build_destination(route="short"),))
    )
    assert len(raw_files(config.data_dir)) == 1
    for days, gone in ((0.9, 0), (1.1, 6), (13.9, 0), (14.1, 5), (59.9, 0), (60.1, 6)):
        assert await outbox.expire(now=NOW + timedelta(days=days)) == gone
    assert raw_files(config.data_dir) == []
    assert desk.counts()[State.DONE] == 0
    assert desk.unknown([*ids["short"], *ids["usual"], *ids["long"], both, waiting.spool_id]) == [
        *ids["short"],
        *ids["usual"],
        *ids["long"],
        both,
    ]
