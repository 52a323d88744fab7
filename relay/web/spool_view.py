"""The page's view of a real spool (`PageView`), whichever backend keeps it.

Owns how the questions of the page become questions to a `Desk`: in threads, bounded in time and number, and
safe against whatever mail brought. The daemon may run in another process, or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.config import Config
from relay.spool.desk import Desk
from relay.spool.opening import open_desk
from relay.web.actions import change, note_reading
from relay.web.contents import Contents
from relay.web.desks import Desks
from relay.web.documents import withhold_words
from relay.web.mail import read_mail
from relay.web.rows import build_page, build_query
from relay.web.status import read_status
from relay.web.view import Acted, Action, File, MailView, PageView, Query, ReadPart, RowPage, Status
from relay.web.words import NOT_HERE, add_words, find_file

#: Questions that are asked at once: a search may take half a second, and others go on beside it.
_QUESTIONS = 3
#: Seconds for which a caller waits for a change, and between two looks at least.
_WAIT_SECONDS = 15.0
_LOOK_SECONDS = 0.4
#: Seconds for which the routes of the spool are remembered: to find them costs a walk over all entries.
_ROUTES_SECONDS = 60.0
#: Seconds for which a reading is not noted again: one look at a mail asks for its words several times.
_NOTED_SECONDS = 600.0
_MOST_NOTED = 10_000


class SpoolView(PageView):
    """The `PageView` of the spool that a configuration names."""

    def __init__(self, config: Config, *, open_one: Callable[[Config], Desk] = open_desk) -> None:
        self._config = config
        self._desks = Desks(lambda: open_one(config), most=_QUESTIONS)
        #: The one desk whose marks are compared, and the last look of it.
        self._contents = Contents(config)
        self._watcher = Desks(lambda: open_one(config), most=1)
        self._look: asyncio.Task[str] | None = None
        self._looked_at = float("-inf")
        self._look_seconds = _LOOK_SECONDS
        #: The readings of the last minutes, each with the instant until which it is not noted again.
        self._noted: dict[tuple[str, ReadPart, str], float] = {}
        self._routes: Sequence[str] = ()
        self._routes_until = float("-inf")

    async def status(self) -> Status:
        """The status strip."""
        return await self._desks.ask(lambda desk: read_status(desk, self._config))

    async def list(self, query: Query) -> RowPage:
        """The rows that fit."""
        wanted = build_query(query)
        if query.tenant:
            wanted = replace(wanted, routes=self._config.list_tenants().get(query.tenant, ()))
        return await self._desks.ask(lambda desk: build_page(desk.page(wanted), since=query.since))

    async def routes(self) -> Sequence[str]:
        """The names of routes for the filter: those of the configuration, and those of the spool."""
        now = asyncio.get_running_loop().time()
        if now >= self._routes_until:
            self._routes = await self._desks.ask(lambda desk: desk.routes())
            self._routes_until = now + _ROUTES_SECONDS
        return tuple(sorted({*(route.name for route in self._config.routes), *self._routes}))

    async def mail(self, reference: str, *, content: bool) -> MailView | None:
        """One entry with all that is known of it."""
        found = await self._desks.ask(lambda desk: read_mail(desk, reference))
        if found is None:
            return None
        listed, view = found
        if not content:
            return replace(view, no_content=NOT_HERE, request=withhold_words(view.request))
        return await add_words(self._desks, self._contents, listed, view)

    async def original(self, reference: str) -> bytes | None:
        """The raw mail as received, with our trace header."""
        return await self._desks.ask(lambda desk: desk.export(reference))

    async def file(self, reference: str, number: int) -> tuple[File, bytes] | None:
        """One file of the original, decoded."""
        found = await self._desks.ask(lambda desk: read_mail(desk, reference))
        if found is None:
            return None
        listed, view = found
        return await find_file(self._desks, self._contents, listed, view.files, number)

    async def note_reading(self, reference: str, part: ReadPart, *, reader: str) -> None:
        """Record in the audit that somebody reads words of this entry."""
        now = asyncio.get_running_loop().time()
        read = (reference, part, reader)
        if now >= self._noted.get(read, float("-inf")):
            await self._desks.ask(lambda desk: note_reading(desk, reference, part, reader=reader))
            self._noted[read] = now + _NOTED_SECONDS
            if len(self._noted) > _MOST_NOTED:
                del self._noted[next(iter(self._noted))]

    async def wait(self, seen: str) -> str:
        """Wait until the spool differs from what the mark `seen` stands for. Returns the present mark."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _WAIT_SECONDS
        mark = await self._mark()
        seen = seen or mark
        while mark == seen and (left := ends - loop.time()) > 0:
            await asyncio.sleep(min(left, self._look_seconds))
            mark = await self._mark()
        return mark

    async def _mark(self) -> str:
        """The present mark; all who wait share one look."""
        now = asyncio.get_running_loop().time()
        if self._look is None or (self._look.done() and now - self._looked_at >= self._look_seconds / 2):
            self._looked_at = now
            self._look = asyncio.create_task(self._watcher.ask(self._read_mark))
        version = await asyncio.shield(self._look)
        return f"{self._watcher.opened}.{version}"

    def _read_mark(self, desk: Desk) -> str:
        self._look_seconds = max(desk.look_seconds(), _LOOK_SECONDS)
        return desk.version()

    async def act(
        self,
        action: Action,
        references: Sequence[str],
        *,
        actor: str,
        reason: str,
    ) -> Acted:
        """Change entries as the command of that name does; nobody agrees to a second contact here."""
        return await self._desks.ask(
            lambda desk: change(desk, action, references, actor=actor, reason=reason)
        )

    async def close(self) -> None:
        """Wait for what is under way, and close the spool."""
        await self._contents.close()
        await self._desks.close()
        await self._watcher.close()
