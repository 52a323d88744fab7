"""Spool ids: form, order, and the mark of their maker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.spool.ids import ALPHABET, IdMaker, build_mark, mark_of, time_of


@given(st.lists(st.integers(0, (1 << 55) - 1_000), min_size=2, max_size=50), st.integers(0, (1 << 25) - 1))
def test_ids_sort_whatever_the_clock_does(clock, chance):
    """A clock that stands still or goes back makes ids that still differ and still ascend."""
    instants = iter(clock)
    maker = IdMaker(build_mark(chance), lambda: next(instants))
    ids = [maker.new_id() for _ in clock]
    assert sorted(set(ids)) == ids
    assert {len(one) for one in ids} == {16}
    assert {mark_of(one) for one in ids} == {build_mark(chance)}


@given(st.text(max_size=20))
def test_mark_of_anything(text):
    """What is no id of ours has no mark, and never raises."""
    mark = mark_of(text)
    assert mark is None or (len(text) == 16 and set(text) <= set(ALPHABET))


def test_marks_differ_by_chance():
    """Different chances give different marks of five letters."""
    marks = {build_mark(chance) for chance in range(1_000)}
    assert len(marks) == 1_000
    assert {len(mark) for mark in marks} == {5}


@pytest.mark.parametrize("instant", [0, 1, 1_763_000_000_123_456, 2**55 - 9])
def test_id_tells_when_it_was_made(instant):
    """The time in an id comes back, to the microsecond; a word of another form has none."""
    spool_id = IdMaker(build_mark(7), lambda: instant).new_id()
    assert time_of(spool_id) == max(instant, 1)
    assert time_of(spool_id[1:]) is None
    assert time_of("../../etc/passwd") is None
