"""What a 404 speaks of: the address alone, or its whole route."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.delivery.proven import ProvenAddresses
from relay.envelope import Destination

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def to(local, *, instance_id="00000000-0000-0000-0000-000000000001", route="all"):
    address = f"{local}@example.com"
    return Destination(instance_id=instance_id, address=address, forward_paths=(address,), route=route)


@pytest.fixture
def known():
    return ProvenAddresses()


def test_nothing_vouches_for_a_route_at_first(known):
    """Before the first delivery a 404 may be the route's fault."""
    assert not known.is_alone(to("a"), now=NOW)


def test_another_address_of_the_route_vouches_for_it_for_a_day(known):
    """Connect took mail for the other address within 24 hours: the route is right."""
    known.add(to("good"), now=NOW)
    assert known.is_alone(to("a"), now=NOW + timedelta(hours=24, seconds=-1))
    assert not known.is_alone(to("a"), now=NOW + timedelta(hours=24))


@pytest.mark.parametrize(
    "other", [to("good", instance_id="00000000-0000-0000-0000-000000000002"), to("good", route="other")]
)
def test_another_route_or_instance_says_nothing(known, other):
    """What works elsewhere is no sign that it works here."""
    known.add(other, now=NOW)
    assert not known.is_alone(to("a"), now=NOW)


def test_an_address_does_not_vouch_for_itself(known):
    """The only known address is gone, whichever case it is written in: that may be the whole instance."""
    known.add(to("good"), now=NOW)
    assert not known.is_alone(to("Good"), now=NOW)


def test_two_addresses_are_enough_and_all_that_is_kept(known):
    """One of two that is refused leaves the other; a third delivery pushes the oldest out, and one again does
    not.
    """
    for local in ("a", "b", "a", "c"):
        known.add(to(local), now=NOW)
    assert known._delivered == {
        "all": {
            ("00000000-0000-0000-0000-000000000001", "a@example.com"): NOW,
            ("00000000-0000-0000-0000-000000000001", "c@example.com"): NOW,
        }
    }
    assert known.is_alone(to("a"), now=NOW)


def test_known_addresses_that_are_refused_one_by_one_hold_the_route(known):
    """An instance that was removed is found out by the addresses that worked before: each is no
    longer known.
    """
    for local in ("a", "b"):
        known.add(to(local), now=NOW)
    assert known.is_alone(to("a"), now=NOW)
    assert not known.is_alone(to("b"), now=NOW)
    assert not known.is_alone(to("c"), now=NOW)


def test_nothing_is_left_after_a_reload(known):
    """What worked by another configuration vouches for nothing."""
    known.add(to("good"), now=NOW)
    known.forget()
    assert not known.is_alone(to("a"), now=NOW)
