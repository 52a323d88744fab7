"""Time that passes when nothing else does: an hour of waiting in as long as its work takes.

`SimulatedLoop` is an event loop of sockets and threads as they are, whose clock stands still while anything
is under
way, and jumps to the next timer when everything waits. Whoever takes time from the loop (timers, time-outs,
paces) is
in the simulated hour without knowing it; whoever asks for the instant is given `SimulatedLoop.now`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import selectors
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

#: Real seconds without a sign from a thread that is at work, or with nothing to wait for: the test is stuck.
PATIENCE = 30.0
#: Real seconds for octets to cross the loopback interface; the kernel is nearly always faster than the next
#: call.
_CROSSING = 0.0002


class _Selector:
    """The real selector, except that it never waits for time to pass."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.turns += 1
        if (ready := self._real.select(0)) or timeout == 0:
            return ready
        if self._loop.working or timeout is None:
            # A thread is at work: real time passes, simulated time does not.
            begun = time.monotonic()
            while not (ready := self._real.select(1.0)):
                if time.monotonic() - begun > PATIENCE:
                    raise RuntimeError(f"nothing has happened for {PATIENCE} s: {self._loop.working} at work")
            return ready
        time.sleep(_CROSSING)
        if ready := self._real.select(0):
            return ready
        self._loop.jump(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own; `turns` and `jumps` say how often it went round and how often
    time passed.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._began = datetime.now(UTC)
        self.turns = 0
        self.jumps = 0
        #: What threads are at, as far as the loop has been told.
        self.working = 0
        super().__init__(_Selector(self))  # type: ignore[arg-type]

    def time(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        """The instant, aware, in UTC: an hour that begins now."""
        return self._began + timedelta(seconds=self._seconds)

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.jumps += 1
        self._seconds += seconds

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Time stands still until the block ends: a thread is at something that the loop does not see."""
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: asyncio.Future[Any]) -> None:
        self.working -= 1


class Watched:
    """Something whose methods wait for threads of its own: time stands still meanwhile, and each call is
    counted.
    """

    def __init__(self, target: Any, loop: SimulatedLoop) -> None:
        self._target = target
        self._loop = loop
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **keywords: Any) -> Any:
            self.calls[name] += 1
            with self._loop.at_work():
                return await found(*args, **keywords)

        return call


def sign_at(client: Any, now: Callable[[], datetime]) -> None:
    """Have a botocore client date its signatures by this clock: it has none to be given, so its signer gets
    one.
    """
    signer = client._request_signer
    choose = signer.get_auth_instance
    dated: dict[type, type] = {}

    async def get_auth_instance(*args: Any, **keywords: Any) -> Any:
        auth = await choose(*args, **keywords)
        kind = type(auth)
        auth.__class__ = dated.get(kind) or dated.setdefault(kind, _dated(kind, now))
        return auth

    signer.get_auth_instance = get_auth_instance


def _dated(kind: Any, now: Callable[[], datetime]) -> type:
    class Dated(kind):
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = now().strftime("%Y%m%dT%H%M%SZ")
            super()._modify_request_before_signing(request)

    return Dated
