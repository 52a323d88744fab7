"""What moves between a local spool and a fleet's: every table and column of the local spool is decided on."""

from __future__ import annotations

import re

import apsw
import pytest

from relay.spool.local import arriving, leaving
from relay.spool.local.rows import ENTRY_COLUMNS
from relay.spool.local.schema import MIGRATIONS

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
