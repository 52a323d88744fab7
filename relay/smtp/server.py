"""The server: everything that all sessions of one process share, and the one tick that watches over them.

Owns the set of open sessions, the commits under way, the threads that write and check, and the look at the
deadlines: one look at all sessions four times a second costs less than a timer a session, re-armed at every
command. Never knows what a session says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from relay import replies, telemetry
from relay.config.model import Limits
from relay.envelope import SpoolId
from relay.errors import SpoolError, SpoolFullError
from relay.logins.tries import Logins
from relay.logins.users import Credentials, Users
from relay.networks import find_host
from relay.smtp.limits import SELF, Limiter
from relay.smtp.overload import Overload
from relay.smtp.places import Places, Sitting
from relay.smtp.settings import ListenerSettings
from relay.smtp.shared import Shared
from relay.smtp.tap import Reader, Tap
from relay.spool.interface import Intake
from relay.telemetry.refusals import Refusals
from relay.vocabulary import PLACES_TAKEN, Reply

#: Seconds between two looks at the deadlines.
_TICK_SECONDS = 0.25
#: Ticks between two looks at memory, files and lag.
_GATE_TICKS = 4
#: Ticks between two looks at the certificate's files.
_FILE_TICKS = 8
#: Ticks after which a refusal is logged anew.
_TOLD_TICKS = 240
#: Addresses that a minute's log names at most; the metric counts the others, too.
_MOST_TOLD = 10_000
#: Threads that write large mail: there is one disk, and each session has one block under way at most.
_WRITERS = 4
#: Threads of a lane that check passwords. By argon2's defaults each check takes 64 MiB and four threads of
#: its own.
_CHECKERS = 1
#: The causes that keep mail out, in words for an operator: those of `decide_gate`, and four of ours.
_PROBLEMS = {
    "spool": "a write to the spool failed",
    "lag": "the event loop lags",
    "files": "file handles are used up",
    "memory": "memory is short",
    "paused": "the intake is paused",
    "full": PLACES_TAKEN,
    "room": "the spool has no room",
}


class Watched(Sitting, Protocol):
    """A session, as far as the tick is concerned with it."""

    deadline: float

    def expire(self, now: float) -> None:
        """Act on the deadline, which has passed."""

    def listen(self, tap: Tap | None) -> None:
        """Begin a transcript of the session, or end it."""

    def stop(self, *, urgent: bool) -> None:
        """Say 421 and close: at once when urgent, else only when no mail is under way. Never during a
        commit.
        """


class Server:
    """The receiving half of one process."""

    def __init__(
        self, *, intake: Intake, limits: Limits, limiter: Limiter, refusals: Refusals | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.intake = intake
        self.limiter = limiter
        #: The memory of what peers were refused; None where there is none.
        self.refusals = refusals
        self.logins = Logins(limiter.tally, uncounted=SELF)
        self.places = Places(limiter)
        self.limits = limits
        self.overload = Overload()
        self.writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="smtp-write")
        #: One lane for logins that never passed, and one for those that did.
        self.checkers = tuple(ThreadPoolExecutor(_CHECKERS, thread_name_prefix="smtp-auth") for _ in range(2))
        self.sessions: set[Watched] = set()
        #: The commits, handshakes, passwords and probes under way. Nobody cancels them.
        self.works: set[asyncio.Future[Any]] = set()
        #: Those who read transcripts of sessions; None while there are none.
        self.tap: Tap | None = None
        self.draining = False
        self.settings: list[ListenerSettings] = []
        self.shared = Shared(
            new_id=intake.new_id,
            room=intake.room,
            paused=intake.paused,
            limiter=limiter,
        )
        self._probing = False
        self._ticks = 0
        self._told: set[tuple[str, str]] = set()
        self._due = self.loop.time() + _TICK_SECONDS
        self._timer: asyncio.TimerHandle | None = self.loop.call_at(self._due, self._tick)

    def refusal(self) -> Reply | None:
        """The reply that says why no new session can begin now. Returns None when one can."""
        if self.draining:
            return replies.SHUTTING_DOWN
        if self.overload.closed():
            return replies.OVERLOADED
        return replies.PAUSED if self.intake.paused() else None

    def problem(self) -> str:
        """The reason why no mail can come in now, whatever its size. Returns "" when mail can."""
        word = self.overload.why()
        if not word and self.intake.paused():
            word = "paused"
        if not word and self.places.full:
            word = "full"
        if not word and not self.intake.room(1):
            word = "room"
        return _PROBLEMS[word] if word else ""

    def begin_telling(self, reader: Reader) -> None:
        """Tell a reader of transcripts what is said from now on, in sessions that have begun before, too."""
        is_first = self.tap is None
        if self.tap is None:
            self.tap = Tap(self.loop)
        self.tap.join(reader)
        if is_first:
            self._listen(self.tap)

    def end_telling(self, reader: Reader) -> None:
        """Tell a reader of transcripts no more. With the last one all transcripts end."""
        if self.tap is not None:
            self.tap.leave(reader)
            if not self.tap.readers:
                self.tap = None
                self._listen(None)

    def _listen(self, tap: Tap | None) -> None:
        for session in self.sessions:
            session.listen(tap)

    def tell_refusal(self, address: str, listener: str, reply: Reply, reference: SpoolId | None) -> None:
        """Log that a peer was sent away. The same refusal of the same address is logged once a minute."""
        told = (find_host(address), reply.text)
        again = told in self._told or len(self._told) >= _MOST_TOLD
        if not again:
            self._told.add(told)
        telemetry.session_refused(
            peer=address, listener=listener, reply=reply, again=again, reference=reference
        )

    def work(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, whatever becomes of the session that asked for it."""
        task = self.loop.create_task(coroutine)
        self.works.add(task)
        task.add_done_callback(self.works.discard)

    def step(self, way: Coroutine[Any, Any, None], waited: asyncio.Future[Any] | None = None) -> None:
        """Run something up to where it waits for a future, which calls for the next step.

        This is `work` without a task, for what waits for futures alone (`asyncio.timeout` and its like need a
        task) and handles its own errors. A task costs each mail some microseconds, and a turn of the loop.
        """
        if waited is not None:
            self.works.discard(waited)
        try:
            waited = way.send(None)
        except StopIteration:
            return
        if waited is None:  # asyncio.sleep(0)
            self.loop.call_soon(self.step, way)
        else:
            self.works.add(waited)
            waited.add_done_callback(partial(self.step, way))

    async def check_password(
        self,
        users: Users,
        credentials: Credentials,
        *,
        address: str,
        limits: Limits,
        wanted: Callable[[], bool],
    ) -> bool | None:
        """Returns whether a password is right, or None where it was not looked at: too many have failed, or
        its peer is gone.

        Raises:
            OSError: the users file cannot be read.
        """

        async def verify(passed: bool) -> bool | None:
            if not wanted():
                return None
            return await self.loop.run_in_executor(self.checkers[passed], users.verify, credentials)

        return await self.logins.check(credentials.login, address, limits, verify=verify, now=self.loop.time)

    async def _probe(self) -> None:
        """Probe the spool that failed. A full disk counts as healthy: each mail then gets 452."""
        try:
            await self.intake.probe()
        except SpoolFullError:
            self.overload.healed()
        except SpoolError:
            self.overload.sickened(now=self.loop.time())
        else:
            self.overload.healed()
        finally:
            self._probing = False

    def close(self) -> None:
        """End the tick and the threads. Sessions are not touched."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.writers.shutdown(wait=False)
        if self.refusals is not None:
            self.refusals.close()
        for checkers in self.checkers:
            checkers.shutdown(wait=False)

    def _tick(self) -> None:
        now = self.loop.time()
        lag = now - self._due
        self._ticks += 1
        self.places.tick(self.sessions, self.limits, now=now)
        for session in [session for session in self.sessions if session.deadline <= now]:
            session.expire(now)
        if self._ticks % _GATE_TICKS == 0:
            if self.overload.wants_probe(now=now) and not self._probing:
                self._probing = True
                self.work(self._probe())
            self.overload.tick(self.limits, lag=lag, files=len(self.sessions))
        if self._ticks % _FILE_TICKS == 0:
            for certificates in {settings.tls for settings in self.settings if settings.tls is not None}:
                certificates.refresh()
        if self._ticks % _TOLD_TICKS == 0:
            self._told.clear()
        self._due = now + _TICK_SECONDS
        if self._timer is not None:
            self._timer = self.loop.call_at(self._due, self._tick)
