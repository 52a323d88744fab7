"""The client behind a request, where reverse proxies stand in front, and whether a page of ours sent it.

Owns which header fields are believed: those that a proxy of `web.proxies` sets, and of a browser's those that
no page can set (Fetch Metadata, RFC 6454). Never raises for what a peer sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from relay.networks import Network, normalise_address, normalise_peer, parse_address

#: Addresses of X-Forwarded-For that are looked at, the last ones.
_HOPS = 10


def find_peer(request: web.Request) -> str:
    """The address at the other end of the connection; "" if it is gone."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    return normalise_peer(str(name[0])) if name else ""


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Returns whether an address is in one of the networks; text that is no address is in none."""
    try:
        parsed = parse_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def find_client(request: web.Request, proxies: Sequence[Network]) -> str:
    """The address of the client: the last one in X-Forwarded-For that is no proxy of ours, where the peer is
    one; else the peer.
    """
    client = find_peer(request)
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for hop in reversed(hops[-_HOPS:]):
        if not is_within(client, proxies):
            break
        try:
            client = normalise_address(hop.strip())
        except ValueError:
            break
    return client


def is_foreign(request: web.Request, proxies: Sequence[Network]) -> bool:
    """Returns whether a page of another site has sent this request.

    A browser says so in Sec-Fetch-Site; where it does not (to an address without TLS), Origin is compared
    with the host that was asked for. What is no browser sends neither.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    hosts = [request.headers.get("Host", "")]
    if is_within(find_peer(request), proxies):
        hosts += request.headers.getall("X-Forwarded-Host", [])
    try:
        named = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return not named or named not in {host.strip().lower() for host in hosts}
