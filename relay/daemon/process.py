"""A child process as the supervisor sees it: started, told, awaited, and killed only if it hangs or does not
stop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from relay.config import Config
from relay.daemon.forked import MANAGERS, MODULES, Forked
from relay.daemon.link import Link
from relay.daemon.messages import (
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
from relay.daemon.stacks import Stacks


class Process(Protocol):
    """A process as asyncio shows one that it has started."""

    @property
    def pid(self) -> int:
        """The process id."""

    async def wait(self) -> int:
        """Wait until it ends. Returns its exit code, negative for a signal."""

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Kill it."""


def _pass() -> None:
    """The callback for a change that nobody asks for."""


class ChildProcess:
    """A receiver or deliverer that runs."""

    def __init__(
        self,
        name: str,
        process: Process,
        link: Link,
        stacks: Stacks,
        on_ready: Callable[[], None],
    ) -> None:
        self._name = name
        self._process = process
        self._link = link
        self._stacks = stacks
        self._heard = False
        self._listening = asyncio.create_task(self._listen())
        self._asked: dict[int, asyncio.Future[str]] = {}
        self._on_ready = on_ready
        #: The sentences about the configuration with which the child would not start.
        self.refused: tuple[str, ...] = ()
        #: The reason why no mail can come in by this child now; "" when it can.
        self.problem = ""
        #: A warning of the child for a person, while mail can come in; "" for none.
        self.notice = ""
        #: The services that give this child no answers about mail, and why.
        self.away: Mapping[str, str] = {}
        #: The callback for a change of `problem` or `away`.
        self.on_report: Callable[[], None] = _pass
        self.has_ended = False
        #: The stacks that the child wrote when it crashed.
        self.last_stacks: Sequence[str] = ()
        #: True once the child has said that it works.
        self.is_ready = False
        #: True when the child was told to stop or has closed its line: it says nothing more, and `stop` gives
        #: it its time.
        self.is_leaving = False

    @classmethod
    async def start(
        cls,
        name: str,
        config: Config,
        sockets: Mapping[int, Sequence[socket.socket]],
        *,
        after_crash: bool,
        after_hang: bool,
        receivers: int,
        on_ready: Callable[[], None],
        forked: Forked | None = None,
    ) -> ChildProcess:
        """Start the child, or take the one that was forked, and send it its first message.

        `on_ready` is called when the child says that it works.
        """
        numbers = [sock.fileno() for socks in sockets.values() for sock in socks]
        process: Process
        if forked is None:
            process, end, stacks = await _start_program(name, numbers)
        else:
            forked.begin(numbers)
            process, end, stacks = forked.process, forked.end, forked.stacks
        stacks.begin()
        link = await Link.open(end)
        child = cls(name, process, link, stacks, on_ready)
        places = iter(range(len(numbers)))
        order = Start(
            name=name,
            config=config,
            sockets={index: tuple(next(places) for _ in socks) for index, socks in sockets.items()},
            after_crash=after_crash,
            after_hang=after_hang,
            index=int(name.partition("-")[2] or 0),
            receivers=receivers,
        )
        link.send(order)
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def reload(self, config: Config) -> None:
        """Send the child a new configuration."""
        self._link.send(Reload(name=self._name, config=config))

    async def metrics(self, seconds: float) -> str:
        """The child's metrics in Prometheus's text format; "" when it does not answer in time."""
        ask = len(self._asked) + 1
        while ask in self._asked:
            ask += 1
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[ask] = answer
        self._link.send(AskMetrics(ask=ask))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return ""
        finally:
            del self._asked[ask]

    async def wait(self) -> int:
        """Wait until the child ends. Returns its exit code, negative for a signal."""
        code = await self._process.wait()
        self.has_ended = True
        await self._listening  # its last messages
        self._link.close()
        self.last_stacks = self._stacks.take()
        self._stacks.close()
        return code

    def take_sign(self) -> bool:
        """Returns whether the child has sent anything since the last call."""
        heard, self._heard = self._heard, False
        return heard

    async def ask_stacks(self) -> None:
        """Have the child write the stacks of its threads, even while one keeps the interpreter's lock.

        Takes two seconds at most.
        """
        with suppress(ProcessLookupError):
            self._process.send_signal(self._stacks.SIGNAL)
            await self._stacks.settle()

    def take_stacks(self) -> Sequence[str]:
        """The stacks that the child has written since the last call, because of a crash or because it was
        asked to.
        """
        return self._stacks.take()

    def kill(self) -> None:
        """Kill the child at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, patience_seconds: float) -> None:
        """Ask the child to stop, and kill it if it has not ended in time."""
        self.is_leaving = True
        self._link.send(Stop())
        try:
            async with asyncio.timeout(patience_seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    async def _listen(self) -> None:
        async for message in self._link.messages():
            self._heard = True
            match message:
                case Ready():
                    self.is_ready = True
                    self._on_ready()
                case Problem(why=why):
                    self.problem = why
                    self.on_report()
                case Notice(why=why):
                    self.notice = why
                case Away(services=services):
                    self.away = services
                    self.on_report()
                case Refused(sentences=sentences):
                    self.refused = sentences
                case Metrics(ask=ask, text=text):
                    if (answer := self._asked.get(ask)) and not answer.done():
                        answer.set_result(text)
        self.is_leaving = True


async def _start_program(name: str, sockets: Sequence[int]) -> tuple[Process, socket.socket, Stacks]:
    """Start a child as a program, which shares nothing with another. Returns it with our ends of its line and
    of the pipe for its stacks.
    """
    ours, theirs = socket.socketpair()
    stacks = Stacks()
    kept = (theirs.fileno(), stacks.writing_end, *sockets)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULES[name.partition("-")[0]],
            *map(str, kept),
            pass_fds=kept,
            stdin=asyncio.subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key not in MANAGERS},
        )
    except BaseException:  # no memory or file handle: both ends are needed for the next try
        stacks.abandon()
        raise
    theirs.close()
    return process, ours, stacks
