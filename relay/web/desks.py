"""The desks of a spool that the page asks, each by one thread at a time.

Owns how many questions are asked at once, and that a desk which failed is opened anew: the spool may have
been moved, or its disk mounted again. Nothing of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from relay.errors import SpoolError
from relay.spool.desk import Desk

Answer = TypeVar("Answer")


class Desks:
    """Some desks of one spool; usable on one event loop."""

    def __init__(self, open_one: Callable[[], Desk], *, most: int) -> None:
        self._open = open_one
        self._idle: SimpleQueue[Desk] = SimpleQueue()
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="page")
        self._closed = False
        #: Desks opened so far.
        self.opened = 0

    async def ask(self, question: Callable[[Desk], Answer]) -> Answer:
        """The answer of a desk, in a thread. Questions beyond the number of desks wait for their turn.

        Raises:
            SpoolError: there is no usable spool now, or the page is ending.
        """
        if self._closed:
            raise SpoolError("the page is ending")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Callable[[Desk], Answer]) -> Answer:
        try:
            desk = self._idle.get_nowait()
        except Empty:
            desk = self._open()
            self.opened += 1
        try:
            answer = question(desk)
        except SpoolError as exc:
            explained = desk.explain(exc)
            desk.close()
            raise explained from exc
        except BaseException:
            desk.close()
            raise
        self._idle.put(desk)
        return answer

    async def close(self) -> None:
        """Wait for the questions under way, and close all desks."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()
