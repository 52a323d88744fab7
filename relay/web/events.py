"""The marks of change that an open page hears of (server-sent events of the HTML standard, §9.2).

Owns one watch of the spool for all listeners, so that many open pages cost as much as one. Never tells what
has changed: a page asks for what it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from relay.errors import SpoolError
from relay.web.view import PageView

#: Pages that may listen at once; each has a connection. The next one asks again later.
MOST_LISTENERS: Final = 32
#: The least time between two marks: a page that shows a thousand changes a second helps nobody.
_PACE_SECONDS: Final = 1.0
#: The time after which a spool that could not be read is asked again.
_SICK_SECONDS: Final = 5.0


class Marks:
    """The changes of a spool, counted while somebody listens."""

    def __init__(self, view: PageView) -> None:
        self._view = view
        self._watch: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self.count = 0
        self.listeners = 0
        self.closed = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Watch the spool within this context, together with all others in one."""
        self.listeners += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.listeners -= 1
            if not self.listeners and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def after(self, seen: int, timeout_seconds: float) -> int:
        """Wait until there are more changes than `seen`, so long at most. Returns their number."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: self.count > seen or self.closed)
        except TimeoutError:
            pass
        return self.count

    async def close(self) -> None:
        """End all waiting; the page stops."""
        self.closed = True
        async with self._changed:
            self._changed.notify_all()

    async def _run(self) -> None:
        mark, sick = "", False
        while True:
            try:
                found = await self._view.wait(mark)
            except SpoolError:
                # The page shows the sentence once, and the mails again when they can be read.
                if not sick:
                    await self._tell()
                sick = True
                await asyncio.sleep(_SICK_SECONDS)
                continue
            # The first look ends by a change, or after a while without: it cannot tell which.
            if sick or found != mark:
                await self._tell()
            mark, sick = found, False
            await asyncio.sleep(_PACE_SECONDS)

    async def _tell(self) -> None:
        async with self._changed:
            self.count += 1
            self._changed.notify_all()
