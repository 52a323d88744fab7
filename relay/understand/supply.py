"""The supply of workers: one template, started anew when it has ended, and the configurations that workers
have.

Owns the template's life. Never hands out a worker twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from relay import telemetry
from relay.config import Config
from relay.understand.environment import pack_config
from relay.understand.forked import ForkedTemplate
from relay.understand.process import TemplateProcess, WorkerProcess

#: Seconds between two tries to start a template.
_PAUSE_SECONDS = 0.5
#: Tries before those who wait get a NoWorkerError.
_TRIES = 4


class BusyError(Exception):
    """The machine, or the slow lane, has no room for this mail now; a later attempt may find it."""

    def __init__(self, why: str, *, error: str = "") -> None:
        super().__init__(why)
        #: The name of the machine's errno; "" where it was none.
        self.error = error


class NoWorkerError(BusyError):
    """There is no worker for any mail: none can be started on this machine now."""


class LaneTakenError(BusyError):
    """Slow mails are before this one; its turn comes, and soon."""

    def __init__(self) -> None:
        super().__init__("other slow mails are before it")


class Supply:
    """The supply of workers of one process."""

    def __init__(
        self, config: Config, *, program: str = "relay.understand", first: ForkedTemplate | None = None
    ) -> None:
        """A supply by templates of this program; the first may have been forked already."""
        self._program = program
        self._first = first
        self._config = config
        self._packed = pack_config(config)
        self._number = 1
        self._template: TemplateProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closed = False

    def number_of(self, config: Config) -> tuple[int, dict[str, Any]]:
        """The number of a configuration and its plain data; workers are forked with a new one from now on."""
        if config is not self._config:
            self._config, self._packed = config, pack_config(config)
            self._number += 1
            if self._template is not None and not self._template.gone.is_set():
                self._teach(self._template)
        return self._number, self._packed

    def _teach(self, template: TemplateProcess) -> None:
        try:
            template.teach(self._number, self._packed)
        except OSError as exc:  # workers get it with their mail instead
            telemetry.workers_failed(why=f"the template cannot be told of the configuration: {exc.strerror}")

    async def ready(self) -> None:
        """Wait until the template runs.

        Raises:
            NoWorkerError: there is none, and starting one fails.
        """
        if self._template is not None and not self._template.gone.is_set():
            return
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        if self._template is not None:
            await self._template.stop()
            self._template = None
        for again in range(_TRIES):
            try:
                template = await self._begin_template()
            except OSError as exc:
                telemetry.workers_failed(why=f"no template can be started: {exc.strerror}")
            else:
                self._template = template
                self._teach(template)
                return
            if again + 1 < _TRIES:
                await asyncio.sleep(_PAUSE_SECONDS)
        raise NoWorkerError("no worker can be started")

    async def _begin_template(self) -> TemplateProcess:
        first, self._first = self._first, None
        return await TemplateProcess.start(self._program) if first is None else TemplateProcess.adopt(first)

    def fork(self) -> WorkerProcess:
        """Fork one more worker.

        Raises:
            NoWorkerError: there is no room for it, or no template.
        """
        if self._template is None or self._template.gone.is_set() or self._closed:
            raise NoWorkerError("there is no template")
        try:
            return self._template.fork()
        except OSError as exc:
            raise NoWorkerError(f"no worker can be started: {exc.strerror}") from exc

    async def close(self) -> None:
        """End the template and all workers."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._first is not None:  # nobody asked for it
            self._template = await self._begin_template()
        if self._template is not None:
            await self._template.stop()
