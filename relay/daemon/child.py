"""What a receiver and the deliverer have in common: how they are told, and how they end.

A child is started as `python -m relay.daemon.receiver FD FD` (or deliverer), with its end of the line and of a pipe for
its stacks. It hears {"do": "start", "name", "config", "sockets"} first, answers {"said": "ready"}, says {"said": "problem",
"why"} when what keeps mail out has changed, {"said": "alive"} as long as its loop turns, and stops at {"do": "stop"} or
when the line ends.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay import telemetry
from relay.config import Config
from relay.daemon.link import Link
from relay.daemon.stacks import write_stacks_to
from relay.errors import ConfigError, SpoolError
from relay.telemetry import processes
from relay.telemetry.metrics import INTAKE_CLOSED

#: Between two looks at what keeps mail out: sooner than a load balancer asks.
_PROBLEM_SECONDS = 0.25
#: Between two signs of life, until the configuration asks for more.
_ALIVE_SECONDS = 0.5
#: Signs of life in `server.hang_seconds`: a late one is no hang.
_SIGNS = 8
#: Between two looks at whether the spool that is open still has its name.
_PLACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a child is told first."""

    config: Config
    #: Descriptors of listening sockets by index of listener.
    sockets: Mapping[int, Sequence[int]]
    #: A process in this place has worked before, and ended by itself while the supervisor lived.
    after_crash: bool
    #: It hung, and the supervisor ended it.
    after_hang: bool
    #: Which receiver this is, and of how many.
    index: int
    receivers: int


class Half(Protocol):
    """One of the two halves of the relay, as a process runs it."""

    async def start(self, order: Order) -> None:
        """Begin to work."""

    def problem(self) -> str:
        """Why no mail can come in now; "" when it can. Cheap: it is asked a few times a second."""

    def has_moved(self) -> bool:
        """Whether another spool has come to lie where the one that is open was. Blocks: asked in a thread."""

    async def reload(self, config: Config) -> None:
        """Go on by another configuration."""

    async def stop(self, seconds: float) -> None:
        """Finish what is under way, within so many seconds."""


def run_child(make: Callable[[], Half]) -> None:
    """The whole life of a child process; exits 0 after an orderly stop, 2 when the configuration will not do."""
    # The supervisor has the signals: a Ctrl-C at a terminal reaches the whole group, and must not race it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    write_stacks_to(int(sys.argv[2]))
    processes.queue_log()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        sys.exit(runner.run(_live(make(), end)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed (an extra), else that of asyncio."""
    try:
        import uvloop  # noqa: PLC0415 - an extra: present or not
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _live(half: Half, end: socket.socket) -> int:
    link = await Link.open(end)
    config: Config | None = None
    tasks = [asyncio.create_task(_tell_problems(half, link))]
    living = asyncio.create_task(_show_life(link, _ALIVE_SECONDS))
    try:
        async for words in link.hear():
            match words["do"]:
                case "start":
                    config = Config.model_validate(words["config"])
                    telemetry.configure(config.log.format, config.log.level, process=words["name"])
                    living.cancel()
                    seconds = min(_ALIVE_SECONDS, config.server.hang_seconds / _SIGNS)
                    living = asyncio.create_task(_show_life(link, seconds))
                    await half.start(_order(config, words))
                    tasks.append(asyncio.create_task(_watch_place(half, config, link)))
                    link.say(said="ready")
                case "reload":
                    config = Config.model_validate(words["config"])
                    telemetry.configure(config.log.format, config.log.level, process=words["name"])
                    await half.reload(config)
                case "metrics":
                    link.say(said="metrics", ask=words["ask"], text=telemetry.exposition())
                case "stop":
                    break
    except ConfigError as exc:
        link.say(said="refused", sentences=exc.sentences)
        return 2
    except SpoolError as exc:
        # Another deliverer still ends, or the disk is away: the supervisor tries again.
        processes.child_cannot_work(why=str(exc))
        return 1
    finally:
        for task in tasks:
            task.cancel()
        if config is not None:
            await half.stop(config.server.drain_seconds)
        living.cancel()
        link.close()
    return 0


async def _show_life(link: Link, seconds: float) -> None:
    """Say again and again that this loop turns; not while the supervisor does not listen, or what waits for it would grow."""
    while True:
        if not link.is_behind:
            link.say(said="alive")
        await asyncio.sleep(seconds)


async def _tell_problems(half: Half, link: Link) -> None:
    """Say what keeps mail out each time that it changes."""
    told = ""
    INTAKE_CLOSED.set(0)
    while True:
        await asyncio.sleep(_PROBLEM_SECONDS)
        if (problem := half.problem()) != told:
            told = problem
            telemetry.intake_moved(problem=problem)
            link.say(said="problem", why=problem)


async def _watch_place(half: Half, config: Config, link: Link) -> None:
    """Hang up, and so end in good order, when another spool has come to lie where ours was: a new process opens it whole."""
    moved = False
    while not moved:
        await asyncio.sleep(_PLACE_SECONDS)
        moved = await asyncio.to_thread(half.has_moved)
    processes.child_cannot_work(why=f"another spool lies in {config.data_dir} than was opened: begins anew")
    link.close()


def _order(config: Config, words: Mapping[str, Any]) -> Order:
    sockets = {int(index): tuple(descriptors) for index, descriptors in words["sockets"].items()}
    return Order(
        config=config,
        sockets=sockets,
        after_crash=words["after_crash"],
        after_hang=words["after_hang"],
        index=words["index"],
        receivers=words["receivers"],
    )
