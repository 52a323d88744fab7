"""A list in a table of DynamoDB: asked for each sender, and remembered for a minute.

Owns the memory of its answers, and the rest that a table is given which does not answer. A table that is away
has nobody on it, which the log tells. The client is opened by the first question, because its libraries take
memory that other configurations do not need.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack
from typing import Any

from relay import telemetry
from relay.domains import normalise_address
from relay.errors import ConfigError, RemoteError
from relay.lists.entries import list_candidates
from relay.policy.lists import Listing, Senders

#: Seconds for which an answer counts.
_KEPT_SECONDS = 60.0
#: Addresses that are remembered, of one table.
_MOST_KEPT = 10_000
#: Seconds that a look-up may take a mail, and those that the first of a process may take to open the client.
SECONDS = 5.0
OPEN_SECONDS = 10.0
#: Seconds for which a table that did not answer is not asked.
_REST_SECONDS = 5.0


class TableClient:
    """The client of DynamoDB for all lists of a process."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None

    async def open(self) -> Any:
        """The client, opened by the first call.

        Raises:
            ConfigError: the AWS set-up cannot be used.
        """
        from relay.aws.clients import open_service  # noqa: PLC0415 - 40 MB that only tables need

        async with self._opening:
            if self._client is None:
                self._client = await self._stack.enter_async_context(open_service("dynamodb"))
            return self._client

    async def close(self) -> None:
        """Close the client, if it was opened."""
        await self._stack.aclose()


class ListTable:
    """The list in one table."""

    def __init__(self, name: str, table: str, client: TableClient) -> None:
        self.name = name
        self.table = table
        self._client = client
        #: By address, whether it is on the list, and until when that counts; the oldest first.
        self._kept: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._rests_until = 0.0
        self._is_away = False

    async def find(self, senders: Senders) -> Listing | None:
        """The listing of these senders. Returns None where none is on the list, or the table is away."""
        wanted = {*senders.authors, *([senders.reverse_path] if senders.reverse_path else [])}
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._client.open()
            async with asyncio.timeout(SECONDS):
                holds = dict(zip(wanted, await asyncio.gather(*map(self._ask, wanted)), strict=True))
        except (RemoteError, ConfigError, TimeoutError) as exc:
            self._rests_until = asyncio.get_running_loop().time() + _REST_SECONDS
            self._tell(str(exc) or "no answer in time")
            return None
        author = any(holds[each] for each in senders.authors)
        sender = bool(senders.reverse_path and holds[senders.reverse_path])
        return Listing(name=self.name, author=author, sender=sender) if author or sender else None

    async def _ask(self, address: str) -> bool:
        """Returns whether the list has an entry that names this address."""
        now = asyncio.get_running_loop().time()
        key = normalise_address(address)
        known, until = self._kept.get(key, (False, 0.0))
        if until > now or self._rests_until > now:
            return known and until > now
        from relay.aws.tables import find_entries  # noqa: PLC0415 - see TableClient

        candidates = list_candidates(address)
        client = await self._client.open()
        found = await find_entries(client, self.table, candidates, seconds=SECONDS) if candidates else ()
        self._kept[key] = (bool(found), now + _KEPT_SECONDS)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        self._tell("")
        return bool(found)

    def _tell(self, why: str) -> None:
        """Tell once that the table is away, and once that it answers again."""
        if bool(why) is not self._is_away:
            self._is_away = bool(why)
            telemetry.list_moved(name=self.name, why=why)
