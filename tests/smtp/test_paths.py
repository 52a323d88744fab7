"""Tests of `relay.smtp.paths`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smtp.paths import LONG_LOCAL, REVERSE, STRICT, Path, parse_path


def read(text: str | bytes, *, lenient=False, limits=STRICT) -> Path | None:
    argument = text if isinstance(text, bytes) else text.encode()
    return parse_path(argument, b"TO:", lenient=lenient, limits=limits)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:<a@b.example>", "a@b.example"),
        ("to:<a@B.Example>", "a@b.example"),
        ("TO: <a@b.example>", "a@b.example"),
        ("TO:<>", ""),
        ("TO:<postmaster>", "postmaster"),
        ("TO:<@x.example,@y.example:a@b.example>", "a@b.example"),
        ("TO:<a.b+c-d_e@b.example>", "a.b+c-d_e@b.example"),
        ('TO:<"a b"@b.example>', '"a b"@b.example'),
        ('TO:<"a.b"@b.example>', "a.b@b.example"),
        ('TO:<"a\\"b"@b.example>', '"a\\"b"@b.example'),
        ("TO:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("TO:<a@[IPv6:2001:db8::1]>", "a@[ipv6:2001:db8::1]"),
        ("TO:<grün@münchen.example>", "grün@münchen.example"),
        ("TO:<a@foo_bar.example>", "a@foo_bar.example"),
        ("TO:<v@else.example@b.example>", "v@else.example@b.example"),
    ],
)
def test_path_is_read(argument, address):
    """What RFC 5321 §4.1.2 allows is read to the address it means."""
    path = read(argument)
    assert path is not None
    assert path.address == address
    assert not path.sloppy


@pytest.mark.parametrize(
    "argument",
    [
        "", "TO:", "FROM:<a@b.example>", "TO:a@b.example", "TO:<a@b.example", "TO:a@b.example>", "TO:<a b@c.example>",
        "TO:<a..b@c.example>", "TO:<.a@c.example>", "TO:<a.@c.example>", "TO:<a@>", "TO:<@c.example>",
        "TO:<a@c..example>", "TO:<a@[1.2.3]>", "TO:<a@[IPv6:zz]>", "TO:<a@b.example>x", 'TO:<"a@b.example>',
        "TO:<a@b@c@d.example>", "TO:<a\u0085b@c.example>",
    ],
)  # fmt: skip
def test_what_is_no_path_is_none(argument):
    """What is no path is None, strictly read."""
    assert read(argument) is None


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:a@b.example", "a@b.example"),
        ("TO:< a@b.example >", "a@b.example"),
        ("TO:<a@b.example.>", "a@b.example"),
        ("TO: a@b.example", "a@b.example"),
        ("TO:root", "root"),
        ("TO:<a..b@c.example>", "a..b@c.example"),
        ("TO:<a.@c.example>", "a.@c.example"),
        ("TO:<.a@c.example>", ".a@c.example"),
        ("TO:<a@b.example", "a@b.example"),
        ("TO:<<a@b.example>>", "a@b.example"),
        ("TO:<a@b.example>>", "a@b.example"),
        ("TO:a@b.example>", "a@b.example"),
        ("TO:<a @ b.example . >", "a@b.example"),
        ("TO:<Ann Lee <a@b.example>>", "a@b.example"),
        ("TO:<a@b.example (Ann)>", "a@b.example"),
        ("TO:<a@b.example,>", "a@b.example"),
        ("TO:<a@b.example;>", "a@b.example"),
        ("TO:<mailto:a@b.example>", "a@b.example"),
        ("TO:< >", ""),
    ],
)
def test_lenient_reading_says_that_it_was(argument, address):
    """A path that only the lenient reading finds is read as it is meant, and marked."""
    path = read(argument, lenient=True)
    assert path is not None
    assert (path.address, path.sloppy) == (address, True)


@pytest.mark.parametrize(
    "argument",
    [
        "TO:<two words>",
        "TO:<a@b,c@d>",
        "TO:<a@b>>>",
        "TO:<a@b.example>SIZE=1",
        "TO:<>>",
        "TO:<(x)>",
        "TO:<mailto:>",
    ],
)
def test_what_means_no_one_address_is_none(argument):
    """What is not the path of one address, whatever is left out of it, is None however leniently read."""
    assert read(argument, lenient=True) is None


def test_parameters_follow_the_path():
    """What follows the path is handed on undecoded."""
    path = read("TO:<a@b.example>  NOTIFY=NEVER ORCPT=rfc822;a ")
    assert path is not None
    assert path.parameters == b"NOTIFY=NEVER ORCPT=rfc822;a"


@pytest.mark.parametrize(
    ("size", "limits", "fits"),
    [
        (64, STRICT, True), (65, STRICT, False), (244, LONG_LOCAL, True), (245, LONG_LOCAL, False),
        (255, REVERSE, True), (256, REVERSE, False),
    ],
)  # fmt: skip
def test_local_part_limit(size, limits, fits):
    """RFC 5321 §4.5.3.1.1 and .3: the local part has its limit, 64 octets where nobody says otherwise, and
    the whole path has 256.
    """
    assert (read(f"TO:<{'x' * size}@b.example>", limits=limits) is not None) == fits


@given(st.binary(max_size=300), st.booleans())
@example(b'TO:<"' + b"\\\\" * 140 + b'"@x>', False)
@example(b"TO:<" + b"a." * 140, True)
def test_every_octet_string_is_a_path_or_none(argument, lenient):
    """Whatever comes is a path or None, never an exception; an address holds no blank line, NUL or bracket
    trick.
    """
    path = parse_path(argument, b"TO:", lenient=lenient)
    if path is not None:
        assert not set(path.address) & set("\r\n\0")
        assert len(path.address.encode()) <= 256


@given(
    st.from_regex(r"\A[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10}){0,3}\Z"),
    st.from_regex(r"\A[a-z0-9]{1,20}(\.[a-z]{1,10}){1,3}\Z"),
)
def test_ordinary_addresses_come_back(local, domain):
    """Every dot-atom address within the limits is read as itself."""
    path = read(f"TO:<{local}@{domain}>")
    assert path is not None
    assert path.address == f"{local}@{domain}"


@pytest.mark.parametrize(
    "argument", [b"TO:<two words>", b"TO:<two words@c.example>", b"TO:<a@c.example SIZE=1"]
)
def test_words_in_brackets_are_no_path_with_parameters(argument):
    """An opened bracket ends before any parameter: its second word makes a bad address, no parameter."""
    assert parse_path(argument, b"TO:", lenient=True) is None
