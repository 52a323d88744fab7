"""The host that a request names (RFC 9110 §7.2).

Owns the guard against a page of a foreign name that DNS leads to this machine ("DNS rebinding"): its requests
name its own host.
"""

from __future__ import annotations

import re

from aiohttp import web

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]*))(?::[0-9]*)?")
_OWN = frozenset({"localhost", "127.0.0.1", "::1"})


def parse_host(value: str) -> str:
    """The host of a Host field without its port and brackets, in lower case; "" where there is none."""
    found = _HOST.fullmatch(value.lower())
    return (found[1] or found[2]) if found else ""


def is_own_host(request: web.Request, bind_host: str) -> bool:
    """Returns whether a request names this machine: loopback, the bound address, or the one reached."""
    return parse_host(request.headers.get("Host", "")) in _OWN | {bind_host.lower(), _address_of(request)}


def _address_of(request: web.Request) -> str:
    """The address that the peer has reached: one of many where the page is bound to all."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if name else ""
