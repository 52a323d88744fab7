"""The words that configuration values are made of: networks, addresses, binds, host names, matches.

Each `check_x` returns the value in its one canonical form, or raises ValueError with what would be right.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from relay.contact.attribute_names import MEANINGS
from relay.contact.limits import ADDRESS_CHARACTERS
from relay.domains import encode_domain
from relay.networks import parse_network

# The pattern that the Connect service model holds every address to (shape EmailAddress).
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
# RFC 5782 §2.4: before it stand the 32 digits of an IPv6 address with their dots, in a name of 253.
_LIST_CHARACTERS = 253 - 64
# unix(7): sun_path has 108 octets, the last of which is NUL.
_SOCKET_PATH_BYTES = 107
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")  # RFC 1123 §2.1


def fits(pattern: str, right: str) -> Callable[[str], str]:
    """A check that a value matches a pattern; `right` is the sentence of its ValueError."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(right)
        return value

    return check


def _check_domain(domain: str) -> str:
    """The domain in lower case; an internationalised one stays in Unicode."""
    labels = domain.rstrip(".").split(".")
    for label in labels:
        if not label or (label.isascii() and not _LABEL.fullmatch(label)):
            raise ValueError(f'"{domain}" is no domain; write it like "example.com"')
    if encode_domain(domain.rstrip(".")) is None:
        raise ValueError(
            f'"{domain}" is no domain: a label has at most 63 letters in DNS, and one with xn-- can be read; write it like "example.com"'
        )
    return domain.rstrip(".").lower()


def check_hostname(value: str) -> str:
    """The host name in lower case, as it stands in the banner and in `Received:`."""
    try:
        return _check_domain(value)
    except ValueError:
        raise ValueError('is no host name; write it like "mx1.example.com"') from None


def check_dns_list(value: str) -> str:
    """The domain of a list of addresses in the DNS, in lower case."""
    try:
        domain = _check_domain(value)
    except ValueError:
        domain = ""
    if "." not in domain or not domain.isascii() or len(domain) > _LIST_CHARACTERS:
        raise ValueError('is no list in the DNS; write its domain, like "dnsbl.example.com"')
    return domain


def check_sealer(value: str) -> str:
    """The domain of a forwarder that seals mail by ARC, in A-labels."""
    try:
        domain = encode_domain(_check_domain(value))
    except ValueError:
        domain = None
    if domain is None or "." not in domain:
        raise ValueError(
            'is no domain that seals mail; write the d= of its ARC-Seal, like "lists.example.com"'
        )
    return domain


def check_protected(value: str) -> str:
    """The domain whose look-alikes are told, in A-labels."""
    try:
        domain = encode_domain(_check_domain(value))
    except ValueError:
        domain = None
    if domain is None or "." not in domain:
        raise ValueError('is no domain that can be imitated; write it like "bank.example"')
    return domain


def check_network(value: str) -> str:
    """The network in its canonical spelling; one with host bits is refused."""
    try:
        return str(parse_network(value))
    except ValueError as exc:
        raise ValueError(f'is no network ({exc}); write it like "10.0.0.0/8" or "2001:db8::/32"') from exc


def check_bind(value: object) -> str:
    """The `address:port`, an IPv6 address in brackets; port 0 takes a free one."""
    host, _, port = value.strip().rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    digits = port.isascii() and port.isdigit() and len(port) <= 5  # 65535 has five
    if address is None or address.version != (6 if bracketed else 4) or not digits or int(port) > 65_535:
        raise ValueError('is no address and port; write it like "0.0.0.0:25" or "[::]:25"')
    if mapped := getattr(address, "ipv4_mapped", None):  # a socket for IPv6 takes IPv6 only
        raise ValueError(f'is an address of IPv4; write it like "{mapped}:{int(port)}"')
    return f"[{address}]:{int(port)}" if bracketed else f"{address}:{int(port)}"


def list_binds(value: object) -> object:
    """The value as a list: one address and port, written without brackets, is a list of one. A value of
    another kind is left to be refused.
    """
    return value if isinstance(value, list | tuple) else (check_bind(value),)


def split_bind(value: str) -> tuple[str, int]:
    """The host, without brackets, and the port of a checked bind."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def check_scanner_address(value: str) -> str:
    """The address of clamd: the whole path of a Unix socket, or a host with its port."""
    if value.startswith("/") and "\0" not in value and len(value.encode()) <= _SOCKET_PATH_BYTES:
        return value
    try:
        host, port = split_server(value)
    except ValueError:
        host, port = "", 0
    named = value.endswith(f":{port}") and not any(each.isspace() or each == "/" for each in host)
    if not host or not named or not 0 < port <= 65_535:
        raise ValueError(
            'is no address of a clamd; write it like "/run/clamav/clamd.ctl" or "127.0.0.1:3310"'
        )
    return value


def check_server(value: str) -> str:
    """The address of a DNS server, with a port or without; an IPv6 address with a port in brackets."""
    try:
        host, port = split_server(value)
        known = ipaddress.ip_address(host)
    except ValueError:
        port = 0
    if not 0 < port <= 65_535 or (known.version == 6 and "%" in host):
        raise ValueError('is no DNS server; write its address, like "192.0.2.53" or "[2001:db8::53]:5353"')
    return value


def split_server(value: str) -> tuple[str, int]:
    """The address and the port of a DNS server; without one it is 53.

    Raises:
        ValueError: the port is no number.
    """
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        return host, int(rest.removeprefix(":")) if bracket and rest != "" else 53
    host, colon, port = value.partition(":")
    return (host, int(port)) if colon and ":" not in port else (value, 53)


def check_address(value: str) -> str:
    """The address with its domain in lower case. Raises where Connect would not take it."""
    if not _ADDRESS.fullmatch(value) or len(value) > ADDRESS_CHARACTERS:
        raise ValueError('is no address that Connect takes; write it like "support@example.com"')
    local, _, domain = value.rpartition("@")
    return f"{local}@{_check_domain(domain)}"


def check_match(value: str) -> str:
    """The pattern of a route in lower case: `address`, `@domain` or `local-part*@domain`."""
    local, at, domain = value.rpartition("@")
    if (
        not at
        or not domain
        or "*" in local[:-1]
        or "@" in local
        or "*" in domain
        or any(c.isspace() for c in value)
    ):
        raise ValueError(
            'matches nothing; write an address "support@example.com", a domain "@example.com", '
            'or a beginning "support*@example.com"'
        )
    return f"{local.lower()}@{_check_domain(domain)}"


check_bucket = fits(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "is no bucket name; S3 takes 3 to 63 lower-case letters, digits, dots and hyphens",
)
check_prefix = fits(
    r"[A-Za-z0-9!_.*'()/-]{0,200}",
    "is no prefix of ours; use letters, digits and !_.*'()/- so that URLs stay short, 200 at most",
)
# InstanceId of StartEmailContact is an id or an ARN (Amazon Connect API Reference).
_INSTANCE = r"(?:arn:aws[a-z-]*:connect:([a-z0-9-]+):([0-9]{12}):instance/)?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
check_instance_id = fits(
    _INSTANCE,
    'is no instance; write its id, as in "12345678-90ab-cdef-1234-567890abcdef", or its ARN',
)


def place_of_instance(instance_id: str) -> tuple[str, str]:
    """The Region and the account that an instance's ARN names; "" and "" for a bare id, and for what is
    none.
    """
    found = re.fullmatch(_INSTANCE, instance_id)
    return (found[1] or "", found[2] or "") if found else ("", "")


def bare_id(instance_id: str) -> str:
    """The id at the end of an instance's ARN; a bare one stays as it is."""
    return instance_id.rpartition("/")[2]


check_extension = fits(
    r"[a-z0-9_-]{1,10}",
    'is no file extension; write it in lower case without the dot, as in "pdf"',
)
check_attribute_prefix = fits(
    r"[A-Za-z0-9_-]{0,32}",
    "cannot begin an attribute's name; use letters, digits, - and _, 32 at most",
)
check_attribute_name = fits(
    r"[A-Za-z0-9_-]{1,127}",
    "cannot be an attribute's name; use letters, digits, - and _, 127 at most",
)


def check_attribute_left_out(value: str) -> str:
    """The name of an attribute of the relay's, without its prefix."""
    if value in MEANINGS:
        return value
    near = difflib.get_close_matches(value.removeprefix("relay_"), MEANINGS, n=1, cutoff=0.6)
    hint = f'did you mean "{near[0]}"?' if near else "docs/attributes.md has the names"
    raise ValueError(f"is no attribute of the relay, without its prefix; {hint}")


check_handler = fits(
    r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
    'is no handler; write the module and the name in it, as in "example_hooks.vip:Handler"',
)
#: The form of a list's name: it stands in rules and in attributes.
LIST_NAME = r"[a-z0-9][a-z0-9_-]{0,31}"
check_list_name = fits(
    LIST_NAME, "is no name of a list; use lower-case letters, digits, - and _, 32 at most, as in [lists.vip]"
)
check_table = fits(
    r"[A-Za-z0-9_.-]{3,255}", "is no table of DynamoDB; it takes 3 to 255 letters, digits, dots, - and _"
)
check_route_name = fits(
    r"[A-Za-z0-9@._*+-]{0,100}",
    "is no name of a route; use letters, digits and @._*+-, 100 at most",
)

check_tenant = fits(
    r"[a-z0-9][a-z0-9._-]{0,31}",
    "is no name of a tenant; use lower-case letters, digits, . _ and -, 32 at most",
)


check_topic = fits(
    r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}",
    'is no topic ARN; write it like "arn:aws:sns:eu-central-1:123456789012:relay"',
)


def check_path(value: Path) -> Path:
    """The path from the root. The working directory of a service is another than a shell's."""
    if not value.is_absolute():
        raise ValueError('is relative; write the whole path, like "/var/lib/relay"')
    return value


#: A file or a folder that the configuration names.
WholePath = Annotated[Path, AfterValidator(check_path)]


def check_include(value: str) -> str:
    """The path of files to include, with wildcards in the name of the file alone."""
    folder, _, name = value.rpartition("/")
    if not name.strip(".") or "\0" in value or any(letter in folder for letter in "*?[") or "**" in name:
        raise ValueError(
            'names no files; write it like "routes.d/*.toml", with "*" in the name of the file alone'
        )
    return value


def check_url(value: str) -> str:
    """The http or https URL, which has a host."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in value):
        raise ValueError('is no web address; write it like "https://alarms.example.com/relay"')
    return value
