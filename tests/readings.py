"""Mails read in this process, by the very program of the workers and over its words: for tests of what comes
after.

What a process of its own is for, its limits and its deaths, is the matter of tests/understand.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from relay.understand import wire
from relay.understand.attendance import take_answer
from relay.understand.jobs import JOBS
from relay.understand.reading import WorkerReading
from relay.understand.worker import Worker


class _Here(Worker):
    """A worker whose other side is a coroutine of this process."""

    def __init__(self, call, loop):
        super().__init__(JOBS)
        self._call, self._loop = call, loop
        self.learn(1, wire.load(wire.dump(call.config.pack())))

    def ask(self, question):
        asked = self._call.answer(wire.load(wire.dump(question)))
        return wire.load(wire.dump(asyncio.run_coroutine_threadsafe(asked, self._loop).result()))


class _Readers:
    """A pool without processes."""

    aside = 0

    async def run(self, call):
        order = call.order | {"job": call.job, "config": None, "allowance": wire.pack(call.allowance)}
        worker = _Here(call, asyncio.get_running_loop())
        words = await asyncio.to_thread(worker.serve, wire.load(wire.dump(order)), call.raw, call.files)
        return take_answer(wire.load(wire.dump(words)), call)


def reading_here():
    """Understanding without workers; decoded files lie in the system's folder for such."""
    return WorkerReading(_Readers(), Path(tempfile.gettempdir()))
