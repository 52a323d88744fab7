"""The author as SMTP reads it: quickly, and as the parser does."""

from __future__ import annotations

import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message.author import find_author
from relay.message.headers import FieldFinder, header_block
from relay.message.parse import parse_message


def read(raw: bytes) -> str | None:
    return find_author(FieldFinder(header_block(raw)))


@pytest.mark.parametrize(
    ("field", "author"),
    [
        (b"ann@customer.example", "ann@customer.example"),
        (b"Ann <ann@customer.example>", "ann@customer.example"),
        (b'"Doe, Ann" <ann@customer.example>', "ann@customer.example"),
        (b"=?utf-8?b?QW5u?= <ann@customer.example>", "ann@customer.example"),
        (b"Doe, Ann <ann@customer.example>", "ann@customer.example"),
        (b"ann@customer.example (Ann), eve@customer.example", "ann@customer.example"),
        (b'"eve@evil.example" <ann@customer.example>', "ann@customer.example"),
        (b"Ann\r\n <ann@customer.example>", "ann@customer.example"),
        (b"Desk: ann@customer.example;", "ann@customer.example"),
        ("Ann <änn@customer.example>".encode(), "änn@customer.example"),
        (b"undisclosed", None),
        (b"", None),
        (b"<>", None),
        (b"a" * 400 + b"@customer.example", None),
        (b"<" * 100_000, None),
    ],
)
def test_first_address_is_the_author(field, author):
    """The first address of From is taken, whatever is written around it; a name that looks like one is no
    address.
    """
    assert read(b"Received: from x\r\nFrom: " + field + b"\r\nTo: a@b.example\r\n\r\n") == author


def test_only_the_first_from_counts():
    """A second From, or one in the body, is nobody's."""
    assert read(b"From: ann@a.example\r\nFrom: eve@b.example\r\n\r\n") == "ann@a.example"
    assert read(b"Subject: x\r\n\r\nFrom: eve@b.example\r\n") is None


@pytest.mark.parametrize(
    "octets",
    [b" ", b"\t", b'"', b"(", b"<", b"@", b".", b",", b";", b":", b"\\", b"=?", b"\r\n ", b"a", b"\xff"],
)
@pytest.mark.parametrize("end", [b"", b"@x", b" <a@b.example", b"x a@b.example"])
@pytest.mark.slow
def test_hostile_from_costs_milliseconds(octets, end):
    """Whatever From is made of, short of its limit, at it or far beyond, receivers lose a few milliseconds by
    it.
    """
    for count in (300, 1_000, 100_000):
        fields = FieldFinder(header_block(b"From: " + octets * (count // len(octets)) + end + b"\r\n\r\n"))
        spent = []
        for _ in range(5):
            begun = time.thread_time()
            find_author(fields)
            spent.append(time.thread_time() - begun)
        assert min(spent) < 0.02, (count, octets, end)


@given(st.text(st.sampled_from('ab "<>@.,;:()\\=?é\t'), max_size=40))
@settings(max_examples=examples(120), deadline=None)
def test_author_is_the_one_that_the_parser_finds(text):
    """The quick way and the whole way agree on who wrote a mail: the agent sees what was compared."""
    raw = b"From: x" + text.encode() + b"\r\nSubject: x\r\n\r\nBody\r\n"
    parsed = [mailbox.address for mailbox in parse_message(raw).author if "@" in mailbox.address]
    assert read(raw) == (parsed[0] if parsed else None)
