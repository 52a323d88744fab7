"""IP addresses of peers: the one spelling of each, and the networks that are counted as a single customer.

Owns how an address that came as text or octets becomes the address that everybody here compares, counts and
shows. An IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2: `::ffff:203.0.113.6`, which Python 3.11 writes
`::ffff:cb00:7106`) is that IPv4 address everywhere. Owns the widths, too: /64 of IPv6 is a single host's, /48
what a site is given (RFC 6177). Never asks anybody.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV4_BITS, _IPV6_BITS = 24, 48
_IPV6_HOST_BITS = 64
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
#: Networks that the internet does not route (RFC 1918, 3927, 4193, 4291); documentation's are left out.
_PRIVATE: tuple[Network, ...] = (
    *map(
        ipaddress.IPv4Network,
        ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    ),
    *map(ipaddress.IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
)


def is_private(address: Address) -> bool:
    """Returns whether an address is of a network that the internet does not route."""
    return any(address in network for network in _PRIVATE)


def parse_address(source: str | bytes) -> Address:
    """The address that a text, or the 4 or 16 octets of a packet, stand for.

    Raises:
        ValueError: it is no address, or has a scope (`fe80::1%eth0`), which means nothing on another machine.
    """
    if isinstance(source, str) and "%" in source:
        raise ValueError("an address with a scope")
    address = ipaddress.ip_address(source)
    return getattr(address, "ipv4_mapped", None) or address


def normalise_address(source: str | bytes) -> str:
    """The one spelling of an address.

    Raises:
        ValueError: as `parse_address`.
    """
    return str(parse_address(source))


@lru_cache(maxsize=8_192)
def normalise_peer(name: str) -> str:
    """The one spelling of a peer's address as the kernel names it, without its scope.

    Text that is no address, as a socket without one has, stays as it is.
    """
    try:
        return normalise_address(name.partition("%")[0])
    except ValueError:
        return name


def parse_network(text: str) -> Network:
    """The network that a text stands for; one of mapped IPv4 addresses is the IPv4 network.

    Raises:
        ValueError: it is no network, has host bits, or a scope.
    """
    if "%" in text:
        raise ValueError("a network has no scope")
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        assert mapped is not None
        return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED.prefixlen))
    return network


@lru_cache(maxsize=8_192)
def believe_address(told: str, teller: str) -> str:
    """The address of a client as a proxy or a mail server in front tells it. A loopback address is the
    teller's own machine, and ours only where the teller is on it: from elsewhere, the client is the teller.
    """
    return teller if is_loopback(told) and not is_loopback(teller) else told


def is_loopback(address: str) -> bool:
    """Returns whether a text is an address of the machine itself."""
    try:
        return parse_address(address).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=8_192)
def find_host(address: str) -> str:
    """The host of an address for counting: an IPv4 address itself, and the /64 of an IPv6 address, which one
    host has whole.

    Text that is no address is its own host.
    """
    return _enclose(address, 32, _IPV6_HOST_BITS)


@lru_cache(maxsize=8_192)
def find_network(address: str) -> str:
    """The network of an address: its /24 of IPv4 or its /48 of IPv6.

    Text that is no address is its own network.
    """
    return _enclose(address, _IPV4_BITS, _IPV6_BITS)


def _enclose(address: str, ipv4_bits: int, ipv6_bits: int) -> str:
    try:
        ip = parse_address(address)
    except ValueError:
        return address
    bits = ipv4_bits if ip.version == 4 else ipv6_bits
    if bits == ip.max_prefixlen:
        return str(ip)
    return str(ipaddress.ip_network((ip, bits), strict=False))
