"""What an id is: a mail, one of its entries, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.spool.ids import split_id


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("M", ("M", None)),
        ("M.1", ("M", 1)),
        ("M.120", ("M", 120)),
        ("M.", ("M", -1)),
        ("M.0", ("M", -1)),
        ("M.01", ("M", -1)),
        ("M.-1", ("M", -1)),
        ("M.1.", ("M", -1)),
        ("M.x", ("M", -1)),
        ("M.٣", ("M", -1)),
        (f"M.{10**30}", ("M", -1)),
        ("", ("", None)),
        (".", ("", -1)),
    ],
)
def test_id_is_a_mail_or_one_of_its_entries(word, split):
    """All entries are meant only where nothing follows the spool id, one where its number does, else none."""
    assert split_id(word) == split


@given(st.text())
def test_whatever_is_typed_is_a_number_that_sqlite_takes(word):
    """An operator may type anything."""
    _, number = split_id(word)
    assert number is None or -1 <= number < 2**63
