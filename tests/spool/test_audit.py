"""The audit: each action of an operator is in it exactly if it was done, and stays for a year."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_helpers import NOW, build_submission, tables_of

from relay.errors import SpoolError
from relay.spool.action import REASON_CHARACTERS, Action, Via, bound_action, check_reason
from relay.spool.audit import KEPT, Audited, AuditFilter, Stage, merge_rows
from relay.spool.change import Target
from relay.spool.model import State
from relay.spool.opening import open_desk, open_outbox, restore_spool
from relay.terminal import write_out

ROOT = Path(__file__).parents[2]
ACTION = Action(actor="ann", via=Via.CLI, command="queue hold", about=("x",), reason="as the customer wishes")
EVERYTHING = AuditFilter()
TARGET = Target(route="sales", instance_id="00000000-0000-0000-0000-000000000001", address="s@example.com")
CHANGES = {
    "retry": lambda desk, ids, **more: desk.retry(ids, now=NOW, **more),
    "hold": lambda desk, ids, **more: desk.hold(ids, now=NOW, **more),
    "reroute": lambda desk, ids, **more: desk.reroute(ids, TARGET, now=NOW, **more),
    "drop": lambda desk, ids, **more: desk.drop(ids, now=NOW, **more),
    "pause": lambda desk, _, **more: desk.pause("delivery", now=NOW, **more),
}


def state_of(tmp_path):
    """All rows that an action may change."""
    with tables_of(tmp_path / "data") as tables:
        return [
            tables.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in ("entries", "mails", "history", "control", "actions")
        ]


def refuse_rows(tmp_path):
    with tables_of(tmp_path / "data") as tables:
        tables.execute(
            "CREATE TRIGGER full BEFORE INSERT ON actions BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_has_its_row(desk, put, name):
    """Each change of the spool has a row with what was asked, why, by whom, and how many were changed."""
    spool_id = await put()
    CHANGES[name](desk, [spool_id], action=ACTION)
    (row,) = desk.actions(EVERYTHING)
    assert (row.action, row.stage, row.detail) == (ACTION, Stage.DONE, "")
    assert row.counts == ({} if name == "pause" else {"changed": 1, "left": 0})
    assert abs((row.at - desk.now()).total_seconds()) < 60


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_cannot_be_audited_is_not_made(desk, put, tmp_path, name):
    """Change and row are one transaction: if the row cannot be written, nothing has changed."""
    spool_id = await put()
    refuse_rows(tmp_path)
    before = state_of(tmp_path)
    with pytest.raises(SpoolError):
        CHANGES[name](desk, [spool_id], action=ACTION)
    assert state_of(tmp_path) == before


async def test_what_is_refused_is_told_as_such(desk, put):
    """An action that changes nothing has a row that says why, and none that says it was done."""
    spool_id = await put()
    desk.pause("delivery", now=NOW)
    desk.release([spool_id], now=NOW, action=ACTION)
    desk.hold(["nothing"], now=NOW, action=ACTION)
    desk.drop(["nothing"], now=NOW, action=ACTION)
    desk.pause("delivery", now=NOW, action=ACTION)
    desk.resume("intake", action=ACTION)
    desk.resume("clock", action=ACTION)
    rows = desk.actions(EVERYTHING)
    assert {row.stage for row in rows} == {Stage.REFUSED}
    first, *others = [row.detail for row in rows]
    assert re.fullmatch(rf"{spool_id}\.\d+: is queued", first)
    assert others == ["nothing: no such id"] * 2 + ["it was so before"] * 3


async def test_many_drops_are_one_action(desk, put, monkeypatch):
    """A drop in several transactions has a row for each, and is shown as one action with their sum."""
    monkeypatch.setattr("relay.spool.local.desk._DROPS", 2)
    ids = [await put() for _ in range(5)]
    desk.drop([*ids, "nothing"], now=NOW, action=ACTION)
    rows = desk.actions(EVERYTHING)
    assert [row.counts["changed"] for row in rows] == [2, 2, 1, 0]
    (merged,) = merge_rows(rows)
    assert (merged.stage, merged.counts, merged.number) == (
        Stage.DONE, {"changed": 5, "left": 1}, rows[0].number,
    )  # fmt: skip
    assert merged.detail == "nothing: no such id"


async def test_a_mail_put_in_by_hand_is_audited_with_its_commit(intake, desk, tmp_path):
    """A replayed mail and its row are one transaction; the second time it is refused as a duplicate."""
    body = b"Subject: same\r\n\r\n"
    mail = build_submission(intake.new_id(), body=body, message_id="<same@x>")._replace(action=ACTION)
    assert not (await intake.put(mail)).duplicate
    again = build_submission(intake.new_id(), body=body, message_id="<same@x>")._replace(action=ACTION)
    assert (await intake.put(again)).duplicate
    await intake.put(build_submission(intake.new_id()))
    first, second = desk.actions(EVERYTHING)
    assert (first.stage, first.counts, first.detail) == (Stage.DONE, {"entries": 1}, mail.spool_id)
    assert (second.stage, second.detail) == (Stage.REFUSED, f"was here before: {mail.spool_id}")
    refuse_rows(tmp_path)
    before = state_of(tmp_path)
    with pytest.raises(SpoolError):
        await intake.put(build_submission(intake.new_id())._replace(action=ACTION))
    assert state_of(tmp_path) == before


async def test_rows_are_kept_for_a_year_and_never_change(desk, outbox, put, tmp_path):
    """A row goes when it is over a year old, and by nothing else; none can be changed."""
    await put()
    number = desk.note_action(ACTION)
    now = desk.now()
    await outbox.expire(now=now + KEPT - timedelta(minutes=5))
    assert [row.number for row in desk.actions(EVERYTHING)] == [number]
    with tables_of(tmp_path / "data") as tables, pytest.raises(Exception, match="only appended"):
        tables.execute("UPDATE actions SET actor = 'bob'")
    await outbox.expire(now=now + KEPT + timedelta(minutes=5))
    assert desk.actions(EVERYTHING) == []
    assert desk.note_action(ACTION) > number


async def test_a_spoiled_row_hides_no_other(desk, outbox, tmp_path):
    """A row whose columns hold what we never write is shown as such, by the command and to the log."""
    desk.note_action(ACTION)
    good = {"at": 1, "via": "cli", "stage": "done", "about": "[]", "counts": "{}"}
    bad = (
        {"via": "x"},
        {"stage": b"\xff"},
        {"about": "["},
        {"about": "[" * 100_000},
        {"counts": 7},
        {"at": "now"},
    )
    with tables_of(tmp_path / "data") as tables:
        for each in bad:
            tables.execute(
                "INSERT INTO actions (at, via, stage, about, counts, actor, command, reason, detail) "
                "VALUES (?, ?, ?, ?, ?, '', '', '', '')",
                tuple((good | each).values()),
            )
    rows = await outbox.untold_actions()
    assert rows[0].action == ACTION
    assert [row.detail for row in rows[1:]] == ["spoiled"] * len(bad)


def test_two_statements_remove_rows():
    """The code has two statements that remove a row of the audit, for its age and where a person is erased,
    and none that changes one.
    """
    found = [
        (path.name, line.strip())
        for path in (ROOT / "relay").rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"(DELETE FROM|UPDATE|REPLACE INTO|DROP TABLE)( IF EXISTS)? actions\b", line)
    ]
    assert found == [
        (
            "actions.py",
            '"DELETE FROM actions WHERE number IN (SELECT number FROM actions WHERE at < ? LIMIT ?)",',
        ),
        ("actions.py", 'connection.execute("DELETE FROM actions WHERE number = ?", (number,))'),
    ]


def test_rows_are_found_by_person_command_and_time(desk):
    """A person is meant by the whole name, a command by its first words; a limit leaves the newest rows."""
    for actor, command in (
        ("ann", "queue drop"), ("ann (login bob)", "queue"), ("anna", "queues"), ("bob", "pause"),
    ):  # fmt: skip
        desk.note_action(Action(actor=actor, via=Via.PAGE, command=command))

    def numbers(**wanted):
        return [row.number for row in desk.actions(AuditFilter(**wanted))]

    now = desk.now()
    assert numbers(actor="ann") == [1, 2]
    assert numbers(actor="%") == []
    assert numbers(command="queue") == [1, 2]
    assert numbers(command="queue drop") == [1]
    assert numbers(limit=2) == [3, 4]
    assert numbers(since=now - timedelta(minutes=1), until=now + timedelta(minutes=1)) == [1, 2, 3, 4]
    assert numbers(since=now + timedelta(minutes=1)) == numbers(until=now - timedelta(minutes=1)) == []


async def test_each_row_is_told_once(desk, outbox):
    """What stands in the log is remembered, over a restart of the deliverer, too."""
    numbers = [desk.note_action(ACTION) for _ in range(3)]
    rows = await outbox.untold_actions()
    assert [row.number for row in rows] == numbers
    assert rows[0].action == ACTION
    await outbox.note_told(numbers[1])
    assert [row.number for row in await outbox.untold_actions()] == numbers[2:]


async def test_the_audit_is_in_the_backup_and_a_restore_is_in_the_audit(desk, config, put, tmp_path):
    """The restored spool has the rows of the old one, and one for the restore itself."""
    await put()
    begun = desk.note_action(ACTION, stage=Stage.BEGUN)
    desk.back_up(tmp_path / "backup.tar", progress=lambda *_: None)
    other = config.model_copy(update={"data_dir": tmp_path / "other"})
    by = Action(actor="ann", via=Via.CLI, command="restore", reason="the disk broke")
    restore_spool(other, tmp_path / "backup.tar", progress=lambda *_: None, action=by)
    restored = open_desk(other)
    first, second = restored.actions(EVERYTHING)
    restored.close()
    assert (first.number, first.stage) == (begun, Stage.BEGUN)
    assert (second.action, second.stage, second.counts) == (by, Stage.DONE, {"waiting": 1})
    with pytest.raises(SpoolError):
        restore_spool(other, tmp_path / "backup.tar", progress=lambda *_: None, action=by)


@given(st.text(max_size=400), st.lists(st.text(max_size=300), max_size=30))
def test_words_of_strangers_are_bounded(text, about):
    """Whatever a name, a reason or an id holds: it is kept on one line, harmless, and of bounded length."""
    action = bound_action(Action(actor=text, via=Via.CLI, command=text, about=tuple(about), reason=text))
    words = [action.actor, action.command, action.reason, *action.about]
    assert [write_out(word) for word in words] == words
    assert max(map(len, words)) <= REASON_CHARACTERS
    assert len(action.about) <= 21
    assert action.actor


@pytest.mark.parametrize("text", ["two\nlines", "a\x1b[2Jb", "right \u202e left", "x" * 201, "a\0"])
def test_a_reason_is_one_plain_line(text):
    """A reason with line ends, controls or unseen characters is refused, and so is a long one."""
    with pytest.raises(ValueError):
        check_reason(text)
    assert check_reason("  wie Frau Müller wünscht ✓ ") == "wie Frau Müller wünscht ✓"


def test_an_end_belongs_to_its_beginning():
    """What was begun and ended is one action; without an end it stays begun, and an end alone stands."""

    def row(number, stage, begun=None, **more):
        return Audited(number=number, at=NOW, action=ACTION, stage=stage, begun=begun, **more)

    rows = [
        row(1, Stage.BEGUN), row(2, Stage.BEGUN), row(3, Stage.DONE, 1, counts={"mails": 2}),
        row(4, Stage.FAILED, 0, detail="no"), row(5, Stage.FAILED, 2, detail="why"),
    ]  # fmt: skip
    assert [(each.number, each.stage, each.detail) for each in merge_rows(rows)] == [
        (1, Stage.DONE, ""), (2, Stage.FAILED, "why"), (4, Stage.FAILED, "no"),
    ]  # fmt: skip


async def test_an_entry_that_a_person_touched_is_found_by_its_action(desk, put):
    """The state that the audit tells of is that of the spool."""
    spool_id = await put()
    desk.hold([spool_id], now=NOW, action=ACTION)
    assert desk.counts()[State.HELD] == len(desk.actions(EVERYTHING)) == 1


async def test_closed_and_opened_again(config, spool, put):
    """Rows outlive processes."""
    await put()
    desk = spool.open_desk()
    desk.note_action(ACTION)
    await open_outbox(config).close()
    again = spool.open_desk()
    assert len(again.actions(EVERYTHING)) == 1
