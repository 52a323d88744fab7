"""Alarms of hung children, sent by the supervisor: the deliverer, which sends all other alarms, may be the
one that hangs.

Owns the supervisor's way out to the webhook and the SNS topic. It is opened with the first alarm, so a
supervisor whose children never hang loads nothing of AWS. The log line, the metric and `/readyz` do not wait
for it.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from relay import telemetry
from relay.alarms.model import Alarm
from relay.config import Config
from relay.errors import ConfigError, RemoteError
from relay.timing import utc_now
from relay.vocabulary import AlarmKind

if TYPE_CHECKING:
    from relay.alarms.sender import AlarmSender

#: Time-out for credentials and clients: a webhook must not wait for a metadata service that is away.
_OPEN_SECONDS = 10.0


class HangAlarms:
    """The sender of alarms of one supervisor."""

    def __init__(self, config: Config) -> None:
        self._config = config
        #: Children that an alarm was raised for which has not ended.
        self._raised: set[str] = set()
        self._waiting: list[Alarm] = []
        self._sender: AlarmSender | None = None
        self._stack = AsyncExitStack()
        self._telling: asyncio.Task[None] | None = None

    def reload(self, config: Config) -> None:
        """Adopt a configuration from the next alarm on.

        A topic that is new in it needs a restart, once alarms were sent.
        """
        self._config = config
        if self._sender:
            self._sender.reload(config.alarms, hostname=config.hostname)

    def tell_hang(self, name: str, detail: str) -> None:
        """Raise the alarm that a child hangs, without waiting for it to be taken."""
        self._raised.add(name)
        self.tell(Alarm(kind=AlarmKind.HUNG, raised=True, detail=detail, subject=name))

    def tell_return(self, name: str) -> None:
        """End the alarm of a child that works again, if one was raised."""
        if name in self._raised:
            self._raised.discard(name)
            self.tell(Alarm(kind=AlarmKind.HUNG, raised=False, detail=f"{name} works again", subject=name))

    async def close(self) -> None:
        """Try once more to send what waits, in ten seconds at most."""
        if self._telling:
            await asyncio.wait({self._telling}, timeout=_OPEN_SECONDS)
        if self._sender:
            await self._sender.close()
        await self._stack.aclose()

    def tell(self, alarm: Alarm) -> None:
        """Send an alarm, without waiting for it to be taken."""
        self._waiting.append(alarm)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._run())

    async def _run(self) -> None:
        if self._sender is None:
            self._sender = await self._open()
        while self._waiting:
            self._sender.tell(self._waiting.pop(0))

    async def _open(self) -> AlarmSender:
        alarms: Any = await asyncio.to_thread(importlib.import_module, "relay.alarms.sender")
        config = self._config
        sender: AlarmSender = alarms.AlarmSender(
            config.alarms, hostname=config.hostname, now=utc_now, sns=await self._open_sns()
        )
        return sender

    async def _open_sns(self) -> Any:
        """The client of SNS where a topic is named.

        Returns None where there is none, or the client cannot be made now.
        """
        if not self._config.alarms.sns_topic_arn:
            return None
        aws: Any = await asyncio.to_thread(importlib.import_module, "relay.aws.clients")
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                clients = await self._stack.enter_async_context(aws.open_clients(self._config))
        except (ConfigError, RemoteError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
            telemetry.alarm_untold(to="sns", why=why, kind=AlarmKind.HUNG, given_up=True)
            return None
        return clients.sns
