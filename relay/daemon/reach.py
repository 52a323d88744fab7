"""The way to Connect of a node that shares its spool: other nodes are told whether it is reached from here.

Owns when that is looked at, and the question where no delivery shows it. Any answer counts. Never decides who
delivers: the spool does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from relay import telemetry
from relay.aws.instance import describe_files
from relay.config.connect import Instance
from relay.config.model import Config
from relay.delivery.reach import Reached
from relay.errors import ConfigError, RemoteError
from relay.spool.interface import Outbox

#: Seconds between two looks; a leader that is cut off is seen by others within two.
_LOOK_SECONDS = 30.0


class ReachWatch:
    """The watch over the way to Connect; one in each deliverer, at work only where the spool is shared."""

    def __init__(
        self,
        config: Callable[[], Config],
        outbox: Outbox,
        reached: Reached,
        *,
        find_client: Callable[[Instance], Awaitable[Any]],
        steady: Callable[[], float],
        wait: Callable[[float], Awaitable[bool]],
    ) -> None:
        """`config` is asked anew at each look; `wait` returns True when the process ends."""
        self._config = config
        self._outbox = outbox
        self._reached = reached
        self._find_client = find_client
        self._steady = steady
        self._wait = wait

    async def run(self) -> None:
        """Look again and again until `wait` returns True."""
        if not self._outbox.is_shared():
            return
        while True:
            await self.look()
            if await self._wait(_LOOK_SECONDS):
                return

    async def look(self) -> None:
        """Look once, and tell the others."""
        now = self._steady()
        unknown = self._reached.tell(now=now).is_reached is None
        if self._reached.is_doubted(now=now) or (unknown and await self._outbox.wants_reach()):
            await self._ask()
        await self._outbox.note_reach(self._reached.tell(now=self._steady()))

    async def _ask(self) -> None:
        """Ask one instance after the other until one answers, whatever it says."""
        config, begun_at = self._config(), self._steady()
        for name in config.list_instances():
            try:
                client = await self._find_client(config.connect.find(name))
                await describe_files(client, name)
            except ConfigError as exc:
                telemetry.instance_unread(
                    instance_id=name, action="reach", code="configuration", detail=str(exc)
                )
                continue
            except RemoteError as exc:
                if exc.code == "credentials":
                    return  # it was not asked
                if exc.is_cut_off:
                    continue
            self._reached.answered(now=self._steady())
            return
        self._reached.failed(begun_at=begun_at, now=self._steady())
