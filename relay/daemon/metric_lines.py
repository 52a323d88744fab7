"""The metrics in the log, once a minute, where `log.metrics` asks for it.

Owns the interval, and the samples of the last line. The supervisor gives the metrics of all processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from relay import telemetry
from relay.config import Config
from relay.timing import utc_now

#: CloudWatch keeps a value for each minute.
_SECONDS = 60.0


class MetricLines:
    """The lines of one daemon. `config` and `metrics` are asked anew for each."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        metrics: Callable[[], Awaitable[Mapping[str, str]]],
        now: Callable[[], datetime] = utc_now,
        seconds: float = _SECONDS,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._now = now
        self._seconds = seconds
        self._before: Mapping[str, telemetry.Samples] | None = None

    async def run(self) -> None:
        """Write a line now and once a minute, until cancelled. A reload may begin or end it."""
        while True:
            if self._config().log.metrics == "emf":
                await self._write()
            else:
                self._before = None
            await asyncio.sleep(self._seconds)

    async def _write(self) -> None:
        texts = await self._metrics()
        # a busy process is left out, and compared with its last samples when it answers again
        samples = {process: telemetry.read_samples(text) for process, text in texts.items() if text}
        # what was counted before the first line is not the growth of its minute
        before = samples if self._before is None else self._before
        telemetry.metrics_told(samples, before, host=self._config().hostname, at=self._now())
        self._before = {**before, **samples}
