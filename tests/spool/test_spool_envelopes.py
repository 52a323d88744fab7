"""The record that a spool keeps of an envelope."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.envelope import Envelope, ForwardPath, Peer
from relay.spool.records import build_envelope_json, hours_in_microseconds, parse_envelope_json

# What a session decodes of a peer's octets holds no lone surrogate; everything else may come.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MAYBE = st.none() | TEXT
INSTANTS = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-9, minutes=-30))))

PEERS = st.builds(
    Peer,
    address=TEXT,
    port=st.integers(0, 65_535),
    helo=MAYBE,
    protocol=TEXT,
    tls=MAYBE,
    login=MAYBE,
    role=TEXT,
    listener=TEXT,
)
ENVELOPES = st.builds(
    Envelope,
    reverse_path=MAYBE,
    forward_paths=st.lists(st.builds(ForwardPath, address=TEXT, orcpt=MAYBE, notify=MAYBE), max_size=4).map(
        tuple
    ),
    peer=PEERS,
    received_at=INSTANTS,
    smtputf8=st.booleans(),
    ret=MAYBE,
    envid=MAYBE,
    repairs=st.lists(TEXT, max_size=3).map(tuple),
    attributes=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
)


@pytest.fixture
def envelope():
    """A plain envelope."""
    return Envelope(
        reverse_path="ann@example.org",
        forward_paths=(ForwardPath(address="support@example.com"),),
        peer=Peer(address="192.0.2.7", port=40_000, helo="mail.example.org"),
        received_at=datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
    )


@given(ENVELOPES)
def test_record_comes_back_as_it_was(envelope):
    """What is written is read as the same value, whatever the peer said."""
    assert parse_envelope_json(build_envelope_json(envelope)) == envelope


@given(ENVELOPES)
def test_record_is_one_line(envelope):
    """No word of a peer breaks the record into lines."""
    assert "\n" not in build_envelope_json(envelope)


def test_record_of_an_earlier_version_has_no_attributes(envelope):
    """A mail that was accepted before handlers could set attributes is read as one without any."""
    record = json.loads(build_envelope_json(envelope))
    del record["attributes"]
    assert parse_envelope_json(json.dumps(record)) == envelope


def test_record_keeps_the_instant_in_utc(envelope):
    """An instant of another zone is written in UTC, to the microsecond."""
    local = envelope.received_at.astimezone(timezone(timedelta(hours=9)))
    record = json.loads(build_envelope_json(dataclasses.replace(envelope, received_at=local)))
    assert record["received_at"] == "2026-01-02T03:04:05.678901+00:00"


@given(st.text(max_size=40) | st.recursive(st.none() | st.booleans() | TEXT, st.lists).map(json.dumps))
@pytest.mark.slow
def test_other_text_is_refused(text):
    """What is no record raises ValueError and nothing else."""
    with pytest.raises(ValueError):
        parse_envelope_json(text)


@pytest.mark.parametrize(
    "key", sorted({field.name for field in dataclasses.fields(Envelope)} - {"attributes"})
)
def test_record_without_a_key_is_refused(envelope, key):
    """Each key that a record had from the first version on is needed."""
    record = json.loads(build_envelope_json(envelope))
    del record[key]
    with pytest.raises(ValueError, match="not an envelope record"):
        parse_envelope_json(json.dumps(record))


@pytest.mark.parametrize("value", [None, 5, "x", {"address": 1}, ["x"]])
def test_record_with_odd_values_is_refused(envelope, value):
    """A record with something else in the place of a peer is refused."""
    record = json.loads(build_envelope_json(envelope)) | {"peer": value}
    with pytest.raises(ValueError):
        parse_envelope_json(json.dumps(record))


def test_envelope_is_frozen(envelope):
    """Nobody changes what a transaction said."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        envelope.reverse_path = None


@pytest.mark.parametrize(
    ("hours", "microseconds"), [(0.0, 0), (168.0, 604_800_000_000), (1e12, 1 << 62), (float("inf"), 1 << 62)]
)
def test_a_span_of_hours_fits_a_row(hours, microseconds):
    """However many hours an operator writes, SQLite's integers hold them beside an instant."""
    assert hours_in_microseconds(hours) == microseconds
