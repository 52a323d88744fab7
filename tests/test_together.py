"""The cases of a test that run as one test: all of them, and each by its name where it fails."""

from __future__ import annotations

import pytest
from together import all_of, cases_of


def test_each_case_runs_and_those_that_fail_are_named():
    """A case that fails stops no other, and its name, its error and its traceback are told."""
    seen = []

    @pytest.mark.parametrize("sign", [1, pytest.param(-1, id="minus")])
    @pytest.mark.parametrize(("number", "text"), [(1, "a"), (2, "b")], ids=["one", "two"])
    def function(number, text, sign):
        seen.append((number * sign, text))
        if number == 2:
            with pytest.raises(KeyError):
                pass
        assert sign == 1

    with pytest.raises(ExceptionGroup) as told:
        all_of(function, cases_of(function))()
    assert sorted(seen) == [(-2, "b"), (-1, "a"), (1, "a"), (2, "b")]
    assert "3 of 4 cases failed: [one-minus], [two-sign=1], [two-minus]" in str(told.value)
    assert [error.__notes__[-1][-12:] for error in told.value.exceptions] == [
        "[one-minus].",
        "[two-sign=1]."[-12:],
        "[two-minus].",
    ]


def test_case_that_is_skipped_is_told():
    """A skipped case does not pass for one that ran."""

    @pytest.mark.parametrize("number", range(3))
    def function(number):
        if number == 1:
            pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception, match=r"\[number=1\]: not here"):
        all_of(function, cases_of(function))()


async def _waits(number):
    """A test on an event loop."""


def _asks(number, tmp_path):
    """A test with a folder of its own for each case."""


def _alone(number):
    """A test of arguments alone."""


@pytest.mark.parametrize(
    ("function", "numbers", "more"),
    [
        (_waits, [1], {}),
        (_asks, [1], {}),
        (_alone, iter([1]), {}),
        (_alone, [pytest.param(1, marks=pytest.mark.process)], {}),
        (_alone, [1], {"indirect": True}),
    ],
    ids=["loop", "fixture", "iterator", "mark", "indirect"],
)
def test_case_that_needs_something_fresh_stays_apart(function, numbers, more):
    """A loop, a folder or a mark of its own is for pytest to give to each case."""
    function.__dict__.pop("pytestmark", None)
    assert cases_of(pytest.mark.parametrize("number", numbers, **more)(function)) is None
