"""`relay queue retry`, `hold`, `release` and `drop`: what they change, what they leave, and what they say of
both.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from spool_helpers import tables_of
from test_cli_queue import SALES, Spool

from relay.cli import main

NO_DAEMON = "relay: no daemon runs that delivers: nothing goes out until one is started\n"


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


def test_hold_release_retry_drop(spool):
    """The four changes say how many entries they changed, and are seen in the list."""
    spool_id = spool.put()
    for command, state in (("hold", "held"), ("release", "queued"), ("retry", "queued")):
        assert spool.json("queue", command, spool_id)["changed"] == 1
        assert [r["state"] for r in spool.json("queue", "list")] == [state]
    assert "1 entry dropped" in spool.run("queue", "drop", spool_id).stdout
    assert spool.json("queue", "list") == []
    assert spool.json("queue", "drop", spool_id, code=1) == {
        "changed": 0,
        "unchanged": [{"id": spool_id, "why": "no such id"}],
    }


def test_change_by_filter_asks_first(spool):
    """Many entries are changed only by who says --yes, or answers yes; without ids or filter none is."""
    for _ in range(3):
        spool.put(destinations=SALES)
    other = spool.put()
    assert "say which" in spool.run("queue", "hold", code=2).stderr
    assert "3 entries would be changed" in spool.run("queue", "hold", "--route", "sales", code=2).stderr
    assert spool.json("queue", "hold", "--route", "sales", "--yes") == {"changed": 3, "unchanged": []}
    assert [r["spool_id"] for r in spool.json("queue", "list", "--state", "queued")] == [other]


def answered(spool, answer: bytes, *words: str) -> subprocess.CompletedProcess[str]:
    """The command with a person at the terminal."""
    terminal, theirs = pty.openpty()
    try:
        os.write(terminal, answer)
        return subprocess.run(
            [sys.executable, "-m", "relay", *words, "--config", str(spool.path)],
            cwd=Path(__file__).parent.parent.parent,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(terminal)


@pytest.mark.process
def test_question_counts_what_would_be_changed(spool):
    """A person is asked about as many as would be changed, by their states, and "no" changes none."""
    spool.put()
    spool.deliver(outcome="nothing")
    for _ in range(2):
        spool.put()
    spool.run("queue", "hold", spool.put())
    words = ("queue", "drop", "--recipient", "support@example.com")
    asked = answered(spool, b"n\n", *words)
    assert asked.returncode == 1
    assert "drop 3 entries (2 queued, 1 held)? [y/N]" in asked.stdout
    assert len(spool.json("queue", "list")) == 4
    done = answered(spool, b"y\n", *words)
    assert done.stdout.endswith("3 entries dropped\n")
    assert "relay: 1 entry left alone: 1 is being delivered\n" in done.stderr


def test_filters_mean_what_the_list_shows(spool):
    """What is done is chosen by --state done or --all only: a filter takes what `list` shows with it."""
    done = spool.put()
    spool.deliver(contact_id="c")
    queued = spool.put()
    filters = ("--sender", "ann@customer.example")
    assert [r["spool_id"] for r in spool.json("queue", "list", *filters)] == [queued]
    assert spool.json("queue", "drop", *filters, "--yes")["changed"] == 1
    assert [r["spool_id"] for r in spool.json("queue", "list", *filters, "--all")] == [done]
    result = spool.run("queue", "drop", *filters, "--yes", code=1)
    assert result.stdout == "0 entries dropped\n"
    assert result.stderr == "relay: no entry fits (what is done fits only with --state done or --all)\n"
    assert spool.json("queue", "drop", *filters, "--all", "--yes")["changed"] == 1
    assert spool.json("queue", "list", "--all") == []


def test_all_is_a_choice_of_its_own(spool):
    """--all alone means every entry; what is done cannot be retried, and is told."""
    spool.put()
    spool.deliver(contact_id="c")
    spool.put()
    assert "1 entry would be changed" in spool.run("queue", "retry", "--all", code=2).stderr
    result = spool.run("queue", "retry", "--all", "--yes")
    assert result.stdout == "1 entry due now\n"
    assert "1 entry left alone: 1 is done" in result.stderr
    assert spool.json("queue", "drop", "--state", "done", "--yes")["changed"] == 1


def test_change_refuses_states_it_cannot_take(spool):
    """Releasing what is dead is a mistake, told as one."""
    spool.put()
    assert "held" in spool.run("queue", "release", "--state", "dead", code=2).stderr


def test_recipient_is_a_whole_address(spool):
    """`drop --recipient sales@…` does not take the mail for wholesales@… with it."""
    spool.put(destinations=SALES)
    assert spool.json("queue", "drop", "--recipient", "ales@example.com", "--yes", code=1)["changed"] == 0
    assert spool.json("queue", "drop", "--recipient", "<SALES@example.com>", "--yes")["changed"] == 1


@pytest.mark.parametrize(
    ("outcome", "words", "why", "commands"),
    [
        ("nothing", {}, "is being delivered", ("retry", "hold", "release", "drop")),
        ("finish", {"contact_id": "c"}, "is done", ("retry", "hold", "release")),
        ("bury", {"reason": "r", "detail": ""}, "is dead", ("hold", "release")),
        ("hold", {"reason": "r", "detail": ""}, "is held", ("hold",)),
    ],
)
def test_what_is_left_is_told_with_its_reason(spool, outcome, words, why, commands):
    """An id that a command cannot take has its line, and exit code 1 says that nothing was changed."""
    spool_id = spool.put()
    spool.deliver(outcome=outcome, **words)
    for command in commands:
        result = spool.run("queue", command, spool_id, code=1)
        assert result.stdout.startswith("0 entries ")
        assert result.stderr == f"relay: {spool_id}.1: {why}\n"
        unchanged = json.loads(spool.run("queue", command, spool_id, "--json", code=1).stdout)["unchanged"]
        assert unchanged == [{"id": f"{spool_id}.1", "why": why}]


def test_release_of_what_is_queued(spool):
    """What is not held cannot be released."""
    spool_id = spool.put()
    assert spool.run("queue", "release", spool_id, code=1).stderr == f"relay: {spool_id}.1: is queued\n"


def test_part_of_what_was_named_is_changed(spool):
    """Exit code 0 where something was changed, and a line for each id that was not."""
    spool_id = spool.put()
    result = spool.run("queue", "hold", spool_id, "unknown", f"{spool_id}.")
    assert result.stdout == "1 entry held\n"
    assert result.stderr.splitlines()[:2] == ["relay: unknown: no such id", f"relay: {spool_id}.: no such id"]


def test_ids_and_filter_together(spool):
    """Of what is named only what fits is changed; the rest is told apart from what is unknown."""
    old, new = spool.put(), spool.put(destinations=SALES)
    assert spool.json("queue", "hold", old, new, "unknown", "--route", "sales") == {
        "changed": 1,
        "unchanged": [{"id": old, "why": "does not fit the filter"}, {"id": "unknown", "why": "no such id"}],
    }


def test_dot_without_a_number_drops_nothing(spool):
    """A slip of the finger is no spool id."""
    spool_id = spool.put(destinations=(*SALES,))
    assert spool.json("queue", "drop", f"{spool_id}.", code=1)["unchanged"] == [
        {"id": f"{spool_id}.", "why": "no such id"}
    ]
    assert len(spool.json("queue", "list")) == 1


@pytest.mark.parametrize("command", ["retry", "release"])
def test_answer_says_what_still_stands_in_the_way(spool, command):
    """What is let go and waits all the same is told so, with the way out."""
    support, sales = spool.put(), spool.put(destinations=SALES)
    spool.hold_route()
    done = {"retry": "due now", "release": "released"}[command]
    but = "but the route sales is held by connect.AccessDenied: no right (relay resume route sales)"
    assert spool.run("queue", command, sales).stdout == f"1 entry {done}, {but}\n"
    assert spool.json("queue", command, sales) == {
        "changed": 1,
        "unchanged": [],
        "stopped_by": ["route sales"],
    }
    spool.run("pause", "delivery")
    spool.run("queue", "hold", support)
    assert spool.run("queue", command, support).stdout == (
        f"1 entry {done}, but the delivery is paused (relay resume delivery)\n"
    )
    spool.run("queue", "hold", support)
    assert spool.json("queue", command, support)["stopped_by"] == ["delivery"]


def test_hold_of_what_its_route_holds(spool):
    """An operator's hold goes on when the route does."""
    sales = spool.put(destinations=SALES)
    spool.hold_route()
    assert spool.json("queue", "hold", "--route", "sales", "--yes")["changed"] == 1
    spool.run("resume", "route", "sales")
    assert [(r["state"], r["reason"]) for r in spool.json("queue", "list")] == [("held", "operator")]
    assert spool.json("queue", "release", sales)["stopped_by"] == []


def test_nobody_delivers_is_told(spool):
    """A change that no daemon acts on says so, and only then."""
    spool_id = spool.put()
    assert spool.run("queue", "hold", spool_id).stderr == NO_DAEMON
    with spool.attended():
        assert spool.run("queue", "release", spool_id).stderr == ""


def test_commands_leave_an_entry_under_way_alone(spool):
    """What is being delivered cannot be dropped."""
    spool_id = spool.put()
    spool.deliver(outcome="nothing")
    assert spool.json("queue", "drop", spool_id, code=1)["changed"] == 0


def test_help_says_what_a_change_is_for():
    """Each change has its sentence and an example in its own help."""
    for command in ("retry", "hold", "release", "drop"):
        printed = CliRunner().invoke(main, ["queue", command, "--help"]).stdout
        assert f"relay queue {command} " in printed.partition("Examples:")[2]


@pytest.mark.process
@pytest.mark.parametrize("command", ["retry", "release"])
def test_what_is_in_doubt_goes_out_only_by_a_persons_word(spool, command):
    """A request of unknown fate, over six days old, may be a second contact: it is told so, and left without
    --yes.
    """
    spool_id, other = spool.put(), spool.put()
    spool.run("queue", "hold", spool_id, other)
    with tables_of(spool.config.data_dir) as connection:
        connection.execute("UPDATE entries SET in_doubt_since = 0 WHERE entry_id = 1")
    left = spool.json("queue", command, spool_id, code=1)
    assert left["changed"] == 0
    assert "a second contact may come" in left["unchanged"][0]["why"]
    assert spool.json("queue", command, "--state", "held", "--yes", other)["changed"] == 1
    assert "0 entries" in answered(spool, b"n\n", "queue", command, spool_id).stdout
    assert "1 entry" in answered(spool, b"y\n", "queue", command, spool_id).stdout
    assert {record["state"] for record in spool.json("queue", "list")} == {"queued"}


def test_reroute_says_where(spool):
    """Entries go to a route that exists; the answer says how many, and a second time that they are there."""
    spool_id = spool.put()
    said = spool.run("queue", "reroute", spool_id, "--to", "nowhere", code=2).stderr
    assert 'no route is named "nowhere"; there are: support, sales' in said
    assert "--to" in spool.run("queue", "reroute", spool_id, code=2).stderr
    assert spool.json("queue", "reroute", spool_id, "--to", "sales")["changed"] == 1
    assert [(each["route"], each["destination"]) for each in spool.json("queue", "list")] == [
        ("sales", "support@example.com")
    ]
    again = spool.json("queue", "reroute", spool_id, "--to", "sales", code=1)
    assert [each["why"] for each in again["unchanged"]] == ["goes there already"]
    assert [each["state"] for each in spool.json("trace", spool_id)] == ["queued"]
