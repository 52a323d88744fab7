"""The list of mails, the status strip, and the marks of change that keep both current."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from relay.web.events import MOST_LISTENERS, Marks
from relay.web.responses import page
from relay.web.shell import ANSWER_SECONDS, Shell, caller_of, query_of

#: The time between signs of life, below the half minute after which proxies close a quiet connection.
_BEAT_SECONDS: Final = 15.0
#: The life of a listener: a person who may not look any more is found out at the next one.
_LISTEN_SECONDS: Final = 600.0


class ListPages:
    """The handlers of the list."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.marks = Marks(shell.view)

    def routes(self) -> list[web.AbstractRouteDef]:
        """The addresses with their handlers."""
        return [
            web.get("/", self.home),
            web.get("/rows", self.rows),
            web.get("/strip", self.strip),
            web.get("/events", self.events, allow_head=False),  # a HEAD would listen
        ]

    async def home(self, request: web.Request) -> web.Response:
        """Answer with the strip and the list."""
        return page("list.html", await self._shell.values(request, query_of(request)))

    async def rows(self, request: web.Request) -> web.Response:
        """Answer with rows alone, for a list that goes on or is brought up to date."""
        query = query_of(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            listed = await self._shell.view.list(query)
        return page("rows.html", self._shell.list_values(request, query, listed))

    async def strip(self, _request: web.Request) -> web.Response:
        """Answer with the strip alone."""
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await self._shell.view.status()
        return page("strip.html", await self._shell.strip_values(status))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Answer with a mark for each change, until the listener goes.

        Raises:
            web.HTTPServiceUnavailable: as many listen as may.
        """
        caller_of(request)
        if self.marks.listeners >= MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MOST_LISTENERS} pages are open already; this one asks again by itself.",
                headers={"Retry-After": "10"},
            )
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would keep the marks back
            }
        )
        async with self.marks.listening():
            await answer.prepare(request)
            await self._tell(answer)
        return answer

    async def _tell(self, answer: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + _LISTEN_SECONDS
        seen = self.marks.count
        try:
            await answer.write(b"retry: 3000\n\n")
            while loop.time() < end and not self.marks.closed:
                count = await self.marks.after(seen, _BEAT_SECONDS)
                await answer.write(b"event: changed\ndata: %d\n\n" % count if count > seen else b": here\n\n")
                seen = count
        except ConnectionError:
            return  # the listener has gone
