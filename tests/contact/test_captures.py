"""Captures: what an operator's patterns find in a mail."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from contact.factory import make_config, make_context, make_message, make_route

from relay.contact.captures import capture
from relay.contact.fit import fit


def captured(message, *captures, contact=None):
    config = make_config(captures=captures, contact=contact)
    return dict(capture(message, make_route(config), config))


@pytest.mark.parametrize(
    ("source", "pattern", "found"),
    [
        ("subject", r"#(?P<order>[0-9]{5,})", {"order": "47110"}),
        ("body", r"Customer (?P<customer>\w+), (?P<tier>\w+)", {"customer": "K12", "tier": "gold"}),
        ("author", r"@(?P<company>[^@]+)$", {"company": "customer.example"}),
        ("header:x-ticket", r"(?P<ticket>.+)", {"ticket": "T-1"}),
        ("header:X-None", r"(?P<ticket>.+)", {}),
        ("subject", r"(?P<none>nothing like it)", {}),
        ("subject", r"(?P<yes>47110)|(?P<no>x)", {"yes": "47110"}),
    ],
)
def test_named_groups_are_found_where_the_capture_looks(source, pattern, found):
    """Each place is searched, and no match is no error."""
    message = replace(
        make_message(subject="Order #47110", text="Customer K12, gold"), headers=(("X-Ticket", "T-1"),)
    )
    assert captured(message, {"from": source, "pattern": pattern}) == found


def test_capture_becomes_an_attribute_and_a_field():
    """A flow routes by the order's number, and the contact is called by it."""
    config = make_config(
        captures=[{"from": "subject", "pattern": r"#(?P<order>[0-9]+)"}], contact_name="Order {order}"
    )
    plan = fit(make_message(subject="My #12345", text="Hi"), make_context(), make_route(config), config)
    assert plan.attributes["order"] == "12345"
    assert plan.name == "Order 12345"
    assert plan.captured == {"order": "12345"}


def test_first_attempt_counts():
    """What was captured at the first attempt holds, whatever the patterns say since then."""
    config = make_config(
        captures=[{"from": "subject", "pattern": r"#(?P<order>[0-9]+)"}], contact_name="Order {order}"
    )
    context = make_context(captured={"order": "1"})
    plan = fit(make_message(subject="My #12345", text="Hi"), context, make_route(config), config)
    assert (plan.attributes["order"], plan.name) == ("1", "Order 1")


def test_pattern_that_takes_for_ever_finds_nothing_soon():
    """A search that would take years ends after its time, and the mail goes on without it."""
    begun = time.monotonic()
    pattern = r"(?P<order>(a|aa)+)$"
    assert captured(make_message(text="a" * 60_000 + "b"), {"from": "body", "pattern": pattern}) == {}
    assert time.monotonic() - begun < 5


def test_body_is_searched_in_its_first_64_kib():
    """A megabyte of body costs no more than its beginning; HTML is searched as the text that it shows."""
    look = {"from": "body", "pattern": r"(?P<end>END)"}
    assert captured(make_message(text="x" * 65_000 + "END" + "x" * 1_000_000), look) == {"end": "END"}
    assert captured(make_message(text="x" * 70_000 + "END"), look) == {}
    assert captured(make_message(html="<p>the <b>EN</b>D</p>"), look) == {"end": "END"}


def test_route_captures_before_what_holds_for_all():
    """Of one name the route's own capture counts."""
    look = {"from": "subject", "pattern": r"(?P<order>\d+)"}
    for_all = {"captures": [{"from": "subject", "pattern": r"(?P<order>\w+) (?P<more>\d+)"}]}
    assert captured(make_message(subject="My 12"), look, contact=for_all) == {"order": "12", "more": "12"}
