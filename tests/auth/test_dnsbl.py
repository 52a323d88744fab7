"""Tests of `relay.auth.dnsbl`."""

from __future__ import annotations

import ipaddress

import pytest

from relay.auth.dnsbl import check_dnsbl
from relay.auth.zone import ZoneResolver

ZONE = {
    "9.2.0.192.list.example": {"A": ["127.0.0.4", "127.0.0.2"], "TXT": ["buy our removal"]},
    "9.2.0.192.refusing.example": {"A": ["127.255.255.254"]},
    "9.2.0.192.ended.example": {"A": ["198.51.100.1"]},
    "9.2.0.192.away.example": {"A": "TIMEOUT"},
    "1.0.0.10.list.example": {"A": ["127.0.0.2"]},
    f"{'9.' + '0.' * 23}8.b.d.0.1.0.0.2.list.example": {"A": ["127.0.0.2"]},
}


@pytest.mark.parametrize(
    ("address", "zone", "result", "codes"),
    [
        ("192.0.2.9", "list.example", "fail", ("127.0.0.2", "127.0.0.4")),
        ("::ffff:192.0.2.9", "list.example", "fail", ("127.0.0.2", "127.0.0.4")),
        ("2001:db8::9", "list.example", "fail", ("127.0.0.2",)),
        ("192.0.2.10", "list.example", "none", ()),
        ("10.0.0.1", "list.example", "none", ()),
        ("192.0.2.9", "refusing.example", "permerror", ()),
        ("192.0.2.9", "ended.example", "permerror", ()),
        ("192.0.2.9", "away.example", "temperror", ()),
    ],
)
async def test_a_list_is_asked(address, zone, result, codes):
    """A code of 127.0.0.0/8 lists an address; refusals, lists that ended and silence list nobody."""
    found = await check_dnsbl(ipaddress.ip_address(address), zone, ZoneResolver(ZONE))
    assert (found.result, found.zone, found.codes) == (result, zone, codes)
    assert "removal" not in found.reason
