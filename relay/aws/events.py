"""The edge to EventBridge: PutEvents.

Owns the client of a bus, and the proof that each event was taken: an entry of the answer without an EventId
was not. Never retries: the feed does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from relay.aws.clients import open_service
from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import unproven
from relay.errors import RemoteError

SOURCE = "connect-mail-relay"
#: The most entries of one call (EventBridge API, PutEvents).
MOST_ENTRIES = 10
_SECONDS = 10.0


class BusEvent(NamedTuple):
    """An event as a bus takes it."""

    kind: str
    at: datetime
    #: The document, as JSON.
    detail: str


class Bus:
    """One bus of EventBridge."""

    def __init__(self, bus: Any, name: str) -> None:
        """`bus` is a client of EventBridge."""
        self._bus = bus
        self._name = name

    async def put(self, events: Sequence[BusEvent]) -> list[str]:
        """Put at most ten events. Returns for each why it was not taken; "" if it was."""
        entries = [
            {
                "EventBusName": self._name,
                "Source": SOURCE,
                "DetailType": f"Mail {event.kind}",
                "Time": event.at,
                "Detail": event.detail,
            }
            for event in events
        ]
        try:
            async with remote_call("events", timeout_seconds=_SECONDS):
                with readable_answer("events"):
                    answer = await self._bus.put_events(Entries=entries)
                    return _read_answer(answer, len(entries))
        except RemoteError as exc:
            return [f"{exc.code}: {exc.detail}"] * len(events)


def _read_answer(answer: Mapping[str, Any], count: int) -> list[str]:
    """The fate of each entry.

    Raises:
        RemoteError: the answer is about other entries.
    """
    found = answer.get("Entries")
    if not isinstance(found, list) or len(found) != count:
        raise unproven("events", f"the answer is not about {count} events")
    return ["" if each.get("EventId") else str(each.get("ErrorCode") or "no EventId") for each in found]


@asynccontextmanager
async def open_bus(name: str) -> AsyncIterator[Bus]:
    """Open a bus, and close its client at the end.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    async with open_service("events") as client:
        yield Bus(client, name)
