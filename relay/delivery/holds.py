"""The routes that are held for an error of configuration, and their probes, as one runner knows them.

Owns when a held route is probed, and by which of its entries; the holds themselves are in the spool. Never
claims.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from datetime import datetime, timedelta

from relay import telemetry
from relay.config.model import Deliver
from relay.errors import SpoolError
from relay.spool.interface import Outbox


class RouteHolds:
    """The held routes of one runner."""

    def __init__(self, outbox: Outbox, limits: Deliver) -> None:
        self._outbox = outbox
        self._limits = limits
        #: The instant of each held route's next probe.
        self._probe_at: dict[str, datetime] = {}
        #: The probes of each held route that were chosen and not yet claimed.
        self._probes: dict[str, tuple[str, ...]] = {}
        self._read_at: datetime | None = None
        #: Changes of holds in the spool and here, and the reading of holds, happen one at a time.
        self._changing = asyncio.Lock()

    def reload(self, limits: Deliver, *, now: datetime) -> None:
        """Adopt other limits. Held routes are probed at once."""
        self._limits = limits
        self.probe_now(now)

    def probe_now(self, now: datetime) -> None:
        """Probe held routes at once."""
        self._probe_at = dict.fromkeys(self._probe_at, now)

    async def learn(self, now: datetime) -> None:
        """Read the holds in the spool: probe those from before a restart, forget those that were ended."""
        if self._probe_at or self._read_at is None or self._read_at + self._interval <= now:
            async with self._changing:
                held = {hold.route for hold in (await self._outbox.paused()).holds}
                for route in held:
                    self._probe_at.setdefault(route, now)
                for route in self._probe_at.keys() - held:
                    self._forget(route)
            self._read_at = now

    async def find_probes(self, now: datetime) -> list[str]:
        """Choose new probes for each held route whose instant has come.

        Returns all probes that may be claimed as places allow.
        """
        async with self._changing:
            for route in [route for route, at in self._probe_at.items() if at <= now]:
                self._probes[route] = tuple(await self._outbox.find_probes(route))
                self._probe_at[route] = now + self._interval  # also where no entry was found to try
        return [reference for references in self._probes.values() for reference in references]

    def claimed(self, taken: Container[str], *, is_full: bool) -> None:
        """Record which probes were claimed, among other entries.

        If a place is left over (not `is_full`), the others are not due, and are forgotten.
        """
        self._probes = {
            route: tuple(reference for reference in references if reference not in taken)
            for route, references in self._probes.items()
            if is_full
        }

    def next_probe_at(self) -> datetime | None:
        """The instant of the next probe. Returns None where no route is held."""
        return min(self._probe_at.values(), default=None)

    async def hold(self, route: str, *, reason: str, detail: str, now: datetime) -> None:
        """Hold a route for an error of configuration, or learn the new reason of its hold."""
        async with self._changing:
            if await self._outbox.hold_route(route, reason=reason, detail=detail, now=now):
                self._forget(route)  # an operator ended the hold while this attempt went on
                telemetry.route_held(route=route, reason=reason, detail=detail)
            # a failed probe does not delay the other probes
            self._probe_at.setdefault(route, now + self._interval)

    async def resume(self, route: str) -> None:
        """End the hold of a route that works: Connect took a request of it, or refused one for a reason of
        its own.
        """
        if route in self._probe_at:
            async with self._changing:
                # The spool first: if it fails, the hold is still probed.
                await self._outbox.resume_route(route)
                self._forget(route)

    def _forget(self, route: str) -> None:
        self._probes.pop(route, None)
        if self._probe_at.pop(route, None) is not None:
            telemetry.route_resumed(route=route)

    @property
    def _interval(self) -> timedelta:
        return timedelta(seconds=self._limits.probe_seconds)


async def end_unused_holds(outbox: Outbox, routes: Container[str]) -> None:
    """End the holds of routes that the configuration (`routes`, by name) does not have, and no waiting mail
    names: no probe would ever end them.
    """
    try:
        for hold in (await outbox.paused()).holds:
            if hold.route not in routes:
                await outbox.resume_unused(hold.route)
    except SpoolError as exc:  # the next start or reload ends them
        telemetry.spool_failed(where="holds.end_unused", why=str(exc))
