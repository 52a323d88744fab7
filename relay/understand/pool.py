"""The pool: at most three workers, two that are quick to have and one that may be slow.

Owns the order in which mails get workers, and the meaning of a death. An ordinary mail takes milliseconds.
One that has used a second of CPU, or a tenth while another waits, goes on in the slow lane, where one is at a
time: so however many slow mails there are, the next ordinary one finds a worker. Slow mails have the lane in
the order in which they were found slow, so a flood of them waits behind earlier ones. A first death is tried
once more in a fresh worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from relay import telemetry
from relay.understand.attendance import SILENT_SECONDS, Attendance, Call, GivenUpError
from relay.understand.process import Death, DiedError, WorkerProcess
from relay.understand.supply import BusyError, LaneTakenError, NoWorkerError, Supply

#: Seconds between two looks at a worker that has not answered.
_TICK_SECONDS = 0.02
#: Seconds that a mail waits for a quick worker before one is freed for it.
_CROWDED_SECONDS = 0.05
#: Mails that wait for the slow lane at most, besides the one in it.
_SLOW_WAITING = 1
#: Mails that have a place in the lane or before it.
LANE_PLACES = 1 + _SLOW_WAITING
#: Mails remembered as slow, so that a later attempt costs the quick workers nothing.
_REMEMBERED = 10_000
#: Deaths of one mail, of whatever kinds, before it is given up.
_DEATHS = 3


class _DemotedError(Exception):
    """The mail was taken off its quick worker, and the slow lane is taken: it begins anew there, later."""


class _Lane:
    """The slow lane: one mail in it, and a few that wait for it, the first found slow first."""

    def __init__(self) -> None:
        self._taken = False
        #: Each with the rank of its mail, which is lower the longer it has been known as slow.
        self._queue: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def locked(self) -> bool:
        return self._taken

    def take(self) -> None:
        """Take the lane, which is free."""
        self._taken = True

    async def acquire(self, rank: int) -> None:
        """Wait for the lane, and take it; a mail of a higher rank makes way.

        Raises:
            LaneTakenError: too many mails of a lower rank wait already.
        """
        if not self._taken:
            self._taken = True
            return
        if self.waiting >= _SLOW_WAITING:
            last = max(self._queue, key=lambda waiter: waiter[0])
            if last[0] <= rank:
                raise LaneTakenError
            self._queue.remove(last)
            last[1].set_exception(LaneTakenError())
        waiter = rank, asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter[1]
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif not waiter[1].cancelled() and waiter[1].exception() is None:
                self.release()
            raise

    def release(self) -> None:
        """Give the lane to the next mail."""
        while self._queue:
            first = min(self._queue, key=lambda waiter: waiter[0])
            self._queue.remove(first)
            if not first[1].done():
                first[1].set_result(None)
                return
        self._taken = False


class Pool:
    """The pool of all workers of one process."""

    def __init__(
        self, supply: Supply, *, quick: int = 2, lane: bool = True, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        """A pool of `quick` workers, with a slow lane or without; a worker that is silent for
        `silent_seconds` is ended.
        """
        self._supply = supply
        self._silent_seconds = silent_seconds
        self._quick = quick
        self._has_lane = lane
        self._idle: deque[WorkerProcess] = deque()
        #: Quick workers that exist: idle or busy.
        self._quick_count = 0
        self._waiting: deque[tuple[asyncio.Future[WorkerProcess], float]] = deque()
        self._lane = _Lane()
        self._slow: dict[str, int] = {}
        self._ranks = count()
        self._loop = asyncio.get_running_loop()
        self._recovering: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def aside(self) -> int:
        """The mails in the slow lane or waiting for it, which keep no other mail waiting."""
        return self._lane.waiting + self._lane.locked()

    async def start(self) -> None:
        """Start the quick workers before the first mail comes.

        Raises:
            BusyError: there is no room for them.
        """
        await self._supply.ready()
        self._refill()

    async def run(self, call: Call) -> dict[str, Any]:
        """The result of the job for this mail.

        Raises:
            GivenUpError: there is none, and never will be.
            BusyError: there is none now; LaneTakenError where slow mails are before it, NoWorkerError where
                nobody has a worker.
        """
        while True:
            try:
                if (rank := self._slow.get(call.spool_id)) is not None:
                    return await self._run_slowly(call, rank)
                return await self._run_quickly(call)
            except _DemotedError:
                self._remember(call)
            except DiedError as died:
                self._judge(call, died)

    def _attend(self, call: Call, worker: WorkerProcess) -> Attendance:
        return Attendance(call, worker, self._loop.time, silent_seconds=self._silent_seconds)

    def _judge(self, call: Call, died: DiedError) -> None:
        """Let a mail be tried once more, or raise the error that ends its attempt."""
        call.deaths[died.death] += 1
        again = call.deaths[died.death] > 1
        if died.death is Death.UNBORN:
            raise NoWorkerError(f"no worker can be started: {died}")
        if died.death is Death.KILLED and again and not call.is_last:
            raise BusyError(f"its worker was ended: {died}")
        if died.death in (Death.CPU, Death.SILENT):
            self._remember(call)
        if again or call.deaths.total() >= _DEATHS:
            raise GivenUpError(died.death, died.detail)

    def _remember(self, call: Call) -> None:
        if not self._has_lane or not call.spool_id:
            raise GivenUpError(Death.CPU, "too slow")
        self._slow.setdefault(call.spool_id, next(self._ranks))
        if len(self._slow) > _REMEMBERED:
            del self._slow[next(iter(self._slow))]

    # --- the quick lane

    async def _run_quickly(self, call: Call) -> dict[str, Any]:
        worker = await self._take()
        attending = self._attend(call, worker)
        promoted = False
        try:
            attending.begin(self._supply)
            while (answer := await attending.listen(_TICK_SECONDS)) is None:
                if not promoted and self._has_lane:
                    promoted = self._promote(attending)
        except DiedError as died:
            attending.tell(died, "slow" if promoted else "quick")
            raise
        finally:
            if promoted:
                self._discard_slow(worker)
            else:
                self._give_back(worker, attending)
        return answer

    def _is_crowded(self) -> bool:
        """Returns whether a mail has waited long for a quick worker."""
        waits = next((since for place, since in self._waiting if not place.done()), None)
        return waits is not None and self._loop.time() - waits >= _CROWDED_SECONDS

    def _promote(self, attending: Attendance) -> bool:
        """Let a slow mail go on with its worker in the slow lane, while a new quick worker takes its place.

        Raises:
            _DemotedError: the lane is taken; the mail begins anew there.
        """
        if not (attending.is_slow or (attending.is_long and self._is_crowded())):
            return False
        telemetry.mail_was_slow(spool_id=attending.call.spool_id, seconds=attending.cpu)
        if self._lane.locked():
            raise _DemotedError
        self._lane.take()
        self._quick_count -= 1
        self._refill()
        return True

    async def _take(self) -> WorkerProcess:
        """A quick worker, in the order in which mails asked."""
        self._refill()
        if self._idle and not self._waiting:
            return self._idle.popleft()
        place: asyncio.Future[WorkerProcess] = self._loop.create_future()
        self._waiting.append((place, self._loop.time()))
        self._hand_out()
        try:
            if not place.done() and not self._quick_count:
                await (
                    self._supply.ready()
                )  # without a template: wait for one, or raise the reason why there is none
                self._refill()
            return await place
        except BusyError:
            place.cancel()
            raise
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._idle.append(place.result())
                self._hand_out()
            raise

    def _hand_out(self) -> None:
        while self._idle and self._waiting:
            place, _ = self._waiting.popleft()
            if not place.done():
                place.set_result(self._idle.popleft())

    def _refill(self) -> None:
        """Start quick workers until the pool has its number; where that fails, try again by and by."""
        if self._fork_all() is not None and (self._recovering is None or self._recovering.done()):
            self._recovering = asyncio.ensure_future(self._recover())

    def _fork_all(self) -> BusyError | None:
        """Fork quick workers until the pool has its number. Returns the reason why it has not."""
        trouble = None
        while self._quick_count < self._quick and not self._closed and trouble is None:
            try:
                worker = self._supply.fork()
            except BusyError as exc:
                trouble = exc
            else:
                self._quick_count += 1
                self._idle.append(worker)
                worker.ended.add_done_callback(partial(self._lose_idle, worker))
        self._hand_out()
        return trouble

    def _lose_idle(self, worker: WorkerProcess, _: asyncio.Future[DiedError]) -> None:
        """Note the end of a worker; where it was idle, another takes its place."""
        with suppress(ValueError):
            self._idle.remove(worker)
            self._quick_count -= 1
            worker.close()
            self._loop.call_later(_CROWDED_SECONDS, self._refill)

    async def _recover(self) -> None:
        """Replace the template, and the workers that ended with it.

        Mails may wait whose workers, and those of all others, have ended by no deed of theirs. If no worker
        can be had now, these mails are told so: nothing else would wake them.
        """
        await asyncio.sleep(_CROWDED_SECONDS)
        try:
            await self._supply.ready()
            trouble = self._fork_all()
        except BusyError as exc:  # logged; the next mail tries again
            trouble = exc
        if trouble is not None and not self._quick_count:
            self._turn_away(trouble)

    def _turn_away(self, trouble: BusyError) -> None:
        """Tell all mails that wait for a quick worker that there is none."""
        while self._waiting:
            place, _ = self._waiting.popleft()
            if not place.done():
                place.set_exception(NoWorkerError(str(trouble)))

    def _give_back(self, worker: WorkerProcess, attending: Attendance) -> None:
        if attending.is_clean and not worker.ended.done() and not self._closed:
            self._idle.append(worker)
        else:
            self._quick_count -= 1
            attending.discard()
            self._refill()
        self._hand_out()

    # --- the slow lane

    async def _run_slowly(self, call: Call, rank: int) -> dict[str, Any]:
        await self._lane.acquire(rank)
        try:
            await self._supply.ready()
            worker = self._supply.fork()
        except BaseException:
            self._lane.release()
            raise
        attending = self._attend(call, worker)
        try:
            attending.begin(self._supply)
            while (answer := await attending.listen(_TICK_SECONDS)) is None:
                pass
        except DiedError as died:
            attending.tell(died, "slow")
            raise
        finally:
            self._discard_slow(worker)
        return answer

    def _discard_slow(self, worker: WorkerProcess) -> None:
        """End the worker of the slow lane, which is free again."""
        worker.end(Death.SILENT)
        worker.close()
        self._lane.release()

    async def close(self) -> None:
        """End every worker at any point of its work."""
        self._closed = True
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        await self._supply.close()
        for worker in self._idle:
            worker.close()
        self._idle.clear()
