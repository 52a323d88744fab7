"""What an operator means by an address."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domains import strip_brackets
from relay.spool.patterns import equals, fits_recipient, fits_sender, parse_pattern


@pytest.mark.parametrize(
    ("text", "address", "fits"),
    [
        ("i@x", "i@x", True),
        ("i@x", "hi@x", False),
        ("i@x", "i@x.org", False),
        (" <I@X> ", "i@x", True),
        ("@x", "hi@x", True),
        ("@x", "hi@y.x", False),
        ("hi@", "hi@anywhere.example", True),
        ("hi@", "ahi@anywhere.example", False),
        ("hi", "ahi@anywhere.example", True),
        ("where", "ahi@anywhere.example", True),
        ("ÜSER@x", "üser@x", True),
        ("postmaster", "postmaster", True),
        ("@", "postmaster", False),
        ("<", "a<b@x", True),
    ],
)
def test_pattern_is_all_a_domain_a_local_part_or_some_letters(text, address, fits):
    """The place of "@" says what is meant."""
    assert parse_pattern(text)(address) is fits


def test_whole_address_may_have_no_domain():
    """`equals` takes no part for the whole, with or without "@"."""
    assert equals("<Postmaster>")("postmaster")
    assert not equals("post")("postmaster")


@given(st.text())
def test_whatever_is_typed_finds_itself(text):
    """No text breaks the comparison, and an address that is typed as it is stored is found."""
    address = strip_brackets(text)
    assert equals(address)(address) or strip_brackets(address) != address
    assert parse_pattern(text)("ann@customer.example") in {True, False}


@given(
    st.one_of(st.none(), st.integers(), st.binary(), st.text(), st.text().map(lambda t: json.dumps([t, 7])))
)
def test_whatever_a_row_holds_is_an_answer(value):
    """SQLite hands over what is stored, be it spoiled."""
    assert fits_sender(equals("a@b"))(value) in {True, False}
    assert fits_recipient(equals("a@b"))(value, value) in {True, False}
