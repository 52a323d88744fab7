"""The supervisor: binds the sockets, starts the children, restarts those that crash, hands on signals.

Owns the processes of the daemon. It holds no mail and talks to no peer, so little can end it. If it ends all
the same, its children see their line close and stop in order.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Literal

import relay
from relay import telemetry
from relay.config.included import Loaded, remember
from relay.config.listener import list_places
from relay.config.load import check_files, load_all
from relay.daemon import systemd
from relay.daemon.calm_alarms import CalmAlarms
from relay.daemon.forked import Forked, fork_children
from relay.daemon.hang_alarms import HangAlarms
from relay.daemon.heap import tune_malloc
from relay.daemon.log_addresses import find_hide
from relay.daemon.metric_lines import MetricLines
from relay.daemon.process import ChildProcess
from relay.daemon.sockets import name_of, open_all
from relay.daemon.vigil import Vigil
from relay.daemon.web_keeper import WebKeeper
from relay.errors import ConfigError
from relay.telemetry.metrics import name_tenants
from relay.timing import is_set_within
from relay.vocabulary import PLACES_TAKEN

Role = Literal["all", "receive", "deliver"]

#: Pauses before a child is started again that has ended in its first seconds, by the number of such ends in a
#: row.
_RESTART_SECONDS = (0.2, 1.0, 2.0, 5.0, 10.0)
_HEALTHY_SECONDS = 30.0
#: Pause after a child could not even be started.
_RETRY_SECONDS = 2.0
#: Seconds between two reloads at least: each costs every child a look at all routes, and its memory put in
#: order. What is asked for meanwhile is done once, with the newest file.
_RELOAD_SECONDS = 1.0
#: Keys that are read at a start only, because all processes must agree on them: a child that crashed would
#: come back with another spool than its siblings'.
_FIXED = ("listeners", "data_dir", "server", "spool", "admin", "otel")
#: Seconds that a child may need beyond its drain time to close its spool before it is killed.
_GRACE_SECONDS = 10.0
#: Time-out for a child's metrics: Prometheus gives up after ten seconds. A child that is busy for longer is
#: left out.
_METRICS_SECONDS = 3.0


class Supervisor:
    """The processes of one `relay serve`."""

    def __init__(self, loaded: Loaded, *, config_path: str | None, role: Role) -> None:
        self._config = config = loaded.config
        self._loaded = loaded
        self._config_path = config_path
        self._role = role
        self._receivers = config.server.receivers or os.cpu_count() or 1
        self._sockets: dict[int, list[socket.socket]] = {}
        self._children: dict[str, ChildProcess] = {}
        self._forked: dict[str, Forked] = {}
        self._stopping = asyncio.Event()
        #: Set by SIGHUP, until the configuration is read again.
        self._reload_wanted = asyncio.Event()
        self._up: dict[str, asyncio.Event] = {}
        self._refused: tuple[str, ...] = ()
        self._alarms = HangAlarms(config)
        self._calm_alarms = CalmAlarms(self._alarms.tell)
        self._web = WebKeeper(config)
        self._showing: list[asyncio.Task[None]] = []
        self._metric_lines = MetricLines(config=lambda: self._config, metrics=self._metrics)
        self._vigil = Vigil(
            hang_seconds=config.server.hang_seconds,
            patience_seconds=self._patience,
            on_hang=self._alarms.tell_hang,
        )

    def fork(self) -> None:
        """Fork the first children, before `run`. They do not return from here.

        What several of them need is imported before that, once.
        """
        if self._role != "deliver":
            importlib.import_module("relay.daemon.receiver")
        if self._role == "all" and self._config.admin.bind:
            importlib.import_module("relay.daemon.admin")  # for aiohttp, which the deliverer needs, too
        self._forked = fork_children(self._names())

    async def run(self) -> int:
        """Start the children, keep them running, and stop them at SIGTERM or SIGINT.

        Returns the exit code: 2 when a child refused the configuration.
        """
        begun = time.monotonic()
        config = self._config
        telemetry.queue_log()
        telemetry.configure(config.log.format, config.log.level, process="supervisor", hide=find_hide(config))
        telemetry.daemon_started(
            role=self._role,
            hostname=config.hostname,
            data_dir=str(config.data_dir),
            version=relay.__version__,
        )
        self._remember_files()
        self._handle_signals()
        try:
            if self._role != "deliver":
                self._sockets = await open_all(config, systemd.inherited_sockets(), stopping=self._stopping)
            names = self._names()
            self._up = {name: asyncio.Event() for name in names}
            await self._until_stopped(names)
        finally:
            while self._forked:  # no listener, or stopped before they had any work
                await self._forked.popitem()[1].abandon()
        telemetry.daemon_stopped(seconds=time.monotonic() - begun)
        if self._refused:
            raise ConfigError(*self._refused)
        return 0

    async def _until_stopped(self, names: list[str]) -> None:
        keepers = [asyncio.create_task(self._keep(name)) for name in names]
        async with AsyncExitStack() as stack:
            await self._open_admin(stack)
            announcing = asyncio.create_task(self._announce())
            telling = asyncio.create_task(self._tell_metrics())
            reloading = asyncio.create_task(self._heed_reloads())
            stopping = asyncio.create_task(self._stopping.wait())
            watching = asyncio.create_task(self._vigil.run())
            await asyncio.wait({stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # a supervisor that cannot watch its children ends, and so do they
            watching.cancel()
            announcing.cancel()
            telling.cancel()
            reloading.cancel()
            systemd.notify("STOPPING=1")
            self._web.stop()
            await self._stop()
            await asyncio.gather(*keepers, *self._showing)
            self._calm_alarms.close()
            await self._alarms.close()

    async def _open_admin(self, stack: AsyncExitStack) -> None:
        """Serve health and metrics from before readiness is reported until after the last child has stopped.

        Where they were not imported before the fork, it is done in a thread while the children start: the
        pages bring aiohttp, for which no peer should wait.
        """
        if not self._config.admin.bind:
            return
        admin = await asyncio.to_thread(importlib.import_module, "relay.daemon.admin")
        app = admin.build_application(problems=self._problems, notices=self._notices, metrics=self._metrics)
        try:
            for bind in await stack.enter_async_context(admin.open_admin(self._config.admin.bind, app)):
                telemetry.admin_opened(bind=bind)
        except ConfigError as exc:
            telemetry.admin_refused(why=str(exc))  # mail matters more than its metrics

    def _problems(self) -> tuple[str, ...]:
        """The reasons why mail should not be sent here now."""
        if self._stopping.is_set():
            return ("stopping",)
        hung = tuple(self._vigil.problems())
        down = [name for name, up in self._up.items() if not (up.is_set() or self._vigil.has_hung(name))]
        kept_out = {name: child.problem for name, child in self._children.items() if name not in down}
        return (
            *hung,
            *(f"{name} is not up" for name in down),
            *(f"{name}: {problem}" for name, problem in kept_out.items() if problem),
        )

    def _notices(self) -> tuple[str, ...]:
        """The sentences that a person should read, though mail can come in."""
        return tuple(f"{name}: {child.notice}" for name, child in self._children.items() if child.notice)

    async def _metrics(self) -> Mapping[str, str]:
        """The metrics of every child that answers in time, and those of the supervisor."""
        children = dict(self._children)
        texts, page = await asyncio.gather(
            asyncio.gather(*(child.metrics(_METRICS_SECONDS) for child in children.values())),
            self._web.metrics(_METRICS_SECONDS),
        )
        return {"supervisor": telemetry.exposition(), **dict(zip(children, texts, strict=True)), **page}

    def _names(self) -> list[str]:
        names = [f"receiver-{number}" for number in range(self._receivers)] if self._role != "deliver" else []
        return [*names, "deliverer"] if self._role != "receive" else names

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._stopping.set,
            signal.SIGINT: self._stopping.set,
            signal.SIGHUP: self._reload_wanted.set,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)

    async def _heed_reloads(self) -> None:
        """Reload once for all signals that came since the last reload began, and pause after it."""
        while await self._reload_wanted.wait():
            self._reload_wanted.clear()
            asyncio.get_running_loop().call_soon(self._reload)  # a fault of it must not end this loop
            await asyncio.sleep(_RELOAD_SECONDS)

    def _reload(self) -> None:
        """Read the configuration and give it to all children; or keep the old one and log the
        reasons.
        """
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")
        try:
            loaded = load_all(self._config_path, remembered=self._loaded.texts, checked=True)
            if sentences := check_files(loaded.config):
                raise ConfigError(*sentences)  # noqa: TRY301 - the same fate as what load_all finds
        except ConfigError as exc:
            telemetry.config_reloaded(sentences=exc.sentences)
        else:
            self._go_on_by(loaded)
        systemd.notify("READY=1")

    def _remember_files(self) -> None:
        """Keep the included files that are in force, for a start with a broken one."""
        telemetry.config_files_kept(sentences=self._loaded.kept)
        name_tenants(self._config.list_tenants())
        if not remember(self._config.data_dir, self._loaded.texts):
            telemetry.spool_failed(where="config.included", why="included.json cannot be written")

    def _go_on_by(self, loaded: Loaded) -> None:
        config = loaded.config
        if changed := [key for key in _FIXED if getattr(config, key) != getattr(self._config, key)]:
            telemetry.config_reloaded(
                sentences=[f"{key}: a change here needs a restart; nothing was reloaded" for key in changed]
            )
            return
        self._config, self._loaded = config, loaded
        self._remember_files()
        self._alarms.reload(config)
        self._web.reload(config)
        for child in self._children.values():
            child.reload(config)
        telemetry.config_reloaded()

    async def _keep(self, name: str) -> None:
        """Run a child, and run it again when it ends, until the daemon stops."""
        crashes = 0
        # A child that never worked, because it waits for another's lock, say, has cut no delivery short.
        has_worked = has_hung = False
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                child = await self._start(name, after_crash=has_worked, after_hang=has_hung)
            except OSError as exc:  # no memory or file handle, which may pass
                where = f" ({exc.filename})" if exc.filename else ""
                telemetry.child_cannot_work(child=name, why=f"not started: {exc.strerror or exc}{where}")
                await is_set_within(self._stopping, _RETRY_SECONDS)
                continue
            code = await child.wait()
            telemetry.child_ended(
                name=name, pid=child.pid, code=code, expected=self._stopping.is_set() and code == 0
            )
            has_worked = has_worked or self._up[name].is_set()
            has_hung = self._vigil.has_hung(name)
            if child.last_stacks:
                telemetry.child_stacks(name=name, pid=child.pid, why="it crashed", stacks=child.last_stacks)
            if child.refused:
                self._weigh_refusal(name, child.refused, has_worked=has_worked)
            if self._stopping.is_set():
                return
            self._up[name].clear()
            crashes = 1 if time.monotonic() - begun > _HEALTHY_SECONDS else crashes + 1
            pause = _RESTART_SECONDS[min(crashes, len(_RESTART_SECONDS)) - 1]
            await is_set_within(self._stopping, pause)

    async def _start(self, name: str, *, after_crash: bool, after_hang: bool) -> ChildProcess:
        """Start a child with the present configuration, and send it a later one that came
        during the start.
        """
        config = self._config
        child = await ChildProcess.start(
            name,
            config,
            self._sockets if name != "deliverer" else {},
            after_crash=after_crash,
            after_hang=after_hang,
            receivers=self._receivers,
            on_ready=partial(self._works, name),
            forked=self._forked.pop(name, None),
        )
        self._children[name] = child
        child.on_report = self._weigh_reports
        self._vigil.watch(name, child)
        telemetry.child_started(name=name, pid=child.pid)
        if self._config is not config:
            child.reload(self._config)
        if self._stopping.is_set():  # `_stop` has run meanwhile, and knew only the child before this one
            await child.stop(self._patience)
        return child

    def _works(self, name: str) -> None:
        """Note that a child has said that it works."""
        self._up[name].set()
        self._alarms.tell_return(name)
        self._weigh_reports()

    def _weigh_reports(self) -> None:
        """Raise or end the alarms about what receivers report: all places taken, a service that is away."""
        children = self._children.values()
        self._calm_alarms.see(
            full=any(child.problem == PLACES_TAKEN for child in children),
            away=[child.away for child in children],
        )

    def _weigh_refusal(self, name: str, sentences: tuple[str, ...], *, has_worked: bool) -> None:
        """Stop the daemon for a configuration that never worked.

        Later the cause is a file or a role that is away for a while.
        """
        if has_worked:
            telemetry.child_cannot_work(child=name, why="; ".join(sentences))
        else:
            self._refused = sentences
            self._stopping.set()

    async def _announce(self) -> None:
        """Report readiness once every child has said that it works, and from then on that the
        daemon lives.
        """
        for up in self._up.values():
            await up.wait()
        binds: list[str] = []
        places = list_places(self._config.listeners)
        for number, sockets in self._sockets.items():
            listener = places[number].listener
            for sock in sockets:
                binds.append(bind := name_of(sock))
                telemetry.listener_opened(
                    bind=bind, role=listener.role, protocol=listener.protocol, tls=listener.tls
                )
        telemetry.daemon_ready()
        if self._role != "receive":  # the page starts when all others work
            self._showing = [asyncio.create_task(self._web.run())]
        systemd.notify("READY=1\n" + (systemd.LISTENING + " ".join(binds) if binds else "STATUS=delivers"))
        await self._watchdog()

    async def _tell_metrics(self) -> None:
        """Write the metrics to the log once a minute, where they are asked for, once every child works."""
        for up in self._up.values():
            await up.wait()
        await self._metric_lines.run()

    async def _watchdog(self) -> None:
        """Report to systemd that the daemon lives, while this loop turns and no child that was ended stays
        away.
        """
        if (seconds := systemd.watchdog_seconds()) is None:
            return
        while True:
            if self._vigil.is_well:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    async def _stop(self) -> None:
        """Stop in the direction of flow: listeners, receivers, then the deliverer."""
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()
        receivers = [child for name, child in self._children.items() if name != "deliverer"]
        await asyncio.gather(*(child.stop(self._patience) for child in receivers))
        if deliverer := self._children.get("deliverer"):
            await deliverer.stop(self._patience)

    @property
    def _patience(self) -> float:
        """The seconds that a child may take to stop."""
        return self._config.server.drain_seconds + _GRACE_SECONDS


def serve(loaded: Loaded, *, config_path: str | None, role: Role = "all") -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code. `config_path` is read again at SIGHUP.

    Raises:
        ConfigError: a listener cannot be opened.
    """
    supervisor = Supervisor(loaded, config_path=config_path, role=role)
    supervisor.fork()
    tune_malloc()  # each child by itself: the workers that read mail keep what the library does
    return asyncio.run(supervisor.run())
