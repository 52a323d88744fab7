"""Tests of `relay.auth.iprev`."""

from __future__ import annotations

import ipaddress

import pytest

from relay.auth.iprev import IprevResult, check_iprev
from relay.auth.words import Result
from relay.auth.zone import ZoneResolver


def reverse(address):
    return ipaddress.ip_address(address).reverse_pointer


ZONE = {
    reverse("192.0.2.1"): {"PTR": ["other.example", "Mail.example.com"]},
    "mail.example.com": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    "other.example": {"A": ["192.0.2.99"]},
    reverse("2001:db8::1"): {"PTR": ["mail.example.com"]},
    reverse("192.0.2.2"): {"PTR": ["mail.example.com", "nobody.example"]},
    reverse("192.0.2.3"): {"PTR": ["away.example"]},
    reverse("192.0.2.4"): {"PTR": "TIMEOUT"},
    reverse("192.0.2.5"): {"TXT": ["no name"]},
    reverse("192.0.2.7"): {"PTR": [f"n{n}.example" for n in range(11)]},
    reverse("192.0.2.8"): {"PTR": ['evil"; spf=pass.example']},
    'evil"; spf=pass.example': {"A": ["192.0.2.8"]},
    "away.example": {"A": "SERVFAIL"},
    **{f"n{n}.example": {"A": ["192.0.2.7" if n == 10 else "192.0.2.70"]} for n in range(11)},
}


@pytest.mark.parametrize(
    ("address", "result", "name"),
    [
        ("192.0.2.1", "pass", "mail.example.com"),
        ("::ffff:192.0.2.1", "pass", "mail.example.com"),
        ("2001:db8::1", "pass", "mail.example.com"),
        ("192.0.2.2", "fail", ""),
        ("192.0.2.3", "temperror", ""),
        ("192.0.2.4", "temperror", ""),
        ("192.0.2.5", "permerror", ""),
        ("192.0.2.6", "permerror", ""),
        ("192.0.2.7", "fail", ""),
        ("192.0.2.8", "fail", ""),
    ],
)
async def test_a_name_counts_when_it_leads_back(address, result, name):
    """An address passes by the first of its ten names that is a host name and has this address."""
    found = await check_iprev(ipaddress.ip_address(address), ZoneResolver(ZONE))
    assert (found.result, found.name) == (result, name)
    assert found.reason


async def test_a_failure_of_dns_does_not_undo_a_pass():
    """A name that DNS fails for is passed over when another leads back."""
    zone = {**ZONE, reverse("192.0.2.1"): {"PTR": ["away.example", "mail.example.com"]}}
    assert await check_iprev(ipaddress.ip_address("192.0.2.1"), ZoneResolver(zone)) == IprevResult(
        result=Result.PASS,
        address=ipaddress.ip_address("192.0.2.1"),
        name="mail.example.com",
        reason="the name of the address leads back to it",
    )
