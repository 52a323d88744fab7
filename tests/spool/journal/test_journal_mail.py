"""A mail as a record: all that its acceptance needs comes back."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_helpers import NOW, build_destination, build_submission

from relay.errors import SpoolCorruptError, SpoolError
from relay.spool.local.journal.mail import build_confirmed, build_mail, parse_confirmed, parse_mail
from relay.spool.local.journal.record import Kind
from relay.spool.model import PolicyHold

#: Texts that a peer's octets may become.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(
    body=st.binary(max_size=300),
    message_id=st.none() | TEXT,
    author=st.none() | TEXT,
    results=st.dictionaries(TEXT, TEXT, max_size=3),
    references=st.lists(TEXT, max_size=3),
    routes=st.lists(TEXT, max_size=2, unique=True),
    microseconds=st.integers(0, 10**9),
)
def test_mail_comes_back(body, message_id, author, results, references, routes, microseconds):
    """Every field, whatever a peer or a handler has written into it."""
    submission = build_submission(
        "1K1DHGPTQAEGNGT8",
        body=body,
        message_id=message_id,
        destinations=(
            build_destination(),
            *(build_destination("sales@example.com", each) for each in routes),
        ),
        references=references,
        author=author,
        reverse_path=author,
    )._replace(
        results=results,
        arrived_at=NOW + timedelta(microseconds=microseconds),
        holds=tuple(PolicyHold(route=each, reason="policy.x", detail=each) for each in routes),
        first=tuple(routes),
    )
    assert parse_mail(build_mail(submission)) == submission


def test_mail_without_an_arrival_has_that_of_its_envelope():
    """The wall clock's instant, as the database takes it."""
    assert parse_mail(build_mail(build_submission("x"))).arrived_at == NOW


def test_text_that_is_none_is_refused():
    """A lone surrogate, which no reader would give back."""
    with pytest.raises(SpoolError, match="cannot be stored"):
        build_mail(build_submission("x", message_id="\ud800"))
    with pytest.raises(SpoolError, match="cannot be stored"):
        build_mail(build_submission("x", reverse_path="\ud800@example.org"))


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | TEXT, st.lists, max_leaves=5).map(
    lambda value: json.dumps({"version": 1, "spool_id": value, "envelope": value}).encode()))  # fmt: skip
def test_facts_of_no_relay_are_a_damaged_spool(facts):
    """Facts that have a right checksum and make no sense are told, and nothing else comes of them."""
    record = build_mail(build_submission("x"))._replace(facts=facts)
    with pytest.raises(SpoolCorruptError):
        parse_mail(record)


def test_facts_of_a_newer_relay_are_left_alone():
    """The sentence says whose they are."""
    record = build_mail(build_submission("x"))
    with pytest.raises(SpoolCorruptError, match="in the form 2; ours is 1"):
        parse_mail(record._replace(facts=record.facts.replace(b'"version":1', b'"version":2')))


def test_confirmations_come_back():
    """The ids, in their order."""
    record = build_confirmed(["a", "b"])
    assert record.kind is Kind.CONFIRMED
    assert parse_confirmed(record) == ("a", "b")
    with pytest.raises(SpoolCorruptError):
        parse_confirmed(record._replace(facts=b"1"))
