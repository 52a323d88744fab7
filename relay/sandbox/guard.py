"""The guard of the sandbox's page and API against other pages in the same browser.

Owns which requests are answered. The host must be the sandbox itself: a page of a foreign name that DNS leads
here ("DNS rebinding") asks for its own name. Changes must be JSON, which a browser sends to a foreign host
only with its leave.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]*))(?::[0-9]*)?")
_OWN = frozenset({"localhost", "127.0.0.1", "::1"})


def guard_of(bind_host: str) -> Middleware:
    """The middleware of a sandbox that is bound to this address."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        host = parse_host(request.headers.get("Host", ""))
        if host not in _OWN | {bind_host.lower(), _address_of(request)}:
            sentence = "Host names another server; use 127.0.0.1, localhost or the address that --http binds"
            return web.json_response({"error": sentence}, status=403)
        changes = request.method == "POST" or (request.method not in ("GET", "HEAD") and request.body_exists)
        if changes and request.content_type != "application/json":
            sentence = "the body must be JSON: send Content-Type: application/json"
            return web.json_response({"error": sentence}, status=415)
        return await handler(request)

    return guard


def parse_host(value: str) -> str:
    """The host of a Host field without its port and brackets, in lower case (RFC 9110 §7.2); "" where there
    is none.
    """
    found = _HOST.fullmatch(value.lower())
    return (found[1] or found[2]) if found else ""


def _address_of(request: web.Request) -> str:
    """The address that the peer has reached: one of many where the sandbox is bound to all."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if name else ""
