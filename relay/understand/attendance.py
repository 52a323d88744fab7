"""The watch over one mail with one worker, until the worker answers or is ended.

Owns the words *slow* and *silent*. CPU is the worker's own, as the kernel counts it, so that a busy machine
makes no mail slow; a worker that neither runs nor waits for a processor is blocked, or was stopped: silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from relay import telemetry
from relay.config import Config
from relay.understand import wire
from relay.understand.limits import Allowance
from relay.understand.process import Death, DiedError, WorkerProcess
from relay.understand.supply import BusyError, Supply

#: CPU seconds, or seconds blocked, after which a mail goes on in the slow lane.
SLOW_SECONDS = 1.0
#: CPU seconds, and more for each octet, after which a mail leaves a worker that others wait for: several
#: times what an ordinary mail needs.
_LONG_SECONDS = 0.05
_LONG_SECONDS_PER_OCTET = 4e-8
#: Seconds blocked after which a worker is ended.
SILENT_SECONDS = 10.0
#: CPU seconds between two looks that count as none.
_STILL_SECONDS = 0.001
#: Seconds on the clock for each CPU second that a mail may use, because the machine may be busy.
_PATIENCE = 20.0
#: Seconds on the clock for a template to import everything and fork, and for a killed worker to be gone.
_UNBORN_SECONDS = 60.0
_DYING_SECONDS = 3.0


class GivenUpError(Exception):
    """The mail is not understood, and will not be: `kind` is a death, `files` or `fault`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass(kw_only=True)
class Call:
    """One mail, and the job that is asked for it."""

    job: str
    order: dict[str, Any]
    #: The descriptors of the mail, and of the file for decoded octets.
    raw: int
    files: int
    size: int
    config: Config
    allowance: Allowance
    #: The spool id for the log, and to remember a slow mail; "" where there is none yet.
    spool_id: str
    #: Answers the questions that the worker asks about the mail.
    answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] | None = field(default=None, repr=False)
    #: True when the mail was put off often enough for workers that somebody else killed.
    is_last: bool = False
    deaths: Counter[Death] = field(default_factory=Counter)


def take_answer(words: dict[str, Any], call: Call) -> dict[str, Any]:
    """The result that a worker's last packet carries.

    Raises:
        DiedError, GivenUpError, BusyError: the packet has none.
        KeyError, TypeError: the packet is malformed.
    """
    match words["said"]:
        case "done":
            result: dict[str, Any] = words["result"]
            return result
        case "memory":
            raise DiedError(Death.MEMORY, "MemoryError")
        case "files":
            raise GivenUpError("files", f"over {call.allowance.files_bytes:,} octets when decoded")
        case "temporary":
            raise BusyError(f"a worker met {words['error']}", error=words["error"])
        case "fault":
            error = str(words["error"])[:200]
            raise GivenUpError("fault", error)
    raise KeyError(words["said"])


class Attendance:
    """One mail with one worker, and the seconds that it has used."""

    def __init__(
        self, call: Call, worker: WorkerProcess, clock: Callable[[], float], *, silent_seconds: float
    ) -> None:
        self.call = call
        self.worker = worker
        self._clock = clock
        self._silent_seconds = silent_seconds
        self._begun = self._last = clock()
        #: Seconds on the clock while this process itself was running.
        self._seconds = 0.0
        self._unborn = self._stuck = 0.0
        self._blocked = 0.0
        self._dying = 0.0
        self.cpu = 0.0
        #: True when the worker can take another mail.
        self.is_clean = False

    @property
    def is_slow(self) -> bool:
        """Returns whether the mail belongs into the slow lane."""
        return self.cpu >= SLOW_SECONDS or self._blocked >= SLOW_SECONDS

    @property
    def is_long(self) -> bool:
        """Returns whether other mails may be served before this one goes on."""
        return self.cpu >= min(_LONG_SECONDS + self.call.size * _LONG_SECONDS_PER_OCTET, SLOW_SECONDS)

    def begin(self, supply: Supply) -> None:
        """Give the worker its mail.

        Raises:
            BusyError: the machine has no room for it.
        """
        call = self.call
        number, packed = supply.number_of(call.config)
        words = call.order | {
            "job": call.job,
            "number": number,
            "config": packed if self.worker.number != number else None,
            "allowance": wire.pack(call.allowance),
        }
        self.worker.begin_mail()
        try:
            self.worker.send(words, (call.raw, call.files))
        except OSError as exc:
            raise BusyError(f"no room to hand the mail over: {exc.strerror}") from exc
        self.worker.number = number

    async def listen(self, tick_seconds: float) -> dict[str, Any] | None:
        """The result of the mail. Returns None after a tick without one.

        Raises:
            DiedError, GivenUpError, BusyError: this worker will give none.
        """
        words = await self.worker.hear(tick_seconds)
        if words is None:
            self._watch(tick_seconds)
            return None
        try:
            return await self._take(words)
        except (KeyError, TypeError) as exc:
            raise DiedError(Death.EXIT, f"what it said is no answer: {exc!r}") from None

    async def _take(self, words: dict[str, Any]) -> dict[str, Any] | None:
        if words["said"] == "ask" and self.call.answer is not None:
            self.worker.send(await self.call.answer(words["question"]))
            self._last = self._clock()
            return None
        if words["said"] == "fault":
            error = str(words["error"])[:200]
            telemetry.worker_faulted(error=error, places=words["places"], spool_id=self.call.spool_id)
        self.is_clean = not words["retires"] and words["said"] in ("done", "files", "temporary")
        return take_answer(words, self.call)

    def _watch(self, tick_seconds: float) -> None:
        """Measure the worker, and end it when it stands still or takes far too long."""
        now = self._clock()
        # A stretch in which this process did not run says nothing about the worker.
        passed, self._last = min(now - self._last, 4 * tick_seconds), now
        if self.worker.is_condemned:
            self._dying += passed
            if self._dying >= _DYING_SECONDS:  # the template, which should end it, hangs as well
                self.worker.end_template()
            return
        if self.worker.pid is None:
            self._unborn += passed
            self._stuck = 0.0 if self.worker.is_runnable() else self._stuck + passed
            if self._stuck >= self._silent_seconds or self._unborn >= _UNBORN_SECONDS:
                self.worker.end_template()
            return
        self._seconds += passed
        before, self.cpu = self.cpu, self.worker.cpu_seconds()
        still = self.cpu - before < _STILL_SECONDS and not self.worker.is_runnable()
        self._blocked = self._blocked + passed if still else 0.0
        allowed = self.call.allowance.cpu_seconds
        if self._blocked >= self._silent_seconds or self._seconds >= _PATIENCE * allowed:
            self.worker.end(Death.SILENT)
        elif self.cpu >= allowed + 3:  # the kernel should have ended it
            self.worker.end(Death.CPU)

    def tell(self, died: DiedError, lane: str) -> None:
        """Log the death of the worker."""
        telemetry.worker_died(
            kind=died.death,
            detail=died.detail,
            spool_id=self.call.spool_id,
            lane=lane,
            seconds=self._clock() - self._begun,
        )

    def discard(self) -> None:
        """End the worker; it is not used again."""
        self.worker.end(Death.EXIT)
        self.worker.close()
