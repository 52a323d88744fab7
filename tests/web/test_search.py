"""The form of filters: the address is the state of the list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from relay.contact.risk.codes import RiskCode
from relay.spool.model import State
from relay.spool.page import EntryPage
from relay.vocabulary import Classification
from relay.web.rows import build_page
from relay.web.search import read_query, write_query
from relay.web.view import SEARCH_CHARACTERS, Query, Verdict


def read(address):
    return read_query(MultiDict(parse_qsl(address)))


WORDS = st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), max_size=30)
QUERIES = st.builds(
    Query,
    text=WORDS,
    states=st.lists(st.sampled_from(State), unique=True).map(tuple),
    route=WORDS,
    reason=WORDS,
    classification=st.sampled_from(["", *Classification]),
    verdicts=st.lists(st.tuples(st.sampled_from(Verdict), WORDS.filter(bool)), max_size=3).map(tuple),
    risk=st.sampled_from(["", *RiskCode]),
)


@given(QUERIES)
def test_an_address_asks_what_was_written(query):
    """A question comes back from its address as it was, its states in any order."""
    found = read(write_query(query))
    assert set(found.states) == set(query.states)
    assert [
        getattr(found, name) for name in ("text", "route", "reason", "classification", "verdicts", "risk")
    ] == [getattr(query, name) for name in ("text", "route", "reason", "classification", "verdicts", "risk")]


@given(st.lists(st.tuples(st.sampled_from(["q", "state", "route", "reason", "class", "verdict", "risk", "before"]), st.text())))  # fmt: skip
def test_any_fields_are_read_or_refused(fields):
    """Fields of any words give a bounded question, or an error with a sentence."""
    try:
        query = read_query(MultiDict(fields))
    except ValueError as exc:
        sentence = str(exc)
    else:
        sentence = "It is read."
        assert len(query.text) <= SEARCH_CHARACTERS
        write_query(query, before=query.before)
    assert sentence.endswith(".")
    assert len(sentence) < 300


def test_a_group_stands_for_its_states():
    """The strip's words are short, and mean all states of their figure."""
    assert read("state=waiting").states == (State.QUEUED, State.LEASED)
    assert write_query(Query(states=(State.QUEUED, State.LEASED, State.HELD))) == "state=waiting&state=held"


def test_a_day_is_read_and_written():
    """The list can be asked for mail accepted since a day; what is no day is a mistake."""
    query = read("since=2026-11-29")
    assert query.since == date(2026, 11, 29)
    assert write_query(query) == "since=2026-11-29"
    with pytest.raises(ValueError, match="since is a day"):
        read("since=yesterday")


def test_a_search_ends_before_the_day():
    """A search that has come to mail of before the day has no next page, also where it found none."""
    page = EntryPage(rows=(), more="7", stopped_at=datetime(2026, 11, 28, 23, 59, tzinfo=UTC))
    assert build_page(page, since=date(2026, 11, 29)).more == ""
    assert build_page(page, since=date(2026, 11, 28)).more == "7"
