"""The facts that the plan of a contact is made of: the entry's, its route's and those of its conversation.

Owns the task that a worker is given, and the plan of the last rung, which needs no worker. Never sends
anything and changes no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay.config import Config, Route
from relay.contact.limits import THREAD_DAYS
from relay.contact.original import fit_original
from relay.contact.plan import Context, Plan
from relay.routes import RouteTable
from relay.spool.interface import Outbox
from relay.spool.model import Entry
from relay.understand.reading import Task, Thread
from relay.vocabulary import Cause

#: Number of ids of a References header that are looked up for a related contact. The newest count.
_THREAD_IDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A payload to be tried: the entry at a rung, and what was refused before."""

    #: The entry, at the rung to be tried.
    entry: Entry
    #: The names of the files that Connect refused at the rung above.
    refused: frozenset[str] = frozenset()
    #: False at the last rung when it is tried once more without its file.
    attach: bool = True


class Planner:
    """The maker of tasks for workers, under one configuration."""

    def __init__(
        self, *, config: Config, routes: RouteTable, outbox: Outbox, now: Callable[[], datetime]
    ) -> None:
        self._config = config
        self._routes = routes
        self._outbox = outbox
        self._now = now

    def build_task(
        self,
        trial: Trial,
        route: Route,
        mail: tuple[memoryview, int | None],
        sent: Mapping[str, Any] | None,
        *,
        config: Config,
        tags: tuple[str, ...] = (),
    ) -> Task:
        """The task for a worker: the mail (its octets, and the descriptor of its file), its context and its
        rung.

        `sent` is the entry's stored request, if it has one; `config` has the limits of its instance;
        `tags` are the rules for classes and risks that tag a mail.
        """
        entry = trial.entry
        raw, handle = mail
        return Task(
            raw=raw,
            handle=handle,
            context=replace(self._build_context(entry, sent), late_tags=tags),
            route=route,
            config=config,
            rung=entry.rung,
            refused=trial.refused,
            attempts=entry.attempts,
            find_related=partial(self._related, entry=entry) if route.thread != "off" else None,
        )

    async def plan_original(
        self, trial: Trial, route: Route, raw: memoryview, sent: Mapping[str, Any] | None, *, config: Config
    ) -> Plan:
        """The plan of the last rung, made without the parser."""
        entry = trial.entry
        word = await self._outbox.why_original(entry)
        why = Cause(word) if word in set(Cause) else Cause.UNKNOWN
        octets, context = raw[entry.trace_size :], self._build_context(entry, sent)
        return await asyncio.to_thread(
            lambda: fit_original(octets, context, route, config, why=why, attach=trial.attach)
        )

    def _build_context(self, entry: Entry, sent: Mapping[str, Any] | None) -> Context:
        return Context(
            spool_id=entry.spool_id,
            envelope=entry.envelope,
            destination=entry.destination,
            results=entry.results,
            raw_size=entry.size - entry.trace_size,
            is_ours=self._is_ours,
            waited_seconds=self._count_waiting(entry, sent),
            captured=entry.captured,
        )

    def _count_waiting(self, entry: Entry, sent: Mapping[str, Any] | None) -> int:
        """The seconds from the acceptance to this request, or those that the stored request told.

        A request that is made anew under the same token says the same, so that Connect recognises it.
        """
        name = f"{self._config.contact.attribute_prefix}waited_seconds"
        told = str((sent or {}).get("Attributes", {}).get(name))
        waited = (self._now() - entry.accepted_at).total_seconds()
        return int(told) if told.isdecimal() else max(0, round(waited))

    def _is_ours(self, address: str) -> bool:
        return self._config.contact.strip_own_recipients and self._routes.is_ours(address)

    async def _related(self, thread: Thread, *, entry: Entry) -> str | None:
        """Look up the contact that this mail answers. Returns its id if the sender is the same, else None."""
        ids = (*thread.in_reply_to, *reversed(thread.references))[:_THREAD_IDS]
        if not ids:
            return None
        since, instance_id = self._now() - timedelta(days=THREAD_DAYS), entry.destination.instance_id
        return await self._outbox.find_contact(entry, message_ids=ids, since=since, instance_id=instance_id)
