"""Cleaning, counting and cutting of text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.characters import (
    clean_line,
    clean_text,
    count_utf8,
    count_utf16,
    cut_utf8,
    cut_utf16,
    exceeds_utf8,
    is_blank,
    is_category_c,
    is_sendable,
    strip_invisible,
)

ANY = st.text(st.characters(codec=None, categories=None), max_size=200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("tab\tline\nend\r\n", "tab\tline\nend\r\n"),
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("bell \x07 stays", "bell \x07 stays"),
    ],
)
def test_clean_text(text, expected):
    """Only what cannot be sent is replaced in a text."""
    assert clean_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\n two", "one  two"),
        ("a\x00\x1b[31mb", "a [31mb"),
        ("\u2028first\u2029", "first"),
        ("x\udcffy", "x\ufffdy"),
        ("zwj \u200d stays", "zwj \u200d stays"),
    ],
)
def test_clean_line(text, expected):
    """A line holds no control characters, separators or halves of characters."""
    assert clean_line(text) == expected


@pytest.mark.parametrize(("text", "units"), [("", 0), ("abc", 3), ("äöü", 3), ("😀", 2), ("a😀b", 4)])
def test_count_utf16(text, units):
    """Characters beyond the basic plane count two, as in Java."""
    assert count_utf16(text) == units


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("exactly ten", 10, "exactly t…"),
        ("😀😀😀", 5, "😀😀…"),
        ("😀😀😀", 6, "😀😀😀"),
        ("ends in space x", 14, "ends in space…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("long", 0, ""),
    ],
)
def test_cut_utf16(text, limit, expected):
    """A cut text ends in an ellipsis, within its limit, on a whole character."""
    assert cut_utf16(text, limit) == expected


@given(ANY, st.integers(1, 50))
def test_cut_utf16_is_never_longer(text, limit):
    """Whatever the text, a cut is within the limit, and a text within it is untouched."""
    cut = cut_utf16(text, limit)
    assert count_utf16(cut) <= limit
    assert cut == text or count_utf16(text) > limit


@given(ANY, st.integers(3, 50))
def test_cut_utf8_is_never_longer(text, limit):
    """Whatever the text, a cut in bytes is within the limit and can be encoded."""
    assert len(cut_utf8(text, limit).encode("utf-8")) <= limit


@given(ANY)
def test_cleaned_text_can_be_sent(text):
    """What was cleaned encodes to UTF-8 and holds no NUL."""
    for cleaned in (clean_text(text), clean_line(text)):
        assert b"\x00" not in cleaned.encode("utf-8")
        assert count_utf8(cleaned) == len(cleaned.encode("utf-8"))


@pytest.mark.parametrize("char", ["\x00", "\u200b", "\ue000", "\ud800", "\U000e0001", "\u0378"])
def test_category_c(char):
    """Controls, invisible, private, half and unassigned characters are of category C."""
    assert is_category_c(char)


def test_cut_of_accents_ends():
    """A subject of nothing but accents is cut without eating all of it."""
    assert len(cut_utf16("a" + "\u0301" * 2_000, 998)) > 900


def test_strip_invisible():
    """What the strictest reader takes: no category C but line ends and tabs."""
    assert strip_invisible("a\u200bb\x07c\td\ne\ue000 \u202ef") == "abc\td\ne f"
    assert strip_invisible("plain") == "plain"


LONG = "x" * ((1 << 20) - 1)


@pytest.mark.parametrize("end", ["é€\U0001f600", "\ud800", "é\ud800", "a\x00", "b"])
def test_long_text_is_looked_at_whole(end):
    """What stands beyond the first piece of a long text is counted and cleaned too."""
    text = LONG + end
    assert is_sendable(text) == is_sendable(end)
    assert clean_text(text) == LONG + clean_text(end)
    assert count_utf8(text) == len(LONG) + len(end.encode("utf-8", "surrogatepass"))


@given(st.one_of(ANY, st.text(" \t\r\n\x1c\x85\u00a0\u2028\u200b\ufeff\u00ad\u034f\u2060")))
def test_blank(text):
    """A text is blank when nothing is left of it without white space and what has no width."""
    rest = [one for one in text if not one.isspace() and unicodedata.category(one) not in ("Cf", "Mn")]
    assert is_blank(text) <= (not rest)
    assert is_blank(text) >= (
        not text.strip().strip("\u00ad\u034f\u200b\u200e\u2060\ufeff \t\r\n\x1c\x85\u00a0\u2028")
    )


@given(st.text(max_size=8), st.integers(-1, 40))
def test_a_limit_is_told_without_counting(text, limit):
    """The short look and the count agree about every limit."""
    assert exceeds_utf8(text, limit) == (count_utf8(text) > limit)
