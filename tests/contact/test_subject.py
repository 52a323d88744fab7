"""The subject of a contact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact.characters import count_utf16
from relay.contact.subject import fit_subject


@pytest.mark.parametrize("subject", ["", "Order 4711", "Größe", "件名", "👩‍💻 at work", "x" * 998])
def test_good_subject_is_untouched(subject):
    """A subject that Connect takes goes as it is, an empty one too."""
    assert fit_subject(subject) == (subject, ())


@pytest.mark.parametrize(
    ("subject", "expected", "code"),
    [
        ("two\r\nlines", "two lines", "subject.cleaned"),
        ("nul\x00", "nul", "subject.cleaned"),
        ("half \udc80", "half \ufffd", "subject.cleaned"),
        ("x" * 999, "x" * 997 + "…", "subject.too_long"),
        ("😀" * 500, "😀" * 498 + "…", "subject.too_long"),
    ],
)
def test_bad_subject_is_mended(subject, expected, code):
    """A subject that Connect would refuse is mended, and the change recorded."""
    fitted, changes = fit_subject(subject)
    assert fitted == expected
    assert [change.code for change in changes] == [code]


def test_cut_subject_keeps_the_whole_beside_it():
    """The adaptation holds the subject as it was."""
    _, (change,) = fit_subject("y" * 2_000)
    assert change.before == "y" * 2_000
    assert "2,000" in change.detail


@given(st.text(st.characters(codec=None, categories=None), max_size=1_500))
def test_any_subject_fits(subject):
    """Whatever the subject, it is one line of at most 998 UTF-16 units that can be encoded."""
    fitted, _ = fit_subject(subject)
    assert count_utf16(fitted) <= 998
    assert not set(fitted) & set("\r\n\x00")
    fitted.encode("utf-8")


def test_last_rung_leaves_out_invisible_characters():
    """A subject with joiners and marks is reduced to what is seen."""
    assert fit_subject("a\u200bb", plain=True)[0] == "ab"
    assert fit_subject("a\u200bb") == ("a\u200bb", ())
