"""The store of a fleet's spool: one table and the objects beside it, as one process asks them.

Owns the clients, which are opened by the first question, and what an answer means to the spool: every failure
of AWS is a `SpoolSickError`, since nothing is known of what was asked; a failed condition is known for our
own success by the operation's name in the item (`op`). Never decides what is written.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from relay.aws.database import Action, Answer, Database, Delete, Put, Reason, Update
from relay.aws.meter import Meter
from relay.aws.objects import Objects
from relay.config.model import Config
from relay.errors import ConfigError, RemoteError, SpoolSickError
from relay.spool.fleet import tables
from relay.spool.fleet.clock import FleetClock
from relay.timing import Clocks

#: Seconds for which a change is tried again that met another one of the same item; most meet one, once.
CONFLICT_SECONDS = 10.0
#: The longest of the random pauses between two such tries.
_MOST_PAUSE_SECONDS = 0.8
#: The reasons of a cancelled transaction, and errors of a single change, that pass by themselves.
_PASSING = frozenset(
    {
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def new_op() -> str:
    """The name of an operation, as no other has it."""
    return uuid.uuid4().hex


@contextmanager
def failures_told() -> Iterator[None]:
    """A block in which what AWS refuses or does not answer is a `SpoolSickError`."""
    try:
        yield
    except RemoteError as exc:
        raise SpoolSickError(f"fleet: {exc}") from exc


class Store:
    """The store as one process has it."""

    def __init__(self, config: Config, *, clocks: Clocks) -> None:
        self.table = config.fleet.table
        self.prefix = config.fleet.prefix
        self.node = config.fleet.node or config.hostname
        #: For how long a guard forbids a retransmission.
        self.window_seconds = int(config.spool.duplicate_window_hours * 3_600)
        self.clock = FleetClock(clocks)
        self.meter = Meter()
        self._config = config
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._parts: tuple[Database, Objects] | None = None
        self._closed = False

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[tuple[Database, Objects]]:
        """The table and the objects, for questions; failures are told as ours.

        Raises:
            SpoolSickError: a question failed, or there are no usable clients.
        """
        if self._parts is None:
            async with self._opening:
                if self._parts is None:
                    self._parts = await self._open()
        with failures_told():
            yield self._parts

    async def _open(self) -> tuple[Database, Objects]:
        from relay.aws.clients import open_fleet  # noqa: PLC0415 - 40 MB that only a fleet needs

        if self._closed:
            raise SpoolSickError("the spool is closed")
        try:
            tables_client, s3 = await self._stack.enter_async_context(open_fleet(self._config))
        except ConfigError as exc:
            raise SpoolSickError(f"fleet: {exc}") from exc
        database = Database(
            tables_client,
            self.table,
            keys=(tables.PARTITION, tables.SORT),
            steady=self.clock.steady,
            heed=self._heed,
        )
        return database, Objects(s3, self._config.s3.bucket, count=self.meter.add)

    def _heed(self, operation: str, answer: Mapping[str, Any], asked_at: int) -> None:
        self.meter.add(operation, answer)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.clock.heed(headers.get("date"), asked_at=asked_at)

    async def change(
        self, action: Put | Update | Delete, *, op: str = "", seconds: float | None = None
    ) -> Answer:
        """Make one change if its condition holds, or if it was made by this operation already.

        Raises:
            SpoolSickError: nobody knows whether it is made.
        """
        more = {} if seconds is None else {"seconds": seconds}
        deadline = asyncio.get_running_loop().time() + (seconds or CONFLICT_SECONDS)
        for turn in range(1_000):
            async with self.asked() as (database, _):
                try:
                    answer = await database.change(action, **more)
                except RemoteError as exc:
                    if exc.code not in _PASSING or not await _pause(turn, deadline):
                        raise
                    continue
            if not answer.done and op and answer.item is not None and answer.item.get("op") == op:
                return Answer(done=True, item=answer.item)
            return answer
        raise AssertionError("unreachable")

    async def transact(
        self, actions: Sequence[Action], *, seconds: float = CONFLICT_SECONDS
    ) -> Sequence[Reason]:
        """Make all changes or none; what passes by itself is tried again. Returns the reasons of the actions
        if none is made because a condition failed.

        Raises:
            SpoolSickError: nobody knows whether they are made.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        token, turn = new_op(), 0
        while True:
            async with self.asked() as (database, _):
                reasons = await database.transact(actions, token=token)
            if not reasons or any(reason.code == "ConditionalCheckFailed" for reason in reasons):
                return reasons
            codes = sorted({reason.code for reason in reasons} - {"None"})
            if not _PASSING.issuperset(codes):
                raise SpoolSickError(f"fleet: a transaction was cancelled: {', '.join(codes)}")
            # A cancelled transaction is over: the next is another one, and so is its token.
            token, turn = new_op(), turn + 1
            if not await _pause(turn, deadline):
                raise SpoolSickError(f"fleet: no transaction came through: {', '.join(codes)}")

    async def close(self) -> None:
        """Close the clients; harmless when called twice."""
        self._closed = True
        self._parts = None
        await self._stack.aclose()


async def _pause(turn: int, deadline: float) -> bool:
    """Wait for a random time that grows with the turns. Returns whether there is time for another try."""
    seconds = random.uniform(0, min(0.05 * 2**turn, _MOST_PAUSE_SECONDS))  # noqa: S311 - spreads tries
    if asyncio.get_running_loop().time() + seconds >= deadline:
        return False
    await asyncio.sleep(seconds)
    return True
