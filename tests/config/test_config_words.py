"""Tests of `relay.config.words`, where a word becomes several values."""

from __future__ import annotations

import pytest

from relay.config.builtin import builtin_config
from relay.config.words import split_server


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_dns_server_has_a_port_or_not(written, address):
    """A server is an address, with a port behind a colon, an IPv6 address then in brackets."""
    (server,) = builtin_config(dns={"servers": [written]}).dns.servers
    assert split_server(server) == address
