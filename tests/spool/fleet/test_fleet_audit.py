"""The audit of a fleet: a row before each action, and one about its end."""

from __future__ import annotations

import asyncio

import pytest
from spool_helpers import NOW, build_submission

from relay.errors import SpoolError
from relay.spool.action import Action, Via
from relay.spool.audit import AuditFilter, Stage, merge_rows

pytestmark = pytest.mark.system
ACTION = Action(actor="ann", via=Via.CLI, command="queue hold", about=("x",), reason="as the customer wishes")


@pytest.fixture
async def spool(fleet_spool, tmp_path):
    spool = fleet_spool(tmp_path)
    yield spool
    await spool.close()


async def test_action_has_a_row_before_it_and_one_about_its_end(spool):
    """A change that was done, and one that changed nothing, are told as one action each; the log is told of
    every row once.
    """
    intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
    mail = build_submission(intake.new_id())
    await intake.put(mail)

    def act():
        desk.hold([mail.spool_id], now=NOW, action=ACTION)
        desk.hold([mail.spool_id], now=NOW, action=ACTION)
        desk.pause("delivery", now=NOW, action=ACTION)
        return desk.actions(AuditFilter()), desk.actions(AuditFilter(actor="bob"))

    rows, none = await asyncio.to_thread(act)
    assert [row.stage for row in rows] == [
        Stage.BEGUN, Stage.DONE, Stage.BEGUN, Stage.REFUSED, Stage.BEGUN, Stage.DONE
    ]  # fmt: skip
    assert [row.number for row in rows] == sorted({row.number for row in rows})
    assert none == []
    done, refused, paused = merge_rows(rows)
    assert {row.action for row in rows} == {ACTION}
    assert (done.stage, done.counts) == (Stage.DONE, {"changed": 1, "left": 0})
    assert (refused.stage, refused.counts["left"]) == (Stage.REFUSED, 1)
    assert refused.detail
    assert paused.stage is Stage.DONE
    assert list(await outbox.untold_actions()) == list(rows)
    await outbox.note_told(rows[3].number)
    assert list(await outbox.untold_actions()) == list(rows[4:])


async def test_action_that_failed_says_so(spool):
    """What ends with an error has a row that tells it."""
    spool.open_intake()
    desk = spool.open_desk()

    def act():
        with pytest.raises(SpoolError):
            desk.pause("nothing", now=NOW, action=ACTION)
        return desk.actions(AuditFilter())

    (row,) = merge_rows(await asyncio.to_thread(act))
    assert row.stage is Stage.FAILED
    assert "cannot be paused" in row.detail
