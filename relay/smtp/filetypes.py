"""The look into a mail before the 250, for routes that refuse file types or card numbers.

Owns that look, on those routes only (`disallowed_types = "reject"`, `sensitive = { card = "reject" }`). A
worker of the receiver reads the mail within a few seconds; `relay.contact.refusal` and `relay.contact.redact`
say what it has. Where the worker fails or takes too long, no mail is refused: the delivering half stores such
files, and holds mail with card numbers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from relay.config.discovered import Snapshots
from relay.config.model import Config, Route
from relay.config.remembered import DiscoveredFile
from relay.envelope import Destination
from relay.routes import RouteTable
from relay.spool.raw_file import RawFile
from relay.understand.attendance import Call, GivenUpError
from relay.understand.folder import open_memory
from relay.understand.limits import Allowance
from relay.understand.pool import Pool
from relay.understand.supply import BusyError, Supply


class Refused(NamedTuple):
    """The routes that refuse a mail for what is inside it."""

    #: By the name of a route, the names of the files that it refuses. No route stands here without files.
    files: Mapping[str, tuple[str, ...]]
    #: The routes that refuse the words of the mail.
    words: frozenset[str]


_NOTHING = Refused({}, frozenset())

#: CPU seconds for one mail, and seconds on the clock, the wait for the worker included: its sender waits for
#: the reply.
_CPU_SECONDS = 2
_PATIENCE_SECONDS = 5.0
#: Seconds after which a worker that stands still, or a template that forks none, is ended: well within that
#: time, which cuts the watch over them short.
_SILENT_SECONDS = 2.0


def strict_routes(destinations: Sequence[Destination], routes: RouteTable) -> list[Route]:
    """The routes of these destinations that refuse files or words before the 250."""
    names = dict.fromkeys(destination.route for destination in destinations)
    return [
        route
        for route in map(routes.route, names)
        if route is not None and (route.disallowed_types == "reject" or route.sensitive.rejects)
    ]


class FileLook:
    """The one worker of a receiver, started when a mail first needs it."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._config: Config | None = None
        self._snapshots: Snapshots

    async def find_refused(self, raw: bytes | RawFile, strict: Sequence[Route], config: Config) -> Refused:
        """The routes that refuse the mail. Returns none when all take it, or in doubt.

        Raises:
            SpoolError: a large mail cannot be read back.
        """
        config = await self._learn(config)
        if self._pool is None:
            self._pool = Pool(Supply(config), quick=1, lane=False, silent_seconds=_SILENT_SECONDS)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._ask(self._pool, raw, strict, config)
        except (
            TimeoutError,
            GivenUpError,
            BusyError,
            OSError,
            KeyError,
            TypeError,
        ):  # in doubt, or no answer
            return _NOTHING

    async def _learn(self, config: Config) -> Config:
        """The configuration with the file types that instances have told the deliverer."""
        if not config.connect.discover:
            return config
        if config is not self._config:
            self._config = config
            self._snapshots = Snapshots(config, DiscoveredFile(config.data_dir).load)
        return await asyncio.to_thread(self._snapshots.take)

    async def _ask(
        self, pool: Pool, raw: bytes | RawFile, strict: Sequence[Route], config: Config
    ) -> Refused:
        with ExitStack() as stack:
            handle, size = await asyncio.to_thread(_copy, raw)
            stack.callback(os.close, handle)
            files = open_memory()
            stack.callback(os.close, files)
            call = Call(
                job="refused",
                order={"routes": [route.name for route in strict]},
                raw=handle,
                files=files,
                size=size,
                config=config,
                allowance=Allowance(
                    cpu_seconds=_CPU_SECONDS, memory_bytes=config.understand.memory_bytes, files_bytes=0
                ),
                spool_id="",
            )
            answer = await pool.run(call)
            files = answer["refused"]
            return Refused(
                {route.name: tuple(map(str, files[route.name])) for route in strict if files[route.name]},
                frozenset(map(str, answer["words"])) & {route.name for route in strict},
            )

    async def close(self) -> None:
        """End the worker."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def _copy(raw: bytes | RawFile) -> tuple[int, int]:
    """The descriptor of a copy in memory, and the size of the copy."""
    if isinstance(raw, bytes):
        return open_memory(raw), len(raw)
    with raw.view() as octets:
        return open_memory(octets), len(octets)
