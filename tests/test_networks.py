"""Tests of `relay.networks`."""

from __future__ import annotations

import ast
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.networks import (
    believe_address,
    find_host,
    find_network,
    normalise_address,
    normalise_peer,
    parse_network,
)

ROOT = Path(__file__).parent.parent / "relay"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("203.0.113.6", "203.0.113.6"),
        ("::ffff:203.0.113.6", "203.0.113.6"),
        ("::FFFF:cb00:7106", "203.0.113.6"),
        ("0:0:0:0:0:ffff:203.0.113.6", "203.0.113.6"),
        (bytes(10) + b"\xff\xff\xcb\x00\x71\x06", "203.0.113.6"),
        (b"\xcb\x00\x71\x06", "203.0.113.6"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::203.0.113.6", "::cb00:7106"),
    ],
)
def test_an_address_has_one_spelling(source, address):
    """However an address is written, it is compared, counted and shown as one text."""
    assert normalise_address(source) == address


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "::ffff:203.0.113.6%1", "192.0.2.1%", "", "unknown", "192.0.2.01", " ::1"]
)
def test_what_is_no_address_is_refused(text):
    """A scope, a name, blanks and octal are no address that somebody else can tell us."""
    with pytest.raises(ValueError, match=r".+"):
        normalise_address(text)


def test_the_kernel_may_name_a_scope():
    """A neighbour's link-local address is counted without our own interface's name; what is none stays as it
    is.
    """
    assert normalise_peer("fe80::1%eth0") == "fe80::1"
    assert normalise_peer("::ffff:203.0.113.6") == "203.0.113.6"
    assert normalise_peer("unknown") == "unknown"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:203.0.113.6", "203.0.113.6/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_of_mapped_addresses_is_one_of_ipv4(text, network):
    """An operator may write a network as a dual-stack socket shows its peers."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", ["fe80::%eth0/64", "fe80::1%eth0", "10.0.0.1/8", "x"])
def test_what_is_no_network_is_refused(text):
    """A scope and host bits are no network."""
    with pytest.raises(ValueError, match=r".+"):
        parse_network(text)


@pytest.mark.parametrize(
    ("address", "host", "network"),
    [
        ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("unknown", "unknown", "unknown"),
    ],
)
def test_hosts_and_networks(address, host, network):
    """A host is an IPv4 address or a /64, a network is a /24 or a /48; what is no address is its own."""
    assert find_host(address) == host
    assert find_network(address) == network


@given(st.ip_addresses(v=4))
def test_mapped_or_not_it_is_the_same_peer(address):
    """Each IPv4 address is itself again, whichever of the two spellings of IPv6 it comes in."""
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    for text in (str(address), f"::ffff:{address}", str(mapped), mapped.exploded):
        assert normalise_peer(text) == normalise_address(text) == find_host(text) == str(address)


@pytest.mark.parametrize("told", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_of_another_machine_is_not_ours(told):
    """A front-end on another machine that tells of its own loopback tells of itself: limits that spare ours
    do not spare it, and lists that let ours in do not let it in.
    """
    assert believe_address(told, "192.0.2.10") == "192.0.2.10"
    assert believe_address(told, "2001:db8::10") == "2001:db8::10"
    assert believe_address(told, "127.0.0.1") == told
    assert believe_address("203.0.113.9", "192.0.2.10") == "203.0.113.9"
    assert believe_address("unknown", "192.0.2.10") == "unknown"


@pytest.mark.slow
def test_nobody_else_reads_addresses_of_peers():
    """Addresses are read in one place; a bind, an address literal and the records of the DNS, which name
    no peer, are the exceptions.
    """
    records = {
        "auth/dnsbl.py",
        "auth/spf.py",
        "auth/spf_record.py",
        "auth/zone.py",
        "check/dns.py",
        "resolver/records.py",
    }
    others = {"networks.py", "config/words.py", "smtp/paths.py"} | records
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if "ipaddress" in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "ipaddress" in (getattr(node, "module", None), *(alias.name for alias in node.names))
    }
    cut = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if "::ffff:" in path.read_text()}
    assert found == others
    assert cut == {"networks.py"}
