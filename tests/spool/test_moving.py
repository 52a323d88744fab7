"""What moves between a local spool and a fleet's: every table and column of the local spool is decided on."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing

import apsw
import pytest
from spool_helpers import NOW, build_submission, tables_of

from relay.errors import SpoolBusyError, SpoolUnfitError
from relay.spool.local import arriving, leaving
from relay.spool.local.leaving import Leaving
from relay.spool.local.moving import Moving
from relay.spool.local.rows import ENTRY_COLUMNS
from relay.spool.local.schema import MIGRATIONS
from relay.spool.model import Filter
from relay.spool.opening import find_unfit, open_desk, open_intake
from relay.timing import MACHINE

#: Tables whose rows move, each with the columns that do not, and why.
MOVED = {
    "mails": {"mail_id", "filed"},  # of this spool alone; `reverse_path` is in the envelope
    "entries": {"entry_id", "mail_id", "lease_until", "ready"},  # nobody has it under way; the claim finds it
    "ledger": {"erased_at"},  # of the local spool's erasure, whose key stays here
    "requests": {"entry_id"},
    "history": {"entry_id"},
    "shown": {"entry_id"},
    "shown_words": {"entry_id"},
    "raws": {"mail_id"},
    "forgotten": {"mail_id"},
}
#: Tables that stay, and why.
STAYS = {
    "control": "a pause is one of a spool; a move refuses where the other lacks it",
    "switches": "the same of a route's standby",
    "totals": "triggers count",
    "turns": "whose turn it is, is found again",
    "clock": "the spool's own",
    "clock_offsets": "the spool's own; instants move as the wall clock showed them",
    "addressed": "made of entries and records",
    "marks": "of this database",
    "policy_days": "counts of days are added to, and would be counted twice",
    "day_counts": "the same",
    "actions": "the audit of what was done here",
    "feed": "events that wait to be told from here; a fleet keeps none",
}


@pytest.fixture(scope="module")
def columns():
    connection = apsw.Connection(":memory:")
    for migration in MIGRATIONS:
        connection.execute(migration)
    tables = [
        row[0]
        for row in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    return {
        table: {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
        for table in tables
    }


def test_every_table_moves_or_stays_for_a_reason(columns):
    """A new table needs its line above: that is the decision whether a move takes its rows along."""
    assert columns.keys() == MOVED.keys() | STAYS.keys()


@pytest.mark.parametrize("table", ["mails", "entries", "ledger", "history", "shown_words"])
def test_every_column_moves_in_both_directions(columns, table):
    """A new column of what moves is read where mail leaves, and written where it arrives."""
    read = " ".join(
        {
            "mails": [leaving._MAIL, "reverse_path"],
            "entries": [ENTRY_COLUMNS, leaving._ENTRIES],
            "ledger": [leaving._RECORD],
            "history": [leaving._HISTORY],
            "shown_words": [leaving._SHOWN],
        }[table]
    )
    wanted = columns[table] - MOVED[table]
    assert wanted <= set(re.findall(r"\w+", read))
    if table in ("mails", "entries", "ledger"):
        written = {"mails": arriving._MAIL, "entries": arriving._ENTRY, "ledger": arriving._RECORD}[table]
        assert wanted <= set(re.findall(r"\w+", written))


def open_moving(config):
    """The spool of a configuration, whose mail is about to move."""
    return Moving(config.data_dir, mark="to a-table", create=False, clocks=MACHINE)


async def test_spool_that_cannot_be_opened_is_not_marked(config):
    """A newer relay's spool is refused, and its own relay starts on it as before."""
    await open_intake(config).close()
    with tables_of(config.data_dir) as tables:
        tables.pragma("user_version", 999)
    with pytest.raises(SpoolUnfitError, match="newer relay"):
        open_moving(config)
    assert find_unfit(config) == ()


async def test_log_of_the_database_stays_short(config):
    """What leaves is written over by way of the log, which is copied meanwhile: it never holds all mail."""
    intake = open_intake(config)
    await asyncio.gather(
        *(
            intake.put(build_submission(intake.new_id(), body=b"x" * 100_000 + b"%d" % number))
            for number in range(120)
        )
    )
    await intake.close()
    spool = open_moving(config)
    leaving = Leaving(spool, clocks=MACHINE)
    longest = 0
    for batch in leaving.read([]):
        leaving.remove(batch)
        longest = max(longest, (config.data_dir / "spool" / "spool.db-wal").stat().st_size)
    assert leaving.count() == (0, 0)
    assert 0 < longest < 8_000_000
    spool.unmark()
    spool.close()
    assert find_unfit(config) == ()


async def test_spool_is_changed_by_nobody_while_its_mail_moves(config):
    """A change beside a move is refused, because the move may have read the mail already. What it has left
    may be changed.
    """
    intake = open_intake(config)
    mail = build_submission(intake.new_id())
    await intake.put(mail)
    await intake.close()
    spool = open_moving(config)
    with closing(open_desk(config)) as desk:
        with pytest.raises(SpoolBusyError, match="is moving at this moment, to a-table"):
            desk.drop([mail.spool_id], now=NOW)
        assert len(desk.select(Filter())) == 1
        spool.close()
        assert desk.drop([mail.spool_id], now=NOW).count == 1
