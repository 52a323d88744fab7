"""What `relay check` finds of the DNS servers, with real ones on loopback."""

from __future__ import annotations

import pytest
from dns_server import dns_in_a_thread

from relay.check.dns import examine_dns, examine_lists
from relay.config.builtin import builtin_config

LISTS = {
    ("2.0.0.127.list.example", "A"): ["127.0.0.2"],
    ("2.0.0.127.ended.example", "A"): ["127.0.0.2"],
    ("1.0.0.127.ended.example", "A"): ["127.0.0.2"],
    ("2.0.0.127.refusing.example", "A"): ["127.255.255.254"],
}


@pytest.fixture
def address():
    """The address of a server that knows one name and keeps silent about another."""
    zone = {("known.example", "A"): ["192.0.2.1"], ("silent.example", "A"): "silent", **LISTS}
    with dns_in_a_thread(zone) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("hostname", "level"),
    [("known.example", "ok"), ("unknown.example", "ok"), ("silent.example", "warn")],
)
def test_each_server_is_asked(address, hostname, level):
    """A server that answers is well, whatever it answers; a silent one is told of, and no reason to fail."""
    config = builtin_config(hostname=hostname, dns={"servers": [address], "timeout_seconds": 0.5})
    (found,) = examine_dns(config)
    assert (found.level, found.subject) == (level, f"dns 127.0.0.1 port {address.partition(':')[2]}")


def test_a_machine_without_servers_is_told(monkeypatch):
    """Where neither the configuration nor the machine names a server, the operator learns what to set."""
    monkeypatch.setattr("relay.resolver.servers.RESOLV_CONF", "/nonexistent")
    (found,) = examine_dns(builtin_config())
    assert (found.level, found.subject) == ("warn", "dns")
    assert "dns.servers" in found.detail


def test_each_list_is_tried(address):
    """A list that has what every list has, and nothing else, is well; others are told of, with what
    is wrong.
    """
    zones = ["list.example", "ended.example", "refusing.example", "gone.example"]
    config = builtin_config(dns={"servers": [address]}, identity={"dnsbl": zones})
    found = list(examine_lists(config))
    assert [(each.level, each.subject) for each in found] == [
        ("ok", "list list.example"),
        ("warn", "list ended.example"),
        ("warn", "list refusing.example"),
        ("warn", "list gone.example"),
    ]
    assert "lists 127.0.0.1" in found[1].detail
    assert "refuses" in found[2].detail
