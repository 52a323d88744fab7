"""The writer: one thread for each process, through which all changes of the spool go.

Owns the group commit: all jobs that wait when the thread is free share one transaction, and one call into the
event loop wakes all who waited. Never knows what it commits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from relay.errors import SpoolSickError

Payload = TypeVar("Payload")
Answer = TypeVar("Answer")

#: Jobs above this number wait for the next transaction: a group this large has amortised its sync.
_GROUP_LIMIT = 256
#: A group of this size shows that the machine is busy: the next group is then given a moment to grow. A
#: transaction costs the thread a dozen waits for the interpreter's lock, whatever its size (bench/README.md).
_BUSY_GROUP = 8
_GROWING_SECONDS = 0.001
#: Between two tries of the idle work: a disk that fails will not recover sooner.
_AGAIN_SECONDS = 2.0


class Job(Generic[Payload, Answer]):
    """A change to be committed, and the future of its caller. `commit` sets exactly one of `answer` and
    `error`.
    """

    __slots__ = ("answer", "error", "future", "loop", "payload")

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Answer] = self.loop.create_future()
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class Writer(Generic[Payload, Answer]):
    """A thread that takes all waiting jobs at once and has them committed."""

    def __init__(
        self,
        commit: Callable[[Sequence[Job[Payload, Answer]]], None],
        *,
        name: str,
        idle: Callable[[], bool] | None = None,
        close: Callable[[], None],
    ) -> None:
        """Start the thread. `idle` is called when it is nudged and soon after a group, again and again until
        it returns True.
        """
        self._commit = commit
        self._idle = idle
        self._close = close
        self._queue: SimpleQueue[list[Job[Payload, Answer]] | None] = SimpleQueue()
        self._turn: list[Job[Payload, Answer]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job[Payload, Answer]) -> None:
        """Have the job committed with the next group; usable from any thread."""
        if self._closed:
            raise SpoolSickError("the spool is closed")
        self._queue.put([job])

    def submit_soon(self, job: Job[Payload, Answer]) -> None:
        """Have a job of this loop's thread committed together with all others of this turn of the loop: the
        thread is woken once for all of them.
        """
        if self._closed:
            raise SpoolSickError("the spool is closed")
        self._turn.append(job)
        if len(self._turn) == 1:
            job.loop.call_soon(self._hand_over)

    def nudge(self) -> None:
        """Have the thread run `idle` now, alone or after the next group; usable from any thread."""
        self._queue.put([])

    def _hand_over(self) -> None:
        turn, self._turn = self._turn, []
        for start in range(0, len(turn), _GROUP_LIMIT):
            self._queue.put(turn[start : start + _GROUP_LIMIT])

    async def close(self) -> None:
        """Commit what waits, then end the thread; harmless when called twice."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_ = True
        busy = False
        done = True
        while open_:
            try:
                first = self._queue.get(timeout=None if done else _AGAIN_SECONDS)
            except Empty:
                done = self._idle is None or self._idle()
                continue
            if busy and first is not None:
                time.sleep(_GROWING_SECONDS)
            group, open_ = self._collect(first)
            busy = len(group) >= _BUSY_GROUP
            if group:
                self._serve(group)
                done = self._idle is None
            elif open_:
                done = self._idle is None or self._idle()
        self._close()

    def _collect(self, jobs: list[Job[Payload, Answer]] | None) -> tuple[list[Job[Payload, Answer]], bool]:
        """These jobs and those that wait behind them. Returns False beside them if the last job of all was
        among them.
        """
        group: list[Job[Payload, Answer]] = []
        while jobs is not None:
            group += jobs
            if len(group) >= _GROUP_LIMIT:
                return group, True
            try:
                jobs = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _serve(self, group: Sequence[Job[Payload, Answer]]) -> None:
        try:
            self._commit(group)
        except BaseException as exc:  # noqa: BLE001 - handed to those who wait; the thread must outlive it
            for job in group:
                job.error = exc
        tell(group)


def tell(group: Sequence[Job[Payload, Answer]]) -> None:
    """Wake those who wait for these jobs, with one call into each event loop; usable from any thread."""
    loops: dict[asyncio.AbstractEventLoop, list[Job[Payload, Answer]]] = {}
    for job in group:
        loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        # A closed loop raises: nobody waits any more, and the commit stands.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: Sequence[Job[Payload, Answer]]) -> None:
    for job in jobs:
        if job.future.done():  # cancelled meanwhile; the commit stands
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.answer)  # type: ignore[arg-type]  # None is an answer where Answer allows it
