"""The sandbox's HTTP: the JSON API, and the page for a person.

Owns `/api/contacts`, `/api/chaos` (design §5.4) and what the page asks for. Never changes a contact. Everything that
a mail brought is shown escaped, its HTML in a frame without scripts, its files as downloads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from relay.sandbox.service import Sandbox

#: How long `GET /api/contacts` waits for attachments that are being fetched, so that what it shows is whole.
SETTLE_SECONDS = 2.0


class Api:
    """The JSON API."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/api/contacts", self.contacts)
        app.router.add_delete("/api/contacts", self.clear)
        app.router.add_get("/api/chaos", self.chaos)
        app.router.add_post("/api/chaos", self.set_chaos)
        app.router.add_delete("/api/chaos", self.end_chaos)
        app.router.add_get("/api/env", self.env)

    async def contacts(self, request: web.Request) -> web.StreamResponse:
        """Oldest first; `?since=` a contact id or an instant, `?limit=` so many."""
        await self._box.settle(SETTLE_SECONDS)
        try:
            limit = int(request.query["limit"]) if "limit" in request.query else None
            chosen = self._box.book.select(since=request.query.get("since", ""), limit=limit)
        except ValueError as exc:
            return _bad(f"since takes a contact id or an instant, limit a number: {exc}")
        answer = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        await answer.prepare(request)
        separator = "["
        for contact in chosen:  # one at a time: fifty thousand of them would be a string of 200 MB
            await answer.write((separator + contact.to_json()).encode("utf-8"))
            separator = ",\n"
        await answer.write(b"]" if separator != "[" else b"[]")
        await answer.write_eof()
        return answer

    async def clear(self, _request: web.Request) -> web.Response:
        """Forget contacts and tokens."""
        self._box.book.clear()
        return web.json_response([])

    async def chaos(self, _request: web.Request) -> web.Response:
        """The faults in force."""
        return web.json_response(self._box.chaos())

    async def set_chaos(self, request: web.Request) -> web.Response:
        """Set faults; see `relay.sandbox.chaos`."""
        try:
            return web.json_response(await self._box.set_chaos(await request.json()))
        except ValueError as exc:
            return _bad(str(exc))

    async def end_chaos(self, _request: web.Request) -> web.Response:
        """End all faults."""
        return web.json_response(await self._box.set_chaos({}))

    async def env(self, _request: web.Request) -> web.Response:
        """The variables that point other AWS clients here."""
        return web.json_response(self._box.env)


def _bad(sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=400)


def build_page(box: Sandbox) -> web.Application:
    """The whole HTTP of the sandbox."""
    app = web.Application(client_max_size=1024 * 1024)
    Api(box).add_to(app)
    return app
