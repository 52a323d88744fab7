"""The look-up of a mail's senders in all lists of a configuration, within a limit of time.

Owns how long a list is asked. A list that cannot be asked has nobody on it, which the log tells; no mail
waits for it longer than its limit, and none is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from relay import telemetry
from relay.config.model import Config
from relay.lists.file import STILL_SECONDS, ListFile
from relay.lists.table import OPEN_SECONDS, SECONDS, ListTable, TableClient
from relay.message.author import find_authors
from relay.policy.lists import Listing, Senders

#: Seconds between two looks at the files.
_LOOK_SECONDS = 0.5
#: Seconds that a look at all files may take a mail: a file system may hang.
_FILES_SECONDS = 1.0
#: Octets of authors that are read on the event loop; more go to a thread.
_SMALL_BYTES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of a mail about its sender, as they came."""

    #: The bodies of its From fields, still folded.
    authors: tuple[bytes, ...]
    reverse_path: str | None

    def read(self) -> Senders:
        """The addresses that are looked up."""
        return Senders(authors=find_authors(self.authors), reverse_path=self.reverse_path)


class Lists:
    """All lists of one configuration, for one process."""

    def __init__(self, config: Config, *, earlier: Lists | None = None, quiet: bool = False) -> None:
        """Take over what `earlier` lists have read of the same files."""
        self.sources = config.lists
        files = earlier.files if earlier is not None else []
        known = {(file.name, file.path): file for file in files}
        self.files: list[ListFile] = [
            known.get((name, source.file)) or ListFile(name, source.file, quiet=quiet)
            for name, source in config.lists.items()
            if source.file is not None
        ]
        self.client: TableClient = earlier.client if earlier is not None else TableClient()
        tables = {
            (table.name, table.table): table for table in (earlier.tables if earlier is not None else [])
        }
        self.tables: list[ListTable] = [
            tables.get((name, source.dynamodb)) or ListTable(name, source.dynamodb, self.client)
            for name, source in config.lists.items()
            if source.dynamodb is not None
        ]
        self._looked_at: float | None = None
        self._looking: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def seconds(self) -> float:
        """The most that a look-up takes."""
        return _FILES_SECONDS + (OPEN_SECONDS + SECONDS if self.tables else 0)

    async def close(self) -> None:
        """Close the client of the tables, and look at no file any more."""
        if self._again is not None:
            self._again.cancel()
        await self.client.close()

    async def find(self, claims: Claims) -> tuple[Senders, tuple[Listing, ...]]:
        """The senders of a mail, and the lists that they are on, in the order of the configuration."""
        small = sum(map(len, claims.authors)) <= _SMALL_BYTES
        senders = claims.read() if small else await asyncio.to_thread(claims.read)
        asked = asyncio.gather(*(table.find(senders) for table in self.tables))
        if self.files:
            await self.refresh()
        found = {each.name: each for each in self._find_in_files(senders)}
        found |= {each.name: each for each in await asked if each is not None}
        return senders, tuple(found[name] for name in self.sources if name in found)

    def find_now(self, claims: Claims) -> tuple[Senders, tuple[Listing, ...]]:
        """The same from the files as they were read last."""
        senders = claims.read()
        return senders, self._find_in_files(senders)

    def _find_in_files(self, senders: Senders) -> tuple[Listing, ...]:
        found = (match(file.name, senders, file.holds) for file in self.files)
        return tuple(each for each in found if each is not None)

    async def refresh(self) -> None:
        """Have changed files read, at most every half second. A file system that hangs is not waited for."""
        now = asyncio.get_running_loop().time()
        if self._looked_at is None or now - self._looked_at >= _LOOK_SECONDS:
            self._begin_look()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=_FILES_SECONDS)

    def _begin_look(self) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
            self._looking.add_done_callback(self._looked)

    def _look_again(self) -> None:
        """Look at a file that may have been half written, though no mail comes."""
        self._again = None
        self._begin_look()

    def _look(self) -> None:
        for file in self.files:
            file.refresh()

    def _looked(self, task: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        self._looking, self._looked_at = None, loop.time()
        if self._again is None and any(file.is_unfinished for file in self.files):
            self._again = loop.call_later(STILL_SECONDS, self._look_again)
        if not task.cancelled() and (error := task.exception()) is not None:
            telemetry.fault_caught(where="lists.look", error=repr(error))


def match(name: str, senders: Senders, holds: Callable[[str], bool]) -> Listing | None:
    """The listing of these senders on one list. Returns None where none of them is on it."""
    author = any(holds(each) for each in senders.authors)
    sender = senders.reverse_path is not None and holds(senders.reverse_path)
    return Listing(name=name, author=author, sender=sender) if author or sender else None


def build_lists(config: Config, earlier: Lists | None = None) -> Lists | None:
    """The lists of a configuration, which take over from `earlier` ones. Returns None without any."""
    return Lists(config, earlier=earlier) if config.lists else None


def read_files(config: Config) -> Lists | None:
    """The lists for a command, whose files have been read. Returns None where there are none. Blocks."""
    if not config.lists:
        return None
    lists = Lists(config, quiet=True)
    for file in lists.files:
        file.refresh()
    return lists
