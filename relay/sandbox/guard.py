"""The guard of the sandbox's page and API against other pages in the same browser.

Owns which requests are answered. The host must be the sandbox itself (`relay.web.hosts`). Changes by the API
must be JSON, which a browser sends to a foreign host only with its leave; the forms of the page carry a word
of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from relay.web.hosts import is_own_host

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard_of(bind_host: str) -> Middleware:
    """The middleware of a sandbox that is bound to this address."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not is_own_host(request, bind_host):
            sentence = "Host names another server; use 127.0.0.1, localhost or the address that --http binds"
            return web.json_response({"error": sentence}, status=403)
        changes = request.method == "POST" or (request.method not in ("GET", "HEAD") and request.body_exists)
        is_page = not request.path.startswith("/api/")
        if changes and not is_page and request.content_type != "application/json":
            sentence = "the body must be JSON: send Content-Type: application/json"
            return web.json_response({"error": sentence}, status=415)
        return await handler(request)

    return guard
