"""The page of a fleet in the sandbox: its nodes, each with a button that kills it or starts it again."""

from __future__ import annotations

import asyncio

from aiohttp import web

from relay.web.extras import Extras
from relay.web.forms import read_form
from relay.web.responses import page
from relay.web.shell import ANSWER_SECONDS, Shell


class NodePages:
    """The handlers of that page."""

    def __init__(self, shell: Shell, extras: Extras) -> None:
        self._shell = shell
        self._extras = extras

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        return [web.get("/nodes", self.nodes), web.post("/nodes", self.change)]

    async def nodes(self, request: web.Request) -> web.Response:
        """Answer with the nodes."""
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await self._extras.nodes()
        return page("nodes.html", {**await self._shell.values(request), "nodes": rows})

    async def change(self, request: web.Request) -> web.Response:
        """Kill the node of the form, or start it."""
        fields = await read_form(self._shell, request)
        try:
            said = await self._extras.change_node(
                fields.get("node", ""), "kill" if "kill" in fields else "start"
            )
        except ValueError as exc:
            raise web.HTTPBadRequest(text=str(exc)) from exc
        raise web.HTTPSeeOther(f"/nodes?said={self._shell.notes.keep(said)}")
