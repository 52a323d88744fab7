"""A child process as the supervisor sees it: started, told, awaited, and killed only when it hangs or will not stop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from relay.config import Config
from relay.daemon.link import Link
from relay.daemon.stacks import Stacks

_MODULES = {"receiver": "relay.daemon.receiver", "deliverer": "relay.daemon.deliverer"}


def _pass() -> None:
    """Nobody wants to know."""


class ChildProcess:
    """One running receiver or deliverer."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
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
        #: What the child said of the configuration, when it would not start with it.
        self.refused: tuple[str, ...] = ()
        #: Why no mail can come in by this child now; "" when it can.
        self.problem = ""
        #: Called when that has changed.
        self.on_problem: Callable[[], None] = _pass
        self.has_ended = False
        #: What it wrote of its stacks when it crashed.
        self.last_stacks: Sequence[str] = ()
        #: Whether it has said that it works.
        self.is_ready = False
        #: Whether it was told to stop, or has hung up to end by itself: it says nothing more, and has `stop`'s patience.
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
    ) -> ChildProcess:
        """Start the child and tell it what to do; `on_ready` is called when it says that it works."""
        ours, theirs = socket.socketpair()
        stacks = Stacks()
        descriptors = {str(index): [sock.fileno() for sock in socks] for index, socks in sockets.items()}
        kept = [
            theirs.fileno(),
            stacks.writing_end,
            *(number for numbers in descriptors.values() for number in numbers),
        ]
        try:
            process = await _start_process(name, theirs.fileno(), stacks.writing_end, kept)
        except BaseException:  # no memory, no file handle: these are needed for the next try
            stacks.abandon()
            raise
        theirs.close()
        stacks.begin()
        link = await Link.open(ours)
        child = cls(name, process, link, stacks, on_ready)
        link.say(
            do="start",
            name=name,
            config=config.pack(),
            sockets=descriptors,
            after_crash=after_crash,
            after_hang=after_hang,
            index=int(name.partition("-")[2] or 0),
            receivers=receivers,
        )
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def reload(self, config: Config) -> None:
        """Tell it of a new configuration."""
        self._link.say(do="reload", name=self._name, config=config.pack())

    async def metrics(self, seconds: float) -> str:
        """Its metrics in Prometheus's text format; "" when it does not answer in time."""
        ask = len(self._asked) + 1
        while ask in self._asked:
            ask += 1
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[ask] = answer
        self._link.say(do="metrics", ask=ask)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return ""
        finally:
            del self._asked[ask]

    async def wait(self) -> int:
        """Its exit code, when it ends; negative for a signal."""
        code = await self._process.wait()
        self.has_ended = True
        await self._listening  # its last words
        self._link.close()
        self.last_stacks = self._stacks.take()
        self._stacks.close()
        return code

    def take_sign(self) -> bool:
        """Returns whether it has said anything since the last time that this was asked."""
        heard, self._heard = self._heard, False
        return heard

    async def ask_stacks(self) -> None:
        """Have it write the stacks of its threads, also while it keeps the interpreter's lock; two seconds at most."""
        with suppress(ProcessLookupError):
            self._process.send_signal(self._stacks.SIGNAL)
            await self._stacks.settle()

    def take_stacks(self) -> Sequence[str]:
        """What it has written of the stacks of its threads, by itself (a crash) or because it was asked to."""
        return self._stacks.take()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, patience_seconds: float) -> None:
        """Ask it to stop, wait, and kill it when its patience is over."""
        self.is_leaving = True
        self._link.say(do="stop")
        try:
            async with asyncio.timeout(patience_seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    async def _listen(self) -> None:
        async for words in self._link.hear():
            self._heard = True
            match words["said"]:
                case "ready":
                    self.is_ready = True
                    self._on_ready()
                case "problem":
                    self.problem = words["why"]
                    self.on_problem()
                case "refused":
                    self.refused = tuple(words["sentences"])
                case "metrics":
                    if (answer := self._asked.get(words["ask"])) and not answer.done():
                        answer.set_result(words["text"])
        self.is_leaving = True


async def _start_process(
    name: str, line: int, stacks: int, kept: Sequence[int]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULES[name.partition("-")[0]],
        str(line),
        str(stacks),
        pass_fds=kept,
        stdin=asyncio.subprocess.DEVNULL,
        # NOTIFY_SOCKET is ours alone: a child's word must not count as the daemon's.
        env={
            key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")
        },
    )
