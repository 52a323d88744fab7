"""The sandbox's JSON API: contacts and faults, for programs (docs/sandbox.md).

Owns `/api/…`. Never changes a contact; the page for people is in `page`.
"""

from __future__ import annotations

import json

from aiohttp import web

from relay.sandbox.view import SandboxView

#: Time for which `GET /api/contacts` waits for attachments that are being fetched, so that its answer is
#: whole.
SETTLE_SECONDS = 2.0
#: Size of the pieces in which a long list is written: fifty thousand contacts would be a string of 200 MB.
_PIECE_BYTES = 262_144


class Api:
    """The handlers of the API."""

    def __init__(self, box: SandboxView) -> None:
        self._box = box

    def routes(self) -> list[web.RouteDef]:
        """The addresses of the API with their handlers."""
        return [
            web.get("/api/contacts", self.contacts),
            web.delete("/api/contacts", self.clear),
            web.get("/api/contacts/{contact_id}", self.contact),
            web.get("/api/chaos", self.chaos),
            web.post("/api/chaos", self.set_chaos),
            web.delete("/api/chaos", self.end_chaos),
            web.get("/api/env", self.env),
        ]

    async def contacts(self, request: web.Request) -> web.StreamResponse:
        """Answer with the contacts, oldest first: `?since=` a contact id or an instant, `?limit=` at most so
        many.
        """
        await self._box.settle(SETTLE_SECONDS)
        try:
            limit = int(request.query["limit"]) if "limit" in request.query else None
            chosen = self._box.book.select(since=request.query.get("since", ""), limit=limit)
        except ValueError as exc:
            return _bad(f"since takes a contact id or an instant, limit a number: {exc}")
        answer = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        await answer.prepare(request)
        piece = "["
        for number, contact in enumerate(chosen):
            piece += (",\n" if number else "") + contact.to_json()
            if len(piece) > _PIECE_BYTES:
                await answer.write(piece.encode("utf-8"))
                piece = ""
        await answer.write(f"{piece}]".encode())
        await answer.write_eof()
        return answer

    async def contact(self, request: web.Request) -> web.Response:
        """Answer with one contact in the form of the list."""
        await self._box.settle(SETTLE_SECONDS)
        contact = self._box.book.get(request.match_info["contact_id"])
        if contact is None:
            return web.json_response({"error": "there is no such contact"}, status=404)
        return web.json_response(text=contact.to_json())

    async def clear(self, _request: web.Request) -> web.Response:
        """Forget contacts and client tokens."""
        self._box.book.clear()
        return web.json_response([])

    async def chaos(self, _request: web.Request) -> web.Response:
        """Answer with the faults in force."""
        return web.json_response(self._box.chaos())

    async def set_chaos(self, request: web.Request) -> web.Response:
        """Set faults; `relay.sandbox.chaos` reads the document."""
        try:
            return web.json_response(await self._box.set_chaos(await request.json()))
        except json.JSONDecodeError as exc:
            return _bad(f"the document is no JSON: {exc}")
        except ValueError as exc:
            return _bad(str(exc))

    async def end_chaos(self, _request: web.Request) -> web.Response:
        """End all faults."""
        return web.json_response(await self._box.set_chaos({}))

    async def env(self, _request: web.Request) -> web.Response:
        """Answer with the variables that point other AWS clients at this sandbox."""
        return web.json_response(self._box.env)


def _bad(sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=400)
