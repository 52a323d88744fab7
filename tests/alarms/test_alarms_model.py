"""What of a queue is worth waking a person for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.alarms.model import build_state_json, compare_states, parse_state_json
from relay.spool.model import QueueState
from relay.vocabulary import AlarmKind

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    st.lists,
    max_leaves=3,
)


def queue(*, dead=0, held=0, routes=(), minutes=0.0, sick="", full=False, newest_dead=0.0, newest_held=0.0):
    return QueueState(
        newest_dead=newest_dead,
        newest_held=newest_held,
        newest_other_held=newest_held or float(held),
        disk_full=full,
        dead=dead,
        held=held,
        queued=3,
        held_routes=routes,
        oldest_seconds=minutes * 60,
        overdue=minutes > 60,
        sick=sick,
    )


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (queue(), queue(), []),
        (queue(), queue(dead=1), [(AlarmKind.DEAD_LETTERS, True)]),
        (queue(dead=1), queue(dead=3), [(AlarmKind.DEAD_LETTERS, True)]),
        (queue(dead=3), queue(dead=3), []),
        (queue(dead=3), queue(dead=1), []),  # somebody has begun to look
        (queue(dead=3), queue(), [(AlarmKind.DEAD_LETTERS, False)]),
        # One was dropped, and another given up.
        (
            queue(dead=1, newest_dead=7.0),
            queue(dead=1, newest_dead=9.0),
            [(AlarmKind.DEAD_LETTERS, True)],
        ),
        (queue(dead=2, newest_dead=9.0), queue(dead=1, newest_dead=7.0), []),  # the newest was dropped
        (queue(held=3, newest_held=7.0), queue(held=2, newest_held=9.0), [(AlarmKind.HELD, True)]),
        (queue(held=2, newest_held=9.0), queue(held=2, newest_held=9.0), []),
        (queue(), queue(held=1), [(AlarmKind.HELD, True)]),
        (queue(held=2, newest_held=9.0), queue(), [(AlarmKind.HELD, False)]),
        (queue(), queue(routes=("desk",)), [(AlarmKind.ROUTE_HELD, True)]),
        (queue(routes=("desk",)), queue(routes=("desk",)), []),
        (queue(routes=("desk",)), queue(), [(AlarmKind.ROUTE_HELD, False)]),
        (queue(), replace(queue(), templates=(("desk", "no"),)), [(AlarmKind.TEMPLATE_REFUSED, True)]),
        (replace(queue(), templates=(("desk", "no"),)), queue(), [(AlarmKind.TEMPLATE_REFUSED, False)]),
        (queue(), replace(queue(), missing=(("a@b.example", "i"),)), [(AlarmKind.ADDRESS_MISSING, True)]),
        (replace(queue(), missing=(("a@b.example", "i"),)), queue(), [(AlarmKind.ADDRESS_MISSING, False)]),
        # A route's end says nothing of the mail that is held.
        (queue(held=1, routes=("desk",)), queue(held=1), [(AlarmKind.ROUTE_HELD, False)]),
        (queue(), QueueState(not_understood=1), [(AlarmKind.NOT_UNDERSTOOD, True)]),
        (QueueState(not_understood=1), QueueState(not_understood=1), []),
        (
            QueueState(not_understood=1, newest_not_understood=7.0),
            QueueState(not_understood=1, newest_not_understood=9.0),
            [(AlarmKind.NOT_UNDERSTOOD, True)],
        ),
        (QueueState(not_understood=1), QueueState(), [(AlarmKind.NOT_UNDERSTOOD, False)]),
        (queue(minutes=59), queue(minutes=61), [(AlarmKind.OLDEST, True)]),
        (queue(minutes=61), queue(minutes=90), []),
        (queue(minutes=90), queue(minutes=1), [(AlarmKind.OLDEST, False)]),
        (queue(), replace(queue(), clock_step_seconds=-4_000.0), [(AlarmKind.CLOCK, True)]),
        (
            replace(queue(), clock_step_seconds=864_000.0),
            replace(queue(), clock_step_seconds=864_030.0),
            [],
        ),
        (
            replace(queue(), clock_step_seconds=864_000.0),
            replace(queue(), clock_step_seconds=1.0),
            [(AlarmKind.CLOCK, True)],
        ),
        (replace(queue(), clock_step_seconds=1.0), queue(), [(AlarmKind.CLOCK, False)]),
        (queue(), replace(queue(), log_bytes=(1 << 30) - 1, ledger_rows=7), []),
        (queue(), replace(queue(), log_bytes=1 << 30), [(AlarmKind.LOG_LARGE, True)]),
        (replace(queue(), log_bytes=1 << 30), replace(queue(), log_bytes=1 << 31), []),
        (replace(queue(), log_bytes=1 << 30), queue(), [(AlarmKind.LOG_LARGE, False)]),
        (queue(), queue(full=True), [(AlarmKind.DISK_FULL, True)]),
        (queue(full=True), queue(full=True), []),
        (queue(full=True), queue(), [(AlarmKind.DISK_FULL, False)]),
        (QueueState(sick="disk"), QueueState(sick="disk"), []),
        (
            QueueState(sick="disk"),
            queue(dead=1),
            [(AlarmKind.SPOOL_SICK, False), (AlarmKind.DEAD_LETTERS, True)],
        ),
        (queue(dead=1), QueueState(dead=1, sick="disk"), [(AlarmKind.SPOOL_SICK, True)]),
    ],
)
def test_what_is_told(before, now, told):
    """A change for the worse is told once, and its end where it has one."""
    alarms = compare_states(before, now)
    assert [(alarm.kind, alarm.raised) for alarm in alarms] == told


def test_sentences_say_what_to_do():
    """The detail of an alarm names a number and the command that shows more; the number stands beside it,
    too.
    """
    (alarm,) = compare_states(queue(), queue(dead=2))
    assert (alarm.detail, alarm.count) == ("2 dead letters; see relay queue list --state dead", 2)
    (over,) = compare_states(queue(dead=2), queue())
    assert (over.detail, over.count) == ("no dead letter is left", 0)


def test_each_route_has_an_alarm_of_its_own():
    """Kind and subject pair an alarm with its end, whatever else is held meanwhile."""
    before, now = (
        queue(routes=("desk-one", "desk-two")),
        queue(held=3, routes=("desk-two", "desk-three")),
    )
    told = [(each.kind, each.subject, each.raised) for each in compare_states(before, now)]
    assert told == [
        (AlarmKind.HELD, "", True),
        (AlarmKind.ROUTE_HELD, "desk-three", True),
        (AlarmKind.ROUTE_HELD, "desk-one", False),
    ]


def test_standing_is_read_as_it_was_written():
    """What was told before a restart is known after it."""
    told = queue(dead=2, held=1, routes=("desk",), minutes=61, newest_dead=7.5)
    assert parse_state_json(build_state_json(told)) == told
    uncounted = replace(told, done=None)
    assert parse_state_json(build_state_json(uncounted)) == uncounted, "a spool that counts no finished mail"


def test_age_is_judged_by_the_limit_of_its_time():
    """An age that a moved limit makes too long, or no more, is told although it has hardly changed."""
    before, now = queue(minutes=61), replace(queue(minutes=61), overdue=False)
    assert [alarm.raised for alarm in compare_states(before, now)] == [False]
    assert [alarm.raised for alarm in compare_states(now, before)] == [True]


def test_standing_of_the_version_before_is_read():
    """A file that an older relay wrote says what was told then."""
    text = (
        '{"queued": 4, "leased": 0, "held": 1, "dead": 2, "done": 9, "newest_held": 5.0, "newest_dead": 7.5, '
        '"held_routes": ["desk"], "oldest_seconds": 12.5, "disk_full": false, "sick": ""}'
    )
    told = parse_state_json(text)
    assert (told.dead, told.held, told.held_routes) == (2, 1, ("desk",))
    assert compare_states(told, told) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"held_routes": 5}',
        '{"held_routes": [], "dead": "2"}',
        '{"held_routes": [], "dead": null}',
        '{"held_routes": [], "newest_dead": []}',
        '{"held_routes": [], "of_a_newer_relay": 1}',
    ],
)
def test_spoiled_standing_is_one_in_which_all_is_well(text):
    """What cannot be read is taken as nothing told."""
    assert parse_state_json(text) == QueueState()


@given(st.text() | st.dictionaries(st.sampled_from(sorted(QueueState.__slots__)), JSON).map(json.dumps))
def test_any_file_can_be_compared_with(text):
    """No file whatever keeps the watch from its next look."""
    told = parse_state_json(text)
    compare_states(told, queue(dead=1, held=1, routes=("desk",), minutes=61))
