"""The services of some instances only: Connect in another account or Region, and a bucket of their own.

Owns their outages, each apart from the others' and from those of everyone (`services`): the mail for such an
instance waits while one of it at a time tries, and all other mail goes on. Never claims, sends or records
anything; instants are those of a clock in seconds that nobody can set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from relay import telemetry
from relay.delivery.outage import CREDENTIALS, Outages
from relay.delivery.outcome import Delivered, Failed

#: The mails that wait are looked at again within this time after the probe, one after another, so that a long
#: queue of one instance does not come all at once.
_SPREAD_SECONDS = 60.0
_STEP_SECONDS = 0.05


@dataclass(slots=True, kw_only=True)
class ServiceApart:
    """A service of a single instance or bucket, which may be away while the others answer."""

    #: "connect" or "s3".
    service: str
    #: The service with its place, as alarms and the log name it: "connect us-west-2", "s3 example-mail".
    name: str
    outages: Outages
    clock: Callable[[], float]
    _waiting: int = field(default=0)

    @property
    def why(self) -> str:
        """The reason why the service is away; "" where it is not."""
        return self.outages.away.get(self.service, "")

    def wait_seconds(self) -> float:
        """The seconds that a mail is put off while the service is away; 0.0 where one may try."""
        seconds = self.outages.wait_seconds(self.clock()) if self.why else 0.0
        if not seconds:
            return 0.0
        self._waiting += 1
        return seconds + self._waiting * _STEP_SECONDS % _SPREAD_SECONDS

    def begin(self, reference: str) -> None:
        """Record that an attempt begins: while the service is away, it tries for all."""
        self.outages.claimed(reference, now=self.clock())

    def judge(self, reference: str, outcome: Delivered | Failed, *, begun_at: float) -> Delivered | Failed:
        """Learn from an attempt that began at this instant.

        Returns the outcome with what follows: the delay of its entry, and entries that are due at once.
        """
        was_away = self.why
        error = outcome.error if isinstance(outcome, Failed) else None
        if error is not None and (error.service != self.service or error.code == CREDENTIALS):
            error = None  # a matter of others
        has_answered = outcome.stored if self.service == "s3" else isinstance(outcome, Delivered)
        judgement = self.outages.judge(
            reference,
            answered=frozenset({self.service} if has_answered else ()),
            error=error,
            begun_at=begun_at,
            now=self.clock(),
        )
        if bool(was_away) != bool(self.why):
            telemetry.service_moved(service=self.name, why=self.why)
        outcome = replace(
            outcome, apart=outcome.apart | {self.service}, recalled=outcome.recalled + judgement.recalled
        )
        if isinstance(outcome, Failed) and judgement.delay_seconds is not None:
            return replace(outcome, delay_seconds=judgement.delay_seconds)
        return outcome
