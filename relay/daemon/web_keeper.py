"""The keeper of the page's process: starts it where the configuration has a page, and again when it ends.

Owns that process, apart from those of the two halves: whatever becomes of it, mail comes in and goes out, the
daemon is as ready as before, and nobody is woken. Where the page is off, nothing is started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from relay import telemetry
from relay.config import Config
from relay.daemon.process import ChildProcess
from relay.daemon.vigil import Vigil
from relay.timing import is_set_within

NAME = "web"
#: Pauses before it is started again, by the number of ends in a row within its first seconds.
_RESTART_SECONDS = (0.2, 2.0, 10.0, 60.0)
_HEALTHY_SECONDS = 30.0
#: Seconds for its stop: no mail waits in it.
_PATIENCE_SECONDS = 5.0


class WebKeeper:
    """The process of the page of one daemon."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._child: ChildProcess | None = None
        self._changed = asyncio.Event()
        self._is_stopping = False
        self._vigil = Vigil(
            hang_seconds=config.server.hang_seconds,
            patience_seconds=_PATIENCE_SECONDS,
            on_hang=lambda _name, _sentence: None,
        )

    async def run(self) -> None:
        """Keep the process running while the configuration has a page, until `stop`."""
        watching = asyncio.create_task(self._vigil.run())
        crashes = 0
        while not self._is_stopping:
            self._changed.clear()
            if not self._config.web.bind:
                await self._changed.wait()
                continue
            begun = time.monotonic()
            if await self._live():
                crashes = 0
                continue
            crashes = 1 if time.monotonic() - begun > _HEALTHY_SECONDS else crashes + 1
            await is_set_within(self._changed, _RESTART_SECONDS[min(crashes, len(_RESTART_SECONDS)) - 1])
        watching.cancel()

    async def _live(self) -> bool:
        """Start the process, and wait until it ends. Returns whether it ended because it was to."""
        config = self._config
        try:
            child = await ChildProcess.start(
                NAME,
                config,
                {},
                after_crash=False,
                after_hang=False,
                receivers=0,
                on_ready=lambda: None,
            )
        except OSError as exc:  # no memory or file handle, which may pass
            telemetry.child_cannot_work(child=NAME, why=f"not started: {exc.strerror or exc}")
            return False
        self._child = child
        self._vigil.watch(NAME, child)
        telemetry.child_started(name=NAME, pid=child.pid)
        if self._config is not config or self._is_stopping:  # it changed during the start
            self._tell(child)
        code = await child.wait()
        self._child = None
        is_expected = code == 0 and (self._is_stopping or not self._config.web.bind)
        telemetry.child_ended(name=NAME, pid=child.pid, code=code, expected=is_expected)
        if child.last_stacks:
            telemetry.child_stacks(name=NAME, pid=child.pid, why="it crashed", stacks=child.last_stacks)
        if child.refused:
            telemetry.child_cannot_work(child=NAME, why="; ".join(child.refused))
        return is_expected

    def reload(self, config: Config) -> None:
        """Go on by another configuration, which may begin the page or end it."""
        self._config = config
        self._changed.set()
        if self._child is not None:
            self._tell(self._child)

    def _tell(self, child: ChildProcess) -> None:
        """Give the process what counts now: a configuration, or the order to end."""
        if self._config.web.bind and not self._is_stopping:
            child.reload(self._config)
        else:
            self._ending = asyncio.create_task(child.stop(_PATIENCE_SECONDS))

    async def metrics(self, seconds: float) -> Mapping[str, str]:
        """The metrics of the process under its name; none where it does not run."""
        return {NAME: await self._child.metrics(seconds)} if self._child is not None else {}

    def stop(self) -> None:
        """Have the process end, and `run` with it."""
        self._is_stopping = True
        self._changed.set()
        if self._child is not None:
            self._tell(self._child)
