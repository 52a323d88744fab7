"""Tests of `relay.replies`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay import replies
from relay.vocabulary import Reply

ROOT = Path(__file__).parent.parent.parent
#: RFC 2034 §4: no enhanced code before EHLO, in the reply to it, or where the reply is not a verdict.
WITHOUT = {220, 250, 334, 354}


@pytest.mark.parametrize("row", replies.ROWS, ids=lambda row: f"{row.reply.code} {row.reply.text[:30]}")
def test_row_is_well_formed(row):
    """Every reply has a code of RFC 5321, an enhanced code of its class, and short ASCII text without line
    ends.
    """
    line = replies.build_reply(row.reply).decode()
    assert re.fullmatch(r"[2-5][0-5][0-9] ([245]\.\d{1,3}\.\d{1,3} )?[\x20-\x7e]{1,120}\r\n", line)
    assert row.reply.enhanced or row.reply.code in WITHOUT
    if row.reply.enhanced:
        assert row.reply.enhanced[0] == line[0]
    assert row.when


def test_every_reply_is_in_the_table():
    """No reply of the module stands outside of the table, and no two rows are the same."""
    constants = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert constants == [row.reply for row in replies.ROWS]
    assert len(set(constants)) == len(constants)


def test_every_reply_is_said_somewhere():
    """A row that nothing says is a promise to the operator that we do not keep."""
    source = "".join(path.read_text() for path in (ROOT / "relay").rglob("*.py") if path.name != "replies.py")
    names = [name for name, value in vars(replies).items() if isinstance(value, Reply)]
    assert [name for name in names if f"replies.{name}" not in source] == []


def test_words_are_filled_in():
    """Words in braces are filled in, the row itself stays."""
    assert (
        replies.build_reply(replies.fill(replies.QUEUED, spool_id="X1")) == b"250 2.0.0 Ok: queued as X1\r\n"
    )
    assert "{spool_id}" in replies.QUEUED.text


def test_lines_of_ehlo():
    """All lines but the last have a hyphen."""
    assert replies.build_lines(250, ("a", "b", "c")) == b"250-a\r\n250-b\r\n250 c\r\n"
