"""The entries of a list: each spelling of an address is one, and a stranger's line is no more than that."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.lists.entries import EntryError, is_on, list_candidates, read_entry, read_lines


def entries_of(text: bytes) -> set[str]:
    """The entries of a file without mistakes."""
    found = [entry for _, entry in read_lines(io.BytesIO(text))]
    assert not [each for each in found if isinstance(each, EntryError)]
    return set(found)


@pytest.mark.parametrize(
    ("entry", "on", "off"),
    [
        (
            "Jane@Customer.Example",
            ["jane@customer.example", "JANE@CUSTOMER.EXAMPLE."],
            ["joe@customer.example"],
        ),
        (
            "@customer.example",
            ["any@customer.example"],
            ["any@sub.customer.example", "any@xcustomer.example"],
        ),
        (".customer.example", ["a@customer.example", "a@b.c.customer.example"], ["a@xcustomer.example"]),
        (
            "jane@münchen.example",
            ["Jane@xn--mnchen-3ya.example", "jane@MÜNCHEN.example"],
            ["jane@munchen.example"],
        ),
        ("@xn--strae-oqa.example", ["x@straße.example"], ["x@strasse.example"]),
        ("a@[192.0.2.1]", ["A@[192.0.2.1]"], ["a@[192.0.2.2]"]),
    ],
)
def test_entry_names_addresses(entry, on, off):
    """Neither case nor the spelling of an international domain matters; other addresses are not named."""
    entries = {read_entry(entry)}
    assert all(is_on(address, entries) for address in on)
    assert not any(is_on(address, entries) for address in [*off, "", "nobody", "@"])


def test_domain_of_very_many_labels_is_below_its_last_ones():
    """Whoever puts labels before his domain, more than DNS could have, stays on the list that names it."""
    assert is_on("x@" + "a." * 500 + "spam.example", {".spam.example"})
    assert is_on("x" * 2_000 + "@spam.example", {"@spam.example"})
    assert len(list_candidates("x@" + "a." * 500 + "spam.example")) < 150


def test_file_of_each_kind_of_line():
    """Empty lines, comments, line ends of Windows and its mark at the beginning are passed over."""
    text = "\ufeff# ours\r\n\r\n  jane@a.example  # the boss\r\n@b.example\n.c.example".encode()
    assert entries_of(text) == {"jane@a.example", "@b.example", ".c.example"}


@pytest.mark.parametrize(
    "line", [b"nobody", b"@", b".", b"a@", b"a b@c.example", b"a@b c.example", b"\xff@a.example", b"a\0@b.example",
             b"<a@b.example>\x00", b"x" * 400 + b"@a.example", "a\u202e@b.example".encode(), b"a@b..example"],
)  # fmt: skip
def test_line_that_is_none_is_told_with_its_number(line):
    """A line that names no address is an error that says where it stands and what would be right."""
    found = list(read_lines([b"a@b.example\n", line]))
    assert found[0] == (1, "a@b.example")
    assert isinstance(found[1][1], EntryError)
    assert found[1][0] == 2
    assert "\n" not in str(found[1][1])


@given(st.binary(max_size=300))
def test_any_octets_are_entries_or_errors(octets):
    """Whatever a file holds, each line is an entry in its one form, or an error; nothing else is raised."""
    for _, entry in read_lines(io.BytesIO(octets)):
        assert isinstance(entry, EntryError) or (read_entry(entry) == entry and "\n" not in entry)


@given(st.text(max_size=400))
def test_any_address_has_few_candidates(address):
    """Whatever stands in a mail, it is looked up by at most 130 entries."""
    assert len(list_candidates(address)) <= 130


def test_a_long_list_is_looked_up_as_fast_as_a_short_one():
    """A thousand look-ups in 200,000 entries cost less than 0.2 s of processor time."""
    entries = {f"user{number}@customer.example" for number in range(200_000)}
    begun = time.process_time()
    assert not any(is_on(f"nobody{number}@a.b.customer.example", entries) for number in range(1_000))
    assert time.process_time() - begun < 0.2
