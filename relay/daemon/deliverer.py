"""The deliverer process: the runner, the clients of S3 and Connect, and the spool that both work on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from random import Random

from relay import telemetry
from relay.alarms.sender import AlarmMemory, AlarmSender
from relay.alarms.watch import Watch
from relay.aws.clients import Clients, open_clients
from relay.aws.credentials import ChainCredentials
from relay.aws.errors import remote_call
from relay.config import Config
from relay.config.remembered import DiscoveredFile
from relay.daemon.action_log import tell_actions
from relay.daemon.child import descriptors, run_child
from relay.daemon.messages import Start
from relay.daemon.reach import ReachWatch
from relay.delivery.attempt import Delivery
from relay.delivery.discovery import Discovery
from relay.delivery.holds import end_unused_holds
from relay.delivery.refused_templates import RefusedTemplates
from relay.delivery.runner import Runner
from relay.delivery.ways import Ways
from relay.errors import RemoteError, SpoolError
from relay.events.feed import EventFeed
from relay.spool.clock import TRUST, tell_step
from relay.spool.interface import Outbox
from relay.spool.model import DayCount, PolicyCount
from relay.spool.opening import open_desk, open_outbox
from relay.telemetry.metrics import begin_deliverer
from relay.timing import is_set_within, utc_now
from relay.understand.forked import ForkedTemplate
from relay.understand.reading import WorkerReading, open_reading

#: Seconds between two looks at the credentials: while they can be had, and while they cannot.
_LOOK_SECONDS = 60.0
#: Seconds between two writes of the policy's counts, and counts that wait while the spool fails.
_COUNT_SECONDS = 60.0
_MOST_COUNTS = 10_000
_AGAIN_SECONDS = 2.0


class Deliverer:
    """The delivering half."""

    def __init__(self, template: ForkedTemplate | None = None) -> None:
        self._config: Config
        self._stack = AsyncExitStack()
        self._template = template
        self._outbox: Outbox | None = None
        self._clients: Clients | None = None
        self._reading: WorkerReading | None = None
        self._templates = RefusedTemplates()
        self._discovery: Discovery | None = None
        self._discovering: asyncio.Task[None] | None = None
        self._runner: Runner | None = None
        self._watch: Watch | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    async def start(self, order: Start) -> None:
        """Take back the entries that a dead deliverer left leased, then deliver."""
        config = self._config = order.config
        begin_deliverer(route.name for route in config.routes)
        self._outbox = open_outbox(config)
        now = self._outbox.now()
        recovered = await self._outbox.recover(now=now, blame=order.after_crash, hung=order.after_hang)
        if recovered:
            telemetry.spool_recovered(entries=recovered)
        await end_unused_holds(self._outbox, {route.name for route in config.routes})
        self._clients = await self._stack.enter_async_context(open_clients(config))
        self._reading = await self._stack.enter_async_context(open_reading(config, self._template))
        self._discovery = Discovery(
            config, find_client=self._clients.abroad.find, file=DiscoveredFile(config.data_dir)
        )
        self._discovering = asyncio.create_task(self._discovery.run())
        self._discovering.add_done_callback(_must_not_fail)
        await self._discovery.wait_first()
        self._runner = Runner(
            outbox=self._outbox,
            delivery=self._delivery(config),
            wake=self._stack.enter_context(self._outbox.open_wake()),
            limits=config.deliver,
            now=self._outbox.now,
            wall=utc_now,
            steady=time.monotonic,
            rng=Random(),  # noqa: S311 - spreads retries; not a secret
        )
        self._watch = self._open_watch(
            config, self._outbox, self._clients, self._runner, missing=self._discovery.missing
        )
        self._tasks = [
            asyncio.create_task(self._runner.run()),
            asyncio.create_task(self._watch.run()),
            asyncio.create_task(self._count(self._outbox)),
            asyncio.create_task(tell_actions(self._outbox, self._stopped)),
            asyncio.create_task(self._open_feed(self._outbox).run()),
            asyncio.create_task(self._watch_credentials(self._runner, self._clients.credentials)),
            asyncio.create_task(self._open_reach(self._outbox, self._clients, self._runner).run()),
        ]
        for task in self._tasks:
            task.add_done_callback(_must_not_fail)

    def _open_watch(
        self,
        config: Config,
        outbox: Outbox,
        clients: Clients,
        runner: Runner,
        *,
        missing: Callable[[], Mapping[str, str]],
    ) -> Watch:
        desk = open_desk(config)
        self._stack.callback(desk.close)
        return Watch(
            config=config,
            outbox=outbox,
            desk=desk,
            sender=AlarmSender(config.alarms, hostname=config.hostname, now=utc_now, sns=clients.sns),
            memory=AlarmMemory(outbox),
            now=outbox.now,
            wait=partial(is_set_within, self._stopped),
            away=lambda: runner.away,
            templates=lambda: self._templates.known,
            missing=missing,
        )

    def _open_feed(self, outbox: Outbox) -> EventFeed:
        return EventFeed(
            lambda: self._config,
            outbox,
            wall=utc_now,
            steady=time.monotonic,
            wait=partial(is_set_within, self._stopped),
        )

    def _open_reach(self, outbox: Outbox, clients: Clients, runner: Runner) -> ReachWatch:
        return ReachWatch(
            lambda: self._config,
            outbox,
            runner.services.reached,
            find_client=clients.abroad.find,
            steady=time.monotonic,
            wait=partial(is_set_within, self._stopped),
        )

    async def _count(self, outbox: Outbox) -> None:
        """Write the counts of days to the spool once a minute, and at the end."""
        counts: list[PolicyCount | DayCount] = []
        stopped = False
        while not stopped:
            stopped = await is_set_within(self._stopped, _COUNT_SECONDS)
            counts += [PolicyCount(*key, mails) for key, mails in telemetry.take_counts()]
            counts += telemetry.take_day_counts()
            try:
                if counts:
                    await outbox.add_counts(counts)
            except SpoolError as exc:  # they wait for the next minute, as long as they are few
                telemetry.spool_failed(where="deliverer.counts", why=str(exc))
                counts = counts[-_MOST_COUNTS:]
            else:
                counts = []

    async def _watch_credentials(self, runner: Runner, credentials: ChainCredentials) -> None:
        """Ask for credentials at intervals, mail or not, so that an outage of theirs is told and ended.

        It stops nothing else.
        """
        pause = 0.0
        while not await is_set_within(self._stopped, pause):
            why = ""
            try:
                async with remote_call("aws", timeout_seconds=_LOOK_SECONDS):
                    await credentials.get_frozen_credentials()
            except RemoteError as exc:
                why = exc.detail
            await runner.services.heed_credentials(why)
            pause = _AGAIN_SECONDS if why else _LOOK_SECONDS

    def _delivery(self, config: Config) -> Delivery:
        assert self._clients is not None
        assert self._outbox is not None
        assert self._reading is not None
        assert self._discovery is not None
        return Delivery(
            config=config,
            outbox=self._outbox,
            ways=Ways(config=config, clients=self._clients, clock=asyncio.get_running_loop().time),
            understanding=self._reading,
            now=self._outbox.now,
            wall=utc_now,
            templates=self._templates,
            discovered=self._discovery.found,
        )

    def problem(self) -> str:
        """The reason why no mail should come in: the spool takes no writes, which is found out here even
        without mail. "" if none.
        """
        return "the spool cannot be written" if self._watch and self._watch.is_sick else ""

    def notice(self) -> str:
        """The sentence about a step of the wall clock that is doubted; "" for none."""
        step = self._watch.clock_step_seconds if self._watch else 0.0
        return f"{tell_step(step)} ({TRUST})" if step else ""

    def away(self) -> Mapping[str, str]:
        """Always none: the watch has the alarms of the services that deliveries need."""
        return {}

    def has_moved(self) -> bool:
        """Returns whether another spool lies where the open one was."""
        return self._outbox is not None and self._outbox.has_moved()

    async def reload(self, config: Config) -> None:
        """Adopt a configuration from the next entry and the next look on.

        Endpoints and credentials stay until a restart.
        """
        if self._runner and self._watch and self._discovery and self._outbox:
            await end_unused_holds(self._outbox, {route.name for route in config.routes})
            self._config = config
            self._templates.clear()
            self._discovery.reload(config)
            self._runner.reload(self._delivery(config), config.deliver)
            self._watch.reload(config)

    async def stop(self, seconds: float) -> None:
        """Let running attempts end.

        Entries whose attempts do not end in time are delivered after the next start.
        """
        self._stopped.set()
        if self._discovering:
            self._discovering.cancel()  # nothing waits for an answer of Connect any more
            await asyncio.wait({self._discovering})
        if self._runner:
            await self._runner.stop(seconds)
        for task in self._tasks:
            await task
        await self._stack.aclose()
        if self._outbox:
            await self._outbox.close()


def _must_not_fail(task: asyncio.Task[None]) -> None:
    """End the process when the runner's loop has ended by an exception, so that the supervisor starts a new
    one.
    """
    if not task.cancelled() and (exc := task.exception()):
        asyncio.get_running_loop().call_soon(_raise, exc)


def _raise(exc: BaseException) -> None:
    raise SystemExit(f"deliverer: {exc!r}")


def main(line: int, stacks: int, _sockets: Sequence[int], template: ForkedTemplate | None = None) -> int:
    """The life of the deliverer. Returns its exit code."""
    return run_child(partial(Deliverer, template), line=line, stacks=stacks)


if __name__ == "__main__":
    sys.exit(main(*descriptors()))
