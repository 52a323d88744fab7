"""Tag lists: signatures, key records and policy records are written in them."""

from __future__ import annotations

import pytest
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.tags import empty_value, parse_tags, remove_blanks, split_colons


@pytest.mark.parametrize(
    ("octets", "tags"),
    [
        (b"v=1; a=rsa-sha256", {b"v": b"1", b"a": b"rsa-sha256"}),
        (b" v = 1 ;\r\n\ta=b c\r\n d ; ", {b"v": b"1", b"a": b"b c\r\n d"}),
        (b"p=", {b"p": b""}),
        (b"b=ab==;x_1=2", {b"b": b"ab==", b"x_1": b"2"}),
        (b"V=1; v=2", {b"V": b"1", b"v": b"2"}),
        (b"", {}),
        (b"d=m\xc3\xbcnchen.example", {b"d": b"m\xc3\xbcnchen.example"}),
    ],
)
def test_tag_list(octets, tags):
    """Values are read without the white space around them, names with their case (RFC 6376 §3.2)."""
    assert parse_tags(octets) == tags


@pytest.mark.parametrize(
    "octets", [b"v=1;;a=2", b"v", b"v=1; v=1", b"=1", b"1v=1", b"v-1=2", b"a b=1", b"v=\x00", b"v=1; a\x7f=2"]
)
def test_octets_that_are_no_tag_list(octets):
    """A list with a tag twice, without a name or without "=" is none at all."""
    assert parse_tags(octets) is None


@pytest.mark.parametrize(
    ("octets", "emptied"),
    [
        (b"a=x; b=abc", b"a=x; b="),
        (b"a=x; b = a\r\n bc \r\n ; bh=def", b"a=x; b =; bh=def"),
        (b"bh=b; h=b=c;b=d;", b"bh=b; h=b=c;b=;"),
        (b"a=x", b"a=x"),
        (b"b=1;b=2", b"b=;b=2"),
    ],
)
def test_value_is_emptied(octets, emptied):
    """One value goes with the white space around it, and no octet else (RFC 6376 §3.7)."""
    assert empty_value(octets, b"b") == emptied


def test_lists_within_a_value():
    """Base64 loses its folds, and a list with colons its blanks."""
    assert remove_blanks(b" ab\r\n\tc d ") == b"abcd"
    assert split_colons(b"From : to:\r\n Subject") == (b"From", b"to", b"Subject")


@settings(max_examples=examples(60))
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="ab=;: \t\r\n1").map(str.encode)))
def test_any_octets(octets):
    """All octets are read or refused, and a list that is read can be written and read again."""
    tags = parse_tags(octets)
    if tags is not None:
        assert parse_tags(b";".join(name + b"=" + value for name, value in tags.items())) == tags


@pytest.mark.slow
@pytest.mark.parametrize("unit", [b";", b"=", b" ", b"a=", b"\r\n ", b"a", b"b=;", b" =;"])
def test_time_grows_as_the_octets_do(unit):
    """Twice the octets take less than three times as long."""

    def read(octets):
        return parse_tags(octets), empty_value(octets, b"b"), remove_blanks(octets), split_colons(octets)

    assert grows_too_fast(read, lambda size: unit * (size // len(unit)), 150_000) == ""
