"""`relay pause` and `relay resume`: what they take, what they refuse, and what they say."""

from __future__ import annotations

import pytest
from spool_helpers import build_destination, tables_of
from test_cli_queue import SALES, Spool


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    spool.put()
    return spool


def test_pause_and_resume(spool):
    """A pause holds until it is ended, and both say what was."""
    assert "intake paused" in spool.run("pause", "intake").stdout
    assert "was paused before" in spool.run("pause", "intake").stdout
    assert "no mail is accepted: relay resume intake" in spool.run("queue", "list").stdout
    assert "delivery paused" in spool.run("pause", "delivery").stdout
    assert "intake resumed" in spool.run("resume", "intake").stdout
    assert "was not paused" in spool.run("resume", "intake").stdout


def test_clock_is_trusted_by_a_word(spool):
    """The doubt of a clock is ended by a command, which says so, and of which there is no opposite."""
    assert "clock was not doubted" in spool.run("resume", "clock").stdout
    with tables_of(spool.config.data_dir) as tables:
        tables.execute("UPDATE clock SET trusted_offset = 36000000000, doubted = 1")
    assert "clock is trusted as it is" in spool.run("resume", "clock").stdout
    assert not spool.json("resume", "clock")["changed"]
    spool.run("pause", "clock", code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("everything",),
        ("route",),
        ("route", " "),
        ("intake", "now"),
        ("delivery", "route", "sales"),
        ("",),
    ],
)
@pytest.mark.parametrize("command", ["pause", "resume"])
def test_nonsense_is_bad_usage(spool, command, words):
    """What cannot stand still is exit code 2, and nothing stands still for it."""
    assert "say intake|delivery|route NAME" in spool.run(command, *words, code=2).stderr
    assert not any(spool.json("queue", "summary")["paused"].values())


@pytest.mark.parametrize("command", ["pause", "resume"])
@pytest.mark.parametrize("words", [("route", "suport"), ("route suport",)])
def test_unknown_route_is_bad_usage(spool, command, words):
    """A mistyped route is told with the names there are, in one argument or two, and nothing stands still."""
    assert (
        'no route is named "suport"; there are: sales, support' in spool.run(command, *words, code=2).stderr
    )
    assert spool.json("queue", "summary")["paused"]["routes"] == []


def test_words_in_any_case_and_in_one_argument(spool):
    """INTAKE is the intake, and a quoted subject is the same as two words; names of routes are as
    they are.
    """
    assert "intake paused" in spool.run("pause", "INTAKE").stdout
    assert "route sales paused" in spool.run("pause", "Route  sales").stdout
    assert spool.json("queue", "summary")["paused"] == {
        "intake": True,
        "delivery": False,
        "routes": ["sales"],
        "standby": [],
        "held_routes": [],
    }
    spool.run("pause", "route", "SALES", code=2)


def test_route_of_old_mail_is_one(spool):
    """A route that the configuration has no more can be paused while its mail waits, and resumed
    ever after.
    """
    old = spool.put(destinations=(build_destination("old@example.com", route="old"),))
    assert "route old paused" in spool.run("pause", "route", "old").stdout
    spool.run("queue", "drop", old)
    assert "route old resumed" in spool.run("resume", "route", "old").stdout
    spool.run("resume", "route", "old", code=2)


def test_resume_ends_a_hold(spool):
    """The hold that an error of configuration put on a route ends by the same command as a pause."""
    spool.put(destinations=SALES)
    spool.hold_route(detail="")
    assert "The route sales is held for 0s (connect.AccessDenied), until" in spool.run("queue", "list").stdout
    assert "route sales resumed" in spool.run("resume", "route", "sales").stdout


def test_answers_for_programs(spool):
    """Subject, name, whether anything changed, and what stands still now."""
    assert spool.json("pause", "route", "sales") == {
        "subject": "route",
        "name": "sales",
        "changed": True,
        "paused": {"intake": False, "delivery": False, "routes": ["sales"], "standby": [], "held_routes": []},
    }
    assert spool.json("pause", "route", "sales")["changed"] is False
    answer = spool.json("resume", "delivery")
    assert (answer["subject"], answer["name"], answer["changed"]) == ("delivery", None, False)


def test_nobody_delivers_is_told(spool):
    """A pause that no daemon is there to keep says so, and only then."""
    assert "no daemon runs" in spool.run("pause", "delivery").stderr
    with spool.attended():
        assert spool.run("resume", "delivery").stderr == ""
