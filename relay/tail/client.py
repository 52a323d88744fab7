"""The reader's end of transcripts: the events of all receivers of a daemon, as they come.

Owns the connections to the receivers' sockets, which are looked for at intervals: a receiver that is started
again, or later, is found, and the reader goes on. Never writes anything but what it wants.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from relay.config.data_dir import TAIL
from relay.tail.event import LINE_CHARACTERS, SessionEvent, decode
from relay.tail.sockets import connect, find_sockets
from relay.tail.wanted import EVERYTHING, Wanted, encode
from relay.timing import is_set_within

#: Seconds between two looks for receivers.
POLL_SECONDS = 0.5
#: Events that wait here for whoever iterates; past them the sockets are not read.
_MOST_WAITING = 1_000
#: Seconds in which a receiver that is not hung answers.
_ANSWER_SECONDS = 2.0
#: Octets of one event: each character of a line may be written as six, and the rest is short.
_EVENT_BYTES = 8 * LINE_CHARACTERS + 4_096


class Tail:
    """The events of all receivers: iterate over it. The iteration has no end of its own."""

    def __init__(self, data_dir: Path, wanted: Wanted) -> None:
        self._folder = data_dir / TAIL
        self._asks = encode(wanted)
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue(_MOST_WAITING)
        self._reading: dict[str, asyncio.Task[None]] = {}
        #: The names of the receivers that tell this reader now.
        self.receivers: set[str] = set()

    def __aiter__(self) -> Tail:
        """The tail itself."""
        return self

    async def __anext__(self) -> SessionEvent:
        """The next event, whenever it comes."""
        return await self._events.get()

    async def look(self) -> None:
        """Connect to each receiver that is not read from yet.

        Raises:
            PermissionError: the folder of the sockets, or one of them, is not for this user.
        """
        for path in await asyncio.to_thread(_find, self._folder):
            task = self._reading.get(path.name)
            if task is not None and not task.done():
                continue
            try:
                sock = connect(path)
            except PermissionError:
                raise
            except OSError:
                continue  # left by a receiver that died, or as busy as can be: the next look asks again
            reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_EVENT_BYTES)
            writer.write(self._asks)
            heard = asyncio.Event()
            self._reading[path.name] = asyncio.create_task(self._read(path.name, reader, writer, heard))
            await is_set_within(heard, _ANSWER_SECONDS)

    async def _read(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event
    ) -> None:
        """Read the events of one receiver until it ends. Its first line, which may be empty, says that it
        has `heard` what is wanted.
        """
        try:
            while line := await reader.readline():
                self.receivers.add(name)
                heard.set()
                with suppress(ValueError):  # of another version: what cannot be read is not shown
                    await self._events.put(decode(line))
        except (OSError, ValueError):  # ValueError: a line over the limit
            pass
        finally:
            heard.set()
            self.receivers.discard(name)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)


def _find(folder: Path) -> list[Path]:
    try:
        return find_sockets(folder)
    except FileNotFoundError:
        return []  # no receiver has run here yet


async def _look_on(tail: Tail) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        with suppress(OSError):
            await tail.look()


@asynccontextmanager
async def open_tail(data_dir: Path, wanted: Wanted = EVERYTHING) -> AsyncIterator[Tail]:
    """Read the events of the sessions that are wanted, of each receiver that runs on this `data_dir`, now or
    later. When it is open, each receiver that runs now tells its events.

        async with open_tail(config.data_dir) as tail:
            async for event in tail: ...

    Raises:
        PermissionError: transcripts are for the daemon's own user and root.
    """
    tail = Tail(data_dir, wanted)
    looking: asyncio.Task[None] | None = None
    try:
        await tail.look()
        looking = asyncio.create_task(_look_on(tail))
        yield tail
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await tail.close()
