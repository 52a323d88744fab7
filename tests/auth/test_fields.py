"""Header fields as signatures see them: to the octet, from the bottom, in both canonical forms."""

from __future__ import annotations

import dkim
import pytest
from dkim.canonicalization import Relaxed
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.fields import HEADER_BYTES, Fields

HEADER = b"A: 1\r\nB : 2\t \r\n\t x \r\nnot a field\r\na:3\r\n: 4\r\nC:\r\n"


def test_fields_are_taken_apart():
    """Fields keep their octets; blanks before a colon count for nothing; a line that is no field is passed
    over.
    """
    assert [(field.name, field.raw) for field in Fields(HEADER).all] == [
        (b"a", b"A: 1"),
        (b"b", b"B : 2\t \r\n\t x "),
        (b"a", b"a:3"),
        (b"c", b"C:"),
    ]
    assert [field.value for field in Fields(HEADER).named(b"a")] == [b" 1", b"3"]
    assert Fields(HEADER).named(b"d") == ()


@pytest.mark.parametrize(
    ("raw", "relaxed"),
    [
        (b"A: X", b"a:X"),
        (b"B : Y\t\r\n\tZ  ", b"b:Y Z"),  # RFC 6376 §3.4.5
        (b"SUBJECT:", b"subject:"),
        (b"C: \r\n ", b"c:"),
        (b"d:\t\r\n  x\r\n\ty: z", b"d:x y: z"),
    ],
)
def test_relaxed_form(raw, relaxed):
    """A relaxed field is one line in one form, a simple one stays as it is."""
    (field,) = Fields(raw + b"\r\n").all
    assert field.canonical(relaxed=True) == relaxed
    assert field.canonical(relaxed=False) == raw


@settings(max_examples=examples(100))
@given(st.lists(st.sampled_from([b" ", b"\t", b"x", b":", b"\r\n ", b"\r\n\t", b"\xfc", b"="])))
def test_relaxed_form_is_that_of_dkimpy(pieces):
    """Every value has the canonical form that dkimpy gives it."""
    value = b"".join(pieces)
    for field in Fields(b"X-Any :" + value).all:
        theirs = Relaxed.canonicalize_headers([(b"X-Any ", value)])[0]
        assert field.relaxed + b"\r\n" == b":".join(theirs)


def test_names_choose_fields_from_the_bottom():
    """The first mention of a name is its last field, and a name too many stands for nothing (RFC 6376
    §5.4.2).
    """
    fields = Fields(b"Received: 1\r\nFrom: 2\r\nReceived: 3\r\n")
    chosen = fields.select([b"received", b"from", b"received", b"received", b"to", b"from"])
    assert [field.raw for field in chosen] == [b"Received: 3", b"From: 2", b"Received: 1"]


@settings(max_examples=examples(60))
@given(
    names=st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=8),
    wanted=st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=12),
)
def test_choice_is_that_of_dkimpy(names, wanted):
    """Any list of names chooses the fields that dkimpy chooses."""
    fields = Fields(b"".join(b"%s: %d\r\n" % (name, at) for at, name in enumerate(names)))
    theirs = dkim.select_headers([(name, b" %d" % at) for at, name in enumerate(names)], wanted)
    assert [(field.name, field.value) for field in fields.select(wanted)] == theirs


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", [b"a:\r\n", b"a: b\r\n ", b" ", b"\r\n", b"\r\n ", b"a:\t ", b"a", b":", b"\r", b"\n", b"x :\r\n"]
)
def test_time_grows_as_the_header_does(unit):
    """Twice the octets take less than three times as long, in every reading that a signature asks for."""

    def read(octets):
        fields = Fields(b"A: b" + octets)
        for field in fields.all:
            field.canonical(relaxed=True)
        return fields.select([b"a"] * 1_000 + [b"b"] * 1_000)

    assert grows_too_fast(read, lambda size: unit * (size // len(unit)), HEADER_BYTES // 12) == ""
