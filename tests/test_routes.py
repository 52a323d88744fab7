"""Which forward-path goes where: the order of routes, tags, beginnings, catch-alls, and destinations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.routes import RouteTable

OTHER = "11111111-1111-1111-1111-111111111111"


def table(*routes):
    """A table of these routes."""
    return RouteTable(builtin_config(routes=list(routes)))


@pytest.fixture(scope="module")
def desk():
    """A table with one of everything."""
    return table(
        {"match": ["support@example.com", "help@example.com"], "destination": "support@example.com"},
        {"match": ["vip+gold@example.com"], "name": "gold", "destination": "gold@example.com"},
        {"match": ["sales*@example.com"], "name": "sales", "destination": "sales@example.com"},
        {"match": ["@example.net"], "instance_id": OTHER},
        {"match": ["info@example.com"]},
        {"match": ["@bücher.example"], "destination": "books@example.com"},
        {"match": ["@straße.example"], "destination": "streets@example.com"},
        {"match": ["@xn--fa-hia.example"], "destination": "barrels@example.com"},
    )


@pytest.mark.parametrize("local", ['"a b"', '"a@b"', '"\t"', "x" * 250])
def test_recipient_that_connect_cannot_have_is_unknown(local):
    """A catch-all takes no recipient whose address Connect refuses: better a 550 than a dead letter."""
    catch_all = {"match": ["@example.net"]}
    assert table(catch_all).match(f"{local}@example.net") is None
    assert table(catch_all | {"destination": "desk@example.net"}).match(f"{local}@example.net") is not None


@pytest.mark.parametrize(
    ("path", "address", "route", "tag"),
    [
        # exact, and without regard to case: RFC 5321 §2.4 leaves the local part to us
        ("support@example.com", "support@example.com", "support@example.com", ""),
        ("SUPPORT@Example.COM", "support@example.com", "support@example.com", ""),
        ("help@example.com", "support@example.com", "support@example.com", ""),
        # tags (RFC 5233) do not part, and are kept
        ("support+order-7@example.com", "support@example.com", "support@example.com", "order-7"),
        ("support+a+b@example.com", "support@example.com", "support@example.com", "a+b"),
        ("support+@example.com", "support@example.com", "support@example.com", ""),
        # a route may name a tag
        ("vip+gold@example.com", "gold@example.com", "gold", ""),
        # beginnings
        ("sales@example.com", "sales@example.com", "sales", ""),
        ("sales-emea@example.com", "sales@example.com", "sales", ""),
        ("sales-emea+x@example.com", "sales@example.com", "sales", "x"),
        # the recipient itself, without its tag
        ("info@example.com", "info@example.com", "info@example.com", ""),
        ("info+x@example.com", "info@example.com", "info@example.com", "x"),
        # a whole domain
        ("anyone@example.net", "anyone@example.net", "@example.net", ""),
        ("any.one+x@example.net", "any.one@example.net", "@example.net", "x"),
        ("+x@example.net", "+x@example.net", "@example.net", "x"),
        # a domain in either of its spellings (RFC 5890)
        ("a@bücher.example", "books@example.com", "@bücher.example", ""),
        ("a@xn--bcher-kva.example", "books@example.com", "@bücher.example", ""),
        ("a@BÜCHER.example", "books@example.com", "@bücher.example", ""),
        ("a@straße.example", "streets@example.com", "@straße.example", ""),
        ("a@STRAẞE.example", "streets@example.com", "@straße.example", ""),
        ("a@xn--strae-oqa.example", "streets@example.com", "@straße.example", ""),
        ("a@XN--STRAE-OQA.example", "streets@example.com", "@straße.example", ""),
        ("a@faß.example", "barrels@example.com", "@xn--fa-hia.example", ""),
    ],
)
def test_path_is_matched(desk, path, address, route, tag):
    """A forward-path of ours finds its route, its Connect address and its tag."""
    routed = desk.match(path)
    assert (routed.address, routed.route.name, routed.tag) == (address, route, tag)


@pytest.mark.parametrize(
    "path",
    [
        "nobody@example.com",
        "vip@example.com",
        "vip+silver@example.com",
        "support@sub.example.com",
        "support@example.com.",
        "xsupport@example.com",
        "support",
        "@",
        "",
        "a@" + "x" * 300,
        "a@b..c",
        # what a browser takes for another's domain, as older rules took it for ours (RFC 5894 §7.2)
        "a@strasse.example",
        "a@fass.example",
    ],
)
def test_other_path_is_not_ours(desk, path):
    """What no route names is not ours."""
    assert desk.match(path) is None


def test_first_route_wins():
    """An earlier catch-all takes what a later, closer route names: the order is the operator's."""
    both = table({"match": ["@example.com"], "name": "all"}, {"match": ["a@example.com"], "name": "a"})
    turned = table({"match": ["a@example.com"], "name": "a"}, {"match": ["@example.com"], "name": "all"})
    assert both.match("a@example.com").route.name == "all"
    assert turned.match("a@example.com").route.name == "a"


def test_instance_is_the_routes_own_or_the_default(desk):
    """A route may lead to another instance than the rest."""
    assert desk.match("support@example.com").instance_id == INSTANCE_ID
    assert desk.match("x@example.net").instance_id == OTHER


def test_several_paths_to_one_destination_are_one(desk):
    """One mail to two addresses of one route and desk is one contact, which knows both."""
    (destination,) = desk.destinations(["support@example.com", "help@example.com"])
    assert destination.address == "support@example.com"
    assert destination.forward_paths == ("support@example.com", "help@example.com")
    assert destination.route == "support@example.com"


def test_paths_with_other_tags_or_routes_are_entries_of_their_own(desk):
    """At one address, too: a tag or a route of one recipient decides nothing for another."""
    paths = ["support@example.com", "Support+x@example.com", "support+X@example.com", "support+y@example.com"]
    assert [(one.tag, one.forward_paths) for one in desk.destinations(paths)] == [
        ("", ("support@example.com",)),
        ("x", ("Support+x@example.com", "support+X@example.com")),
        ("y", ("support+y@example.com",)),
    ]
    routes = table(
        {"match": ["form@example.com"], "destination": "support@example.com"},
        {"match": ["support@example.com"]},
    )
    found = routes.destinations(["support@example.com", "form@example.com"])
    assert [(one.address, one.route) for one in found] == [
        ("support@example.com", "support@example.com"),
        ("support@example.com", "form@example.com"),
    ]


def test_destinations_keep_the_order_of_rcpt(desk):
    """Destinations come in the order of the first path that led to each; paths of nobody are left out."""
    found = desk.destinations(
        ["sales@example.com", "nobody@example.com", "x@example.net", "help@example.com", "sales2@example.com"]
    )
    assert [(each.address, each.instance_id, each.forward_paths) for each in found] == [
        ("sales@example.com", INSTANCE_ID, ("sales@example.com", "sales2@example.com")),
        ("x@example.net", OTHER, ("x@example.net",)),
        ("support@example.com", INSTANCE_ID, ("help@example.com",)),
    ]


def test_spellings_of_one_destination_are_one():
    """Two spellings of an address of one route do not make two contacts of one mail."""
    routes = table({"match": ["@example.com"]})
    assert len(routes.destinations(["Desk@example.com", "desk@EXAMPLE.com"])) == 1


def test_one_address_of_two_instances_is_two():
    """The same address in two instances is two destinations."""
    routes = table(
        {"match": ["a@example.com"], "destination": "desk@example.com"},
        {"match": ["b@example.com"], "destination": "desk@example.com", "instance_id": OTHER},
    )
    assert len(routes.destinations(["a@example.com", "b@example.com"])) == 2


@pytest.mark.parametrize(
    ("domain", "known"),
    [
        ("example.com", True),
        ("EXAMPLE.net", True),
        ("bücher.example", True),
        ("example.org", False),
        ("", False),
    ],
)
def test_known_domains_are_those_of_routes(desk, domain, known):
    """An unknown address of a known domain is 5.1.1, of another 5.7.1: this tells which."""
    assert desk.knows_domain(domain) is known


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("help@example.com", True),
        ("Books@Example.com", True),  # only a destination
        ("gold@example.com", True),
        ("customer@example.org", False),
    ],
)
def test_ours_are_what_comes_here_and_where_we_deliver(desk, address, ours):
    """Addresses that lead here, and destinations, are left out of a contact's recipients."""
    assert desk.is_ours(address) is ours


def test_route_is_found_by_name(desk):
    """An entry in the spool knows its route by name, and may outlive it."""
    assert desk.route("gold").destination == "gold@example.com"
    assert desk.route("gone") is None


@given(st.text(max_size=80))
def test_any_path_is_matched_or_not(path):
    """No forward-path, however odd, raises."""
    desk = table({"match": ["@example.com"]}, {"match": ["a*@example.org"]})
    for each in (path, f"{path}@example.com", f"a{path}@example.org"):
        desk.match(each)
        desk.knows_domain(each)
        desk.is_ours(each)


@given(st.from_regex(r"[a-z0-9.+-]{1,20}", fullmatch=True))
def test_destination_of_a_catch_all_needs_no_second_look(local):
    """Where a catch-all sends a mail, a mail to that address goes too: tags are taken off once and
    for all.
    """
    desk = table({"match": ["@example.com"]})
    address = desk.match(f"{local}@example.com").address
    assert desk.match(address).address == address
