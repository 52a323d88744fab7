"""The nodes of a sandbox's fleet: real daemons on one machine, each of which can be killed and started again.

Owns their processes. A kill is `kill -9` of all processes of a node at once, as when its host dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from relay.config.model import Config
from relay.sandbox.configuration import write_config
from relay.sandbox.daemon import Daemon, DaemonError, open_daemon

#: Characters of the last words of a node that did not come up.
_WORDS = 600
#: "ended" is an end that nobody asked for.
Life = Literal["starting", "running", "killed", "ended"]


@dataclass(kw_only=True)
class Node:
    """One node."""

    config: Config
    #: Its configuration, and the file of its log.
    file: Path
    log: Path
    life: Life = "killed"
    daemon: Daemon | None = None
    kills: int = 0
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """The name, as the fleet knows it."""
        return self.config.fleet.node

    @property
    def smtp(self) -> str:
        """The address where it takes mail."""
        return self.config.listeners[0].bind[0]

    def look(self) -> Life:
        """The life of the node now."""
        if self.life == "running" and self.daemon is not None and self.daemon.has_ended:
            self.life = "ended"
        return self.life

    async def start(self, environ: Mapping[str, str]) -> None:
        """Start it, and wait until it is up.

        Raises:
            DaemonError: it did not come up; its log has its words.
        """
        async with self._lock:
            if self.look() == "running":
                return
            await self._stack.aclose()
            self._stack, self.life = AsyncExitStack(), "starting"
            try:
                with self.log.open("ab") as log:
                    self.daemon = await self._stack.enter_async_context(
                        open_daemon(self.file, environ, stderr=log.fileno())
                    )
            except DaemonError as exc:
                self.life = "ended"
                raise DaemonError(f"{self.name}: {exc}; its last words: {self._read_last()}") from exc
            except BaseException:
                self.life = "ended"
                raise
            self.life = "running"

    def _read_last(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "none")[:_WORDS]

    async def kill(self) -> bool:
        """Kill all its processes at once. Returns whether it ran."""
        async with self._lock:
            if self.look() != "running" or self.daemon is None:
                return False
            self.life = "killed"
            self.kills += 1
            await self.daemon.kill()
            return True

    async def stop(self) -> None:
        """Stop it in order; harmless if it does not run."""
        async with self._lock:
            await self._stack.aclose()


class Nodes:
    """All nodes of a fleet."""

    def __init__(self, configs: Sequence[Config], place: Path) -> None:
        self.all = tuple(
            Node(
                config=config,
                file=place / f"{config.fleet.node}.toml",
                log=place / f"{config.fleet.node}.log",
            )
            for config in configs
        )
        self.environ: Mapping[str, str] = {}
        self._next = 0

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def _start(self) -> None:
        for node in self.all:
            write_config(node.config, node.file)
        starts = (node.start(self.environ) for node in self.all)
        ended = await asyncio.gather(*starts, return_exceptions=True)  # none goes on behind our back
        if failed := next(filter(None, ended), None):
            raise failed

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop all nodes in order."""
        await asyncio.gather(*(node.stop() for node in self.all))

    def find(self, name: str) -> Node | None:
        """The node of this name."""
        return next((node for node in self.all if node.name == name), None)

    def running(self) -> list[Node]:
        """The nodes that run."""
        return [node for node in self.all if node.look() == "running"]

    def next_smtp(self) -> str:
        """The address of a running node, another one each time. Returns "" if none runs."""
        running = self.running()
        self._next += 1
        return running[self._next % len(running)].smtp if running else ""
