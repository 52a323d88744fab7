"""Tests of `relay.auth.zone`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.answers import RecordType, Status
from relay.auth.zone import ZoneResolver, parse_zone

ZONE = {
    "Example.com.": {
        "TXT": ["v=spf1 -all", ["two ", "strings"], "caf\u00e9", "\u20ac"],
        "MX": ["20 b.example", "10 A.example."],
        "A": ["192.0.2.1"],
        "AAAA": ["2001:db8::1"],
        "HINFO": {"never": "asked for"},
        "PTR": [],
    },
    "away.example": {"A": "TIMEOUT", "TXT": ["here"], "*": "SERVFAIL"},
    "www.example": {"CNAME": ["EXAMPLE.com"]},
    "loop.example": {"CNAME": ["loop.example"]},
    "lost.example": {"CNAME": ["nobody.example"]},
    "there.example": {},
    "EXAMPLE.com": {"TLSA": []},
    "\u043f\u043e\u0447\u0442\u0430.example": {"A": ["192.0.2.7"]},
}


@pytest.mark.parametrize(
    ("name", "kind", "field", "records"),
    [
        ("EXAMPLE.COM", "TXT", "texts", (b"v=spf1 -all", b"two strings", b"caf\xe9", b"\xe2\x82\xac")),
        ("example.com.", "MX", "names", ("a.example", "b.example")),
        ("example.com", "A", "addresses", ("192.0.2.1",)),
        ("example.com", "AAAA", "addresses", ("2001:db8::1",)),
        ("www.example", "A", "addresses", ("192.0.2.1",)),
        ("away.example", "TXT", "texts", (b"here",)),
        ("xn--80a1acny.example", "A", "addresses", ("192.0.2.7",)),
    ],
)
async def test_records_are_read(name, kind, field, records):
    """Names have neither case nor a final dot, an inner list is one record, a character up to U+00FF an
    octet.
    """
    answer = await ZoneResolver(ZONE).query(name, RecordType(kind))
    assert answer.status is Status.FOUND
    found = getattr(answer, field)
    assert tuple(map(str, found) if field == "addresses" else found) == records


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("there.example", "A", Status.NODATA),
        ("example.com", "PTR", Status.NODATA),
        ("www.example", "TLSA", Status.NODATA),
        ("below.example.com", "A", Status.NXDOMAIN),
        ("lost.example", "A", Status.NXDOMAIN),
        ("away.example", "A", Status.TEMPERROR),
        ("away.example", "MX", Status.TEMPERROR),
        ("loop.example", "A", Status.TEMPERROR),
    ],
)
async def test_absence_and_failure_are_told_apart(name, kind, status):
    """A name without the type, a name that is not there, and a failure are three answers."""
    assert (await ZoneResolver(ZONE).query(name, RecordType(kind))).status is status


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": []}', "no object of types at 'a'"),
        (b'{"a": {"A": "192.0.2.1"}}', "neither a list"),
        (b'{"a": {"A": ["192.0.2.256"]}}', "a record that is none at 'a', A"),
        (b'{"a": {"A": [5]}}', "a record that is none"),
        (b'{"a": {"MX": ["a.example"]}}', "a record that is none"),
        (b'{"a": {"TLSA": ["3 1"]}}', "a record that is none"),
    ],
)
def test_a_file_of_another_form_is_refused(octets, sentence):
    """A zone that cannot be read is refused in one sentence, which says where it is wrong and what
    is right.
    """
    with pytest.raises(ValueError, match=sentence) as raised:
        parse_zone(octets)
    assert '{"name": {"TXT"' in str(raised.value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.sampled_from(["TIMEOUT", "10 a"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a.b", "A", "MX", "TXT", "TLSA", "*", "CNAME", "\u20ac"]), inner
            )
        ),
        max_leaves=12,
    )
)
async def test_any_json_is_a_zone_or_refused(value):
    """Every JSON value is read, or refused by the documented error."""
    try:
        zone = parse_zone(json.dumps(value).encode())
    except ValueError as error:
        assert str(error).startswith("the zone ")  # noqa: PT017 - either way is right
        return
    for kind in RecordType:
        assert (await zone.query("a.b", kind)).status in Status


async def test_internationalised_name_is_found_by_its_a_labels():
    """A name in letters is asked for by its octets and by its A-labels, as every check asks."""
    resolver = ZoneResolver(
        {"_dmarc.München.example": {"TXT": ["v=DMARC1"]}, "日本.example": {"A": ["192.0.2.1"]}}
    )
    for name in ("_dmarc.xn--mnchen-3ya.example", "_dmarc.m\xfcnchen.example"):
        assert (await resolver.query(name, RecordType.TXT)).texts == (b"v=DMARC1",), name
    assert (await resolver.query("xn--wgv71a.example", RecordType.A)).addresses
