"""`--together`: the cases of one parametrized test, run one after the other as one test of pytest.

Owns what `make test` and `make quick` save by it: pytest and xdist take 2 ms of processor time to collect,
set up, send and tell a test, and most of our cases take less than 1 ms. A case that fails is named in the
summary, and the others run all the same. Without the option each case is a test of its own, which can be
chosen by its name. Never folds a test that needs something fresh for each case: fixtures, an event loop, a
mark of a case.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Collection, Mapping

import pytest

#: The arguments of each case by its name.
Cases = list[tuple[str, dict[str, object]]]

#: Fixtures that every test has, once for all.
_EVERYWHERE = {"event_loop_policy"}
#: Longest that a test with cases may take, in seconds; `timeout` of pyproject.toml is for one case.
_MOST_SECONDS = 600.0


def pytest_pycollect_makeitem(collector, name, obj):
    """The one test in place of all cases; None leaves the making of tests to pytest."""
    if not (collector.config.option.together and inspect.isfunction(obj) and collector.funcnamefilter(name)):
        return None
    if (cases := cases_of(obj)) is None:
        return None
    item = pytest.Function.from_parent(collector, name=name, callobj=all_of(obj, cases))
    if not _EVERYWHERE.issuperset(item.fixturenames):
        return None
    if item.get_closest_marker("timeout") is None:
        limit = float(collector.config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(min(_MOST_SECONDS, limit * max(1, len(cases)))))
    return [item]


def cases_of(function) -> Cases | None:
    """Every case of a test by name, with all its arguments; None where a case is more than its arguments."""
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    if not marks or inspect.iscoroutinefunction(function) or hasattr(function, "hypothesis"):
        return None
    tables = [_table(mark) for mark in marks]
    names = {name for mark in marks for name in _names(mark)}
    if None in tables or names != set(inspect.signature(function).parameters):
        return None
    return [_join(row) for row in itertools.product(*tables)]


def _join(row) -> tuple[str, dict[str, object]]:
    """One case of several `parametrize` that stand above each other."""
    return "-".join(case for case, _ in row), {
        name: value for _, given in row for name, value in given.items()
    }


def _names(mark: pytest.Mark) -> list[str]:
    """The arguments that a `parametrize` gives."""
    names = mark.args[0]
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else [*names]


def _table(mark: pytest.Mark) -> Cases | None:
    """The cases of one `parametrize` by name; None where pytest has to do more than to give values."""
    names, ids = _names(mark), mark.kwargs.get("ids")
    if len(mark.args) != 2 or not set(mark.kwargs) <= {"ids"} or not isinstance(mark.args[1], Collection):
        return None
    if ids is not None and not callable(ids) and not isinstance(ids, Collection):
        return None
    table = []
    for number, row in enumerate(mark.args[1]):
        case = None if ids is None or callable(ids) else [*ids][number]
        values = row if len(names) > 1 else (row,)
        if hasattr(row, "marks") and hasattr(row, "values") and not isinstance(row, Mapping):  # pytest.param
            if row.marks:
                return None
            values, case = row.values, row.id or case
        if case is None:
            written = (ids(value) if callable(ids) else None for value in values)
            pairs = zip(names, written, values, strict=True)
            case = "-".join(
                f"{name}={value!r}"[:200] if text is None else str(text) for name, text, value in pairs
            )
        table.append((str(case), dict(zip(names, values, strict=True))))
    return table


def all_of(function, cases: Cases) -> Callable[[], None]:
    """The test that runs `function` with each case, and fails with the names of all that failed."""

    def run():
        failed, skipped = {}, {}
        for case, arguments in cases:
            try:
                function(**arguments)
            except pytest.skip.Exception as reason:
                skipped[case] = str(reason)
            except Exception as error:  # noqa: BLE001 - whatever failed is told below
                failed[case] = error
            except pytest.fail.Exception as error:  # of pytest.raises, and no Exception
                failed[case] = AssertionError(str(error)).with_traceback(error.__traceback__)
        for case, error in failed.items():
            error.add_note(f"This was the case [{case}].")
        if failed:
            told = ", ".join(f"[{case}]" for case in failed)
            raise ExceptionGroup(f"{len(failed)} of {len(cases)} cases failed: {told}", [*failed.values()])
        if skipped:
            pytest.skip(", ".join(f"[{case}]: {reason}" for case, reason in skipped.items()))

    run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
    run.__wrapped__, run.__signature__ = function, inspect.Signature()
    run.pytestmark = [mark for mark in function.pytestmark if mark.name != "parametrize"]
    return run
