"""Tests of `relay.smtp.handler_answers`."""

from __future__ import annotations

import pytest
from aiosmtpd.smtp import MISSING
from hypothesis import given
from hypothesis import strategies as st

from relay import replies
from relay.smtp.handler_answers import HANDLER_ATTRIBUTE_BYTES, read_answer, read_attributes


@pytest.mark.parametrize(
    "answer", [None, MISSING, "250 OK", "250", b"250 2.0.0 Ok", "251 2.1.5 elsewhere", "250 "]
)
def test_answer_lets_the_mail_go_on(answer):
    """None, aiosmtpd's MISSING and each 2yz let the mail go on."""
    assert read_answer(answer) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("550 5.7.1 Not from you", "550 5.7.1 Not from you"),
        (b"451 4.7.1 Later, please", "451 4.7.1 Later, please"),
        ("554 no", "554 5.0.0 no"),
        ("450", "450 4.0.0 Not taken now, try again later"),
        ("550 5.7.1", "550 5.7.1 Not taken here"),
        ("550 ", "550 5.0.0 Not taken here"),
        ("421 closing", "421 4.0.0 closing"),
        ("550 5.7 not an enhanced code", "550 5.0.0 5.7 not an enhanced code"),
    ],
)
def test_answer_is_a_refusal(answer, said):
    """A 4yz or 5yz is a reply of ours: with an enhanced code of its class, and a text."""
    assert str(read_answer(answer)) == said


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "OK",
        "550\r\n250 OK",
        "550 no\n",
        "550 no\r",
        "550-no",
        "550-one\r\n550 two",
        "550 n\u00f6",
        b"550 n\xf6",
        "550 a\x00b",
        "550 \x1b[2J",
        "5500 no",
        "55 no",
        "\u0665\u0665\u0660 no",
        "600 no",
        "199 no",
        "560 no",
        "354 go on",
        "334 ",
        "550 4.7.1 of two minds",
        "450 5.7.1 of two minds",
        "250 5.0.0 of two minds",
        "550 " + "x" * 507,
        250,
        True,
        ["250 OK"],
        object(),
    ],
)
def test_answer_is_a_fault(answer):
    """Whatever is no reply of one clean line is a fault, and the error does not repeat it."""
    with pytest.raises(ValueError, match="the answer") as caught:
        read_answer(answer)
    assert "\n" not in str(caught.value)
    assert "no\r" not in str(caught.value)


def test_longest_answer():
    """A reply may have 512 octets with its CRLF (RFC 5321 §4.5.3.1.5), and not one more."""
    reply = read_answer("550 " + "x" * 506)
    assert reply is not None
    assert reply.text == "x" * 506


@given(st.one_of(st.text(), st.binary(), st.from_regex(r"[2-5][0-5][0-9][ -][ -~]*", fullmatch=True)))
def test_any_answer_is_clean_or_a_fault(answer):
    """No answer puts more than one line of printable ASCII on the wire, or raises another error."""
    try:
        reply = read_answer(answer)
    except ValueError:
        return
    if reply is not None:
        octets = replies.build_reply(reply)
        assert octets.endswith(b"\r\n")
        assert all(octet == 9 or 32 <= octet < 127 for octet in octets[:-2])
        assert reply.code in range(400, 560)


def test_attributes_are_taken():
    """Strings under names that Connect takes become attributes, each as one line."""
    given_ = {"customer": " 4711 ", "note": "two\r\nlines", "city": "München"}
    taken, left = read_attributes(given_, prefix="relay_")
    assert taken == {"customer": "4711", "note": "two lines", "city": "München"}
    assert list(left) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("käse", "x"),
        ("a" * 128, "x"),
        ("relay_spf", "pass"),
        ("relay_anything", "x"),
        ("score", 7),
        ("score", None),
        ("score", b"7"),
        ("score", ""),
        ("score", " \r\n"),
        ("score", "x" * HANDLER_ATTRIBUTE_BYTES),
        (7, "x"),
        (None, "x"),
    ],
)
def test_attribute_is_left_out(name, value):
    """What Connect would not take, what is not a string, and names of the relay's own are left out, and
    named.
    """
    taken, left = read_attributes({name: value, "good": "yes"}, prefix="relay_")
    assert taken == {"good": "yes"}
    assert len(list(left)) == 1


def test_attributes_have_half_of_connects_room():
    """All attributes of handlers together stay within half of what a contact may have: the first
    are taken.
    """
    given_ = {f"name{number:04}": "x" * 992 for number in range(20)}
    taken, left = read_attributes(given_, prefix="relay_")
    assert list(taken) == [f"name{number:04}" for number in range(16)]
    assert sum(len(name) + len(value) for name, value in taken.items()) == 16_000
    assert list(left) == [f"name{number:04}" for number in range(16, 20)]


def test_without_a_prefix_our_own_names_are_kept():
    """Where the relay's own attributes have no prefix, a handler cannot take one of their names."""
    taken, left = read_attributes({"spf": "pass", "customer": "1"}, prefix="")
    assert taken == {"customer": "1"}
    assert list(left) == ["spf"]


@pytest.mark.parametrize("given_", [None, [], "x", 7, [("a", "b")]])
def test_attributes_that_are_no_mapping(given_):
    """A handler that puts something else in the place of the attributes has none, and is told of."""
    taken, left = read_attributes(given_, prefix="relay_")
    assert taken == {}
    assert len(list(left)) == 1
