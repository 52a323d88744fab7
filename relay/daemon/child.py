"""The life of a child process: how a receiver or the deliverer is started, told what to do, and ended.

A child is forked with the daemon (`forked`), or started as `python -m relay.daemon.receiver FD FD FD...` (or
deliverer): its end of the line, that of a pipe for its stacks, and the listening sockets. Its first message
is the order `Start`, which it answers with `Ready`. It reports `Problem` when the reason that keeps mail out
has changed, `Away` when a service that it asks has gone away or come back, and `Alive` as long as its event
loop turns. It ends at the order `Stop`, or when the line ends.
"""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from relay import telemetry
from relay.config import Config
from relay.config.sentences import show
from relay.daemon.heap import settle, tune_malloc
from relay.daemon.link import Link
from relay.daemon.log_addresses import find_hide
from relay.daemon.messages import (
    Alive,
    AskMetrics,
    Away,
    Metrics,
    Notice,
    Problem,
    Ready,
    Refused,
    Reload,
    Start,
    Stop,
)
from relay.daemon.stacks import write_stacks_to
from relay.errors import ConfigError, SpoolError
from relay.spool.opening import tell_moved
from relay.telemetry.metrics import INTAKE_CLOSED, LOOP_LAG

#: Seconds between two looks at what keeps mail out: sooner than a load balancer asks.
_PROBLEM_SECONDS = 0.25
#: Seconds between two signs of life, until the configuration asks for more.
_ALIVE_SECONDS = 0.5
#: Signs of life in `server.hang_seconds`, so that a late one is no hang.
_SIGNS = 8
#: Seconds between two looks at whether the open spool still has its name.
_PLACE_SECONDS = 2.0


class Half(Protocol):
    """One of the two halves of the relay, as a process runs it."""

    async def start(self, order: Start) -> None:
        """Begin to work."""

    def problem(self) -> str:
        """The reason why no mail can come in now, "" when it can. Cheap: it is asked a few times a second."""

    def notice(self) -> str:
        """A sentence that a person should read, though mail can come in; "" for none. As cheap."""

    def away(self) -> Mapping[str, str]:
        """The services that give no answers about mail, and why. As cheap."""

    def has_moved(self) -> bool:
        """Returns whether another spool lies where the open one was. Blocks: it is asked in a thread."""

    async def reload(self, config: Config) -> None:
        """Adopt another configuration."""

    async def stop(self, seconds: float) -> None:
        """Finish what is under way within so many seconds."""


def descriptors() -> tuple[int, int, list[int]]:
    """The descriptors in this program's arguments: the line, the pipe for the stacks, and the sockets."""
    line, stacks, *sockets = map(int, sys.argv[1:])
    return line, stacks, sockets


def run_child(make: Callable[[], Half], *, line: int, stacks: int) -> int:
    """Run a child process to its end.

    Returns its exit code: 0 after an orderly stop, and 2 when it cannot work with the configuration.
    """
    # The supervisor handles the signals: a Ctrl-C at a terminal reaches the whole group, and must not race
    # it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = socket.socket(fileno=line)
    write_stacks_to(stacks)
    telemetry.queue_log()
    tune_malloc()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_live(make(), end))
    finally:
        telemetry.end_spans()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed (an extra), else that of asyncio."""
    try:
        import uvloop  # noqa: PLC0415 - an extra: present or not
    except ImportError:
        return None
    return uvloop.new_event_loop


def _configure_log(config: Config, name: str) -> None:
    log = config.log
    telemetry.configure(log.format, log.level, process=name, hide=find_hide(config))


async def _live(half: Half, end: socket.socket) -> int:
    link = await Link.open(end)
    config: Config | None = None
    tasks = [asyncio.create_task(_tell_problems(half, link))]
    living = asyncio.create_task(_show_life(link, _ALIVE_SECONDS))
    try:
        async for message in link.messages():
            match message:
                case Start(name=name, config=config):
                    _configure_log(config, name)
                    living.cancel()
                    telemetry.begin_spans(config.otel, process=name, hostname=config.hostname)
                    seconds = min(_ALIVE_SECONDS, config.server.hang_seconds / _SIGNS)
                    living = asyncio.create_task(_show_life(link, seconds))
                    await half.start(message)
                    settle()
                    tasks.append(asyncio.create_task(_watch_place(half, config, link)))
                    link.send(Ready())
                case Reload(name=name, config=config):
                    _configure_log(config, name)
                    await half.reload(config)
                    settle()
                case AskMetrics(ask=ask):
                    link.send(Metrics(ask=ask, text=telemetry.exposition()))
                case Stop():
                    break
    except ConfigError as exc:
        link.send(Refused(sentences=tuple(exc.sentences)))
        return 2
    except SpoolError as exc:
        # An earlier deliverer is still ending, or the disk is away: the supervisor tries again.
        telemetry.child_cannot_work(why=name_spool(exc, config))
        return 1
    finally:
        for task in tasks:
            task.cancel()
        if config is not None:
            await half.stop(config.server.drain_seconds)
        living.cancel()
        link.close()
    return 0


def name_spool(error: SpoolError, config: Config | None) -> str:
    """The sentence of the error, with the key and the folder of the spool where it names no file in it."""
    why = str(error) or type(error).__name__
    if config is None or str(config.data_dir) in why:
        return why
    return f"data_dir = {show(str(config.data_dir))}: {why}"


async def _show_life(link: Link, seconds: float) -> None:
    """Report at intervals that this event loop turns.

    Nothing is sent while the supervisor does not read, so that what waits for it does not grow.
    """
    clock = asyncio.get_running_loop().time
    lags: deque[float] = deque([0.0], maxlen=math.ceil(60.0 / seconds))
    while True:
        if not link.is_behind:
            link.send(Alive())
        LOOP_LAG.set(max(lags))
        due_at = clock() + seconds
        await asyncio.sleep(seconds)
        lags.append(clock() - due_at)


async def _tell_problems(half: Half, link: Link) -> None:
    """Report the reason that keeps mail out, the notice for a person, and the services that are
    away, each time that they change.
    """
    told = noticed = ""
    missed: Mapping[str, str] = {}
    INTAKE_CLOSED.set(0)
    while True:
        await asyncio.sleep(_PROBLEM_SECONDS)
        if (problem := half.problem()) != told:
            told = problem
            telemetry.intake_moved(problem=problem)
            link.send(Problem(why=problem))
        if (notice := half.notice()) != noticed:
            noticed = notice
            link.send(Notice(why=notice))
        if (away := half.away()) != missed:
            missed = away
            link.send(Away(services=away))


async def _watch_place(half: Half, config: Config, link: Link) -> None:
    """Close the line, and so end in good order, when another spool lies where ours was.

    The process that is started instead opens the other spool.
    """
    moved = False
    while not moved:
        await asyncio.sleep(_PLACE_SECONDS)
        moved = await asyncio.to_thread(half.has_moved)
    telemetry.child_cannot_work(why=f"{tell_moved(config)}: begins anew")
    link.close()
