"""The progress of a long command, as it is seen without a terminal."""

from __future__ import annotations

import sys

import pytest

from relay.cli import progress
from relay.cli.progress import showing_progress, tracked


def test_lines_come_after_two_seconds_and_then_every_ten(capsys):
    """A short work shows nothing; a long one a line now and then, on standard error."""
    at = [0.0]
    with showing_progress("backup", monotonic=lambda: at[0]) as report:
        for at[0], done in ((1.9, 10), (2.1, 20), (11.9, 50), (12.2, 60), (13.0, 99)):
            report(done, 100)
        report(0, 0)
    assert capsys.readouterr() == ("", "relay: backup: 20 %\nrelay: backup: 60 %\n")


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by three seconds at each look; what reads it shows its progress soon."""
    at = [0.0]

    def look():
        at[0] += 3.0
        return at[0]

    monkeypatch.setattr(progress.showing_progress.__wrapped__, "__kwdefaults__", {"monotonic": look})
    return at


def test_items_are_tracked(capsys, clock):
    """Every item comes once, in order; a few of them show lines, the last of them the end."""
    assert list(tracked("explain", "abcdefgh")) == list("abcdefgh")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "relay: explain: 0 %"
    assert len(lines) > 1
    assert all(line.startswith("relay: explain: ") for line in lines)


@pytest.mark.parametrize("items", [[], ["one"]])
def test_single_item_shows_nothing(capsys, clock, items):
    """One file is no long way: its own output says when it is done."""
    assert list(tracked("explain", items)) == items
    assert capsys.readouterr().err == ""


def test_nothing_is_drawn_into_output_on_a_terminal(capsys, clock, monkeypatch):
    """Where the output goes to the terminal itself, a bar between its lines would spoil them."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(tracked("explain", [1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr().err == ""
