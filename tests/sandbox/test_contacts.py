"""The record of contacts: in order, light, and forgotten when told."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from aws_parts import request_for

from relay.config.builtin import INSTANCE_ID
from relay.sandbox.contacts import Book

BEGAN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def filled(count):
    book = Book()
    for number in range(count):
        params = request_for(f"https://b.example/{number}", token=f"t{number}", Name=str(number))
        raw = json.dumps(params).encode()
        book.add(f"c{number}", raw, params, digest=b"d", now=BEGAN + timedelta(seconds=number))
    return book


def ids(contacts):
    return [contact.contact_id for contact in contacts]


def test_contacts_stand_oldest_first():
    """The order is the one in which they were started."""
    assert ids(filled(3).select()) == ["c0", "c1", "c2"]
    assert ids(filled(4).newest(after=1, limit=2)) == ["c3", "c2"]


@pytest.mark.parametrize(
    ("since", "limit", "expected"),
    [
        ("c1", None, ["c2", "c3", "c4"]),
        ("c1", 2, ["c2", "c3"]),
        ("", 1, ["c0"]),
        ("c4", None, []),
        ("2026-11-23T09:00:02+00:00", None, ["c3", "c4"]),
        ("2026-11-23T09:00:02Z", None, ["c3", "c4"]),
        ("2026-11-23T09:00:02", None, ["c3", "c4"]),
    ],
)
def test_a_reader_can_go_on_where_it_was(since, limit, expected):
    """After a contact or an instant, and so many at most."""
    assert ids(filled(5).select(since=since, limit=limit)) == expected


def test_a_since_that_is_neither_is_refused():
    """An id that is not there any more is no instant either."""
    with pytest.raises(ValueError, match="nobody"):
        filled(1).select(since="nobody")


def test_a_contact_is_shown_as_the_contract_says():
    """Design §5.4: contact_id, received_at, request, attachments with name, size and sha256."""
    (contact,) = filled(1).select()
    (file,) = contact.attachments
    assert not contact.settled
    file.size, file.sha256, file.state = 3, "abc", "available"
    assert contact.settled
    assert json.loads(contact.to_json()) == {
        "contact_id": "c0",
        "received_at": "2026-11-23T09:00:00+00:00",
        "request": request_for("https://b.example/0", token="t0", Name="0"),
        "attachments": [{"name": "paper-0.pdf", "size": 3, "sha256": "abc", "state": "available"}],
    }


def test_a_token_is_known_until_the_book_is_cleared():
    """Clearing forgets tokens too: the same mail may then come again."""
    book = filled(2)
    assert book.known("t1", instance_id=INSTANCE_ID) == ("c1", b"d")
    assert book.known("other") is None
    book.clear()
    assert (len(book), book.known("t1", instance_id=INSTANCE_ID), book.get("c1")) == (0, None, None)
    assert book.last_number == 2  # a page that is open goes on with numbers it has not seen


@pytest.mark.slow
def test_fifty_thousand_contacts_are_no_burden():
    """A long load test stays in memory: a contact costs its request and little more."""
    tracemalloc.start()
    try:
        book = filled(5_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    request = len(next(iter(book.select())).raw)
    assert held / 5_000 < request + 2_048  # 50,000 of them: some 130 MB
