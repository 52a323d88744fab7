"""The client behind a request, and whether a page of ours sent it."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from relay.networks import parse_network
from relay.web.peers import find_client, is_foreign

PROXIES = (parse_network("10.0.0.0/8"),)


class Transport:
    """A connection from an address."""

    def __init__(self, address):
        self._address = address

    def get_extra_info(self, name, default=None):
        return (self._address, 4_000) if name == "peername" else default


def request(address="10.0.0.4", method="POST", fields=()):
    return make_mocked_request(method, "/", headers=CIMultiDict(fields), transport=Transport(address))


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("203.0.113.6", [], "203.0.113.6"),
        ("203.0.113.6", ["198.51.100.7"], "203.0.113.6"),
        ("10.0.0.4", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.4", ["192.0.2.1, 198.51.100.7, 10.0.0.9"], "198.51.100.7"),
        ("10.0.0.4", ["192.0.2.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.4", ["nonsense"], "10.0.0.4"),
        ("10.0.0.4", ["192.0.2.1, nonsense, 10.0.0.9"], "10.0.0.9"),
        ("10.0.0.4", [",".join(["10.1.1.1"] * 5_000)], "10.1.1.1"),
        ("::ffff:10.0.0.4", ["2001:db8::7"], "2001:db8::7"),
    ],
)
def test_client_is_the_last_that_no_proxy_is(peer, told, client):
    """X-Forwarded-For counts from proxies of ours only, from its end, up to the first that is none."""
    fields = [("X-Forwarded-For", each) for each in told]
    assert find_client(request(peer, fields=fields), PROXIES) == client


@pytest.mark.parametrize(
    ("fields", "foreign"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://page.example", "Host": "page.example"}, True),
        ({"Origin": "http://page.example:8028", "Host": "page.example:8028"}, False),
        ({"Origin": "http://evil.example", "Host": "page.example"}, True),
        ({"Origin": "null", "Host": "page.example"}, True),
        ({"Origin": "http://[", "Host": "page.example"}, True),
        ({"Origin": "", "Host": ""}, True),
        (
            {"Origin": "https://page.example", "Host": "10.0.0.5:8028", "X-Forwarded-Host": "page.example"},
            False,
        ),
    ],
)
def test_page_of_another_site(fields, foreign):
    """A browser says where a request comes from; what says nothing is no browser."""
    assert is_foreign(request(fields=fields.items()), PROXIES) is foreign


def test_forwarded_host_of_a_stranger_is_not_believed():
    """A client that is no proxy cannot name the page's host itself."""
    fields = {"Origin": "https://evil.example", "Host": "page.example", "X-Forwarded-Host": "evil.example"}
    assert is_foreign(request("203.0.113.6", fields=fields.items()), PROXIES)
