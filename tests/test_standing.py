"""What of a queue is worth waking a person for."""

from __future__ import annotations

import pytest

from relay.standing import AlarmKind, Standing, compare_standings


def standing(
    *, dead=0, held=0, routes=(), minutes=0.0, sick="", full=False, newest_dead=0.0, newest_held=0.0
):
    return Standing(
        newest_dead=newest_dead,
        newest_held=newest_held,
        disk_full=full,
        dead=dead,
        held=held,
        queued=3,
        held_routes=routes,
        oldest_seconds=minutes * 60,
        sick=sick,
    )


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (standing(), standing(), []),
        (standing(), standing(dead=1), [(AlarmKind.DEAD_LETTERS, True)]),
        (standing(dead=1), standing(dead=3), [(AlarmKind.DEAD_LETTERS, True)]),
        (standing(dead=3), standing(dead=3), []),
        (standing(dead=3), standing(), []),  # somebody has looked
        # One was dropped, and another given up.
        (
            standing(dead=1, newest_dead=7.0),
            standing(dead=1, newest_dead=9.0),
            [(AlarmKind.DEAD_LETTERS, True)],
        ),
        (standing(dead=2, newest_dead=9.0), standing(dead=1, newest_dead=7.0), []),  # the newest was dropped
        (standing(held=3, newest_held=7.0), standing(held=2, newest_held=9.0), [(AlarmKind.HELD, True)]),
        (standing(held=2, newest_held=9.0), standing(held=2, newest_held=9.0), []),
        (standing(), standing(held=1), [(AlarmKind.HELD, True)]),
        (standing(), standing(routes=("desk",)), [(AlarmKind.HELD, True)]),
        (standing(routes=("desk",)), standing(routes=("desk",)), []),
        (standing(routes=("desk",)), standing(), [(AlarmKind.HELD, False)]),
        (standing(minutes=59), standing(minutes=61), [(AlarmKind.OLDEST, True)]),
        (standing(minutes=61), standing(minutes=90), []),
        (standing(minutes=90), standing(minutes=1), [(AlarmKind.OLDEST, False)]),
        (standing(), standing(full=True), [(AlarmKind.DISK_FULL, True)]),
        (standing(full=True), standing(full=True), []),
        (standing(full=True), standing(), [(AlarmKind.DISK_FULL, False)]),
        (standing(dead=1), Standing(sick="disk"), [(AlarmKind.SPOOL_SICK, True)]),
        (Standing(sick="disk"), Standing(sick="disk"), []),
        (
            Standing(sick="disk"),
            standing(dead=1),
            [(AlarmKind.SPOOL_SICK, False), (AlarmKind.DEAD_LETTERS, True)],
        ),
    ],
)
def test_what_is_told(before, now, told):
    """A change for the worse is told once, and its end where it has one."""
    alarms = compare_standings(before, now, oldest_minutes=60)
    assert [(alarm.kind, alarm.raised) for alarm in alarms] == told


def test_sentences_say_what_to_do():
    """The detail of an alarm names a number and the command that shows more."""
    (alarm,) = compare_standings(standing(), standing(dead=2), oldest_minutes=60)
    assert alarm.detail == "2 dead letters; see relay queue list --state dead"
