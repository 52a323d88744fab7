"""Outages: a service that is away for everyone, told apart from a mail that fails by itself.

Owns *outage*: when one begins, which entry may try meanwhile, and when it is over. While a service is away,
one entry at a time is claimed. So a night without S3 costs the queue a few attempts, instead of putting each
mail off for up to an hour. Never does I/O: instants are arguments, in seconds of a clock that nobody can set.

The rules:

- An outage begins when `_EVIDENCE` different entries have failed by the service's fault and no call to it
  succeeded between. One mail alone is no evidence, however often it fails: its size or content may be the
  cause.
- A success ends the outage at once. So does a refusal, for a service that refuses is there.
- An attempt that began before the last success says nothing of the time after it.
- Entries that an outage put off are recalled at its end. If one fails again within the longest backoff, it is
  no evidence.
- Credentials are a service of their own. One failure to get them is proof, since no mail has a part in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from relay.config.model import Deliver
from relay.errors import Blame, RemoteError

#: The name of credentials as a service, and the code of a failure to get them.
CREDENTIALS = "credentials"
SERVICES = ("s3", "connect", CREDENTIALS)
#: Number of different entries that prove an outage together.
_EVIDENCE = 3
#: Number of entries that are remembered of an outage, to be due when it is over: those under way when it
#: began, and its probes.
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The failures of one service since its last success."""

    #: The entries that failed by this service, the latest last.
    entries: tuple[str, ...] = ()
    #: The error of the last of them, in words.
    why: str = ""
    #: True while the service is away for everyone.
    is_away: bool = False
    #: While the service is away: when the next entry may try, and how long after that the one behind it.
    probe_at: float = -math.inf
    step_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The conclusions from one attempt."""

    #: Seconds to put the entry off for, without giving it up, if it failed by a service that is away; else
    #: None.
    delay_seconds: float | None = None
    #: Entries that failed by an outage that is over now: they are due at once.
    recalled: tuple[str, ...] = ()


class Outages:
    """The services that are away, kept in memory by one runner."""

    def __init__(self, limits: Deliver) -> None:
        self._limits = limits
        self._troubles: dict[str, Trouble] = {}
        self._passed_at: dict[str, float] = {}
        self._recalled_at: dict[str, float] = {}
        #: The entry that tries for all, and the instant until which no other may.
        self._probe: tuple[str, float] | None = None

    def reload(self, limits: Deliver) -> None:
        """Adopt other limits. Services that are away are tried again at once."""
        self._limits = limits
        self._troubles = {
            service: replace(trouble, probe_at=-math.inf) for service, trouble in self._troubles.items()
        }

    @property
    def away(self) -> Mapping[str, str]:
        """The services that are away for everyone, and why."""
        return {service: trouble.why for service, trouble in self._troubles.items() if trouble.is_away}

    def judge(
        self,
        reference: str,
        *,
        answered: frozenset[str],
        error: RemoteError | None,
        begun_at: float,
        now: float,
    ) -> Judgement:
        """Learn from an attempt that has ended.

        `answered` names the services that have done their work in it.
        """
        if self._probe is not None and self._probe[0] == reference:
            self._probe = None
        passed = set(answered)
        if error is not None and error.blame is Blame.REQUEST:
            passed.add(error.service)
        recalled = [entry for service in sorted(passed) for entry in self.passed(service, now=now)]
        delay = None
        if error is not None and error.blame is Blame.SERVICE:
            service = CREDENTIALS if error.code == CREDENTIALS else error.service
            delay = self._failed(service, reference, str(error), begun_at=begun_at, now=now)
        return Judgement(delay_seconds=delay, recalled=tuple(recalled))

    def passed(self, service: str, *, now: float) -> tuple[str, ...]:
        """Record that a service has done its work, for which credentials were had, too.

        Returns the entries to recall.
        """
        entries: tuple[str, ...] = ()
        for name in (service, CREDENTIALS):
            self._passed_at[name] = now
            trouble = self._troubles.pop(name, None)
            if trouble is not None and trouble.is_away:
                entries += trouble.entries
        recalled = tuple(entry for entry in entries if not self._was_recalled(entry, now))
        if recalled:
            self._recalled_at = {
                entry: at for entry, at in self._recalled_at.items() if self._was_recalled(entry, now)
            } | dict.fromkeys(recalled, now)
        return recalled

    def lost(self, service: str, *, why: str, now: float) -> None:
        """Record an outage found out without a mail. The caller looks again before `probe_at`."""
        trouble = self._troubles.get(service, Trouble())
        step = self._limits.probe_seconds
        self._troubles[service] = replace(
            trouble, why=why, is_away=True, probe_at=now + step, step_seconds=step
        )

    def wait_seconds(self, now: float) -> float:
        """The seconds until an entry may be claimed; 0.0 when one may be claimed now."""
        instants = [trouble.probe_at for trouble in self._troubles.values() if trouble.is_away]
        if instants and self._probe is not None:
            instants.append(self._probe[1])
        return max([*(at - now for at in instants), 0.0])

    def places(self, free: int, *, now: float) -> int:
        """The number of entries that may be claimed into `free` places: one at most in an outage."""
        if not self.away:
            return free
        return min(free, 1) if self.wait_seconds(now) <= 0.0 else 0

    def claimed(self, reference: str, *, now: float) -> None:
        """Record a claim.

        While a service is away this entry tries for all; if it hangs, another may after one step.
        """
        if self.away:
            self._probe = reference, now + self._limits.probe_seconds

    def _was_recalled(self, reference: str, now: float) -> bool:
        """Returns whether the entry was recalled so lately that a further failure is its own."""
        return now - self._recalled_at.get(reference, -math.inf) < self._limits.backoff_max_seconds

    def _failed(self, service: str, reference: str, why: str, *, begun_at: float, now: float) -> float | None:
        """Returns the seconds to put the entry off for where the service is away for everyone, else None."""
        trouble = self._troubles.get(service, Trouble())
        if begun_at < self._passed_at.get(service, -math.inf):
            return None
        if not trouble.is_away and self._was_recalled(reference, now):
            return None  # the entry failed again after the service was back: its mail may be the cause
        others = tuple(other for other in trouble.entries if other != reference)
        entries = (*others, reference)[-_REMEMBERED:]
        is_away = trouble.is_away or service == CREDENTIALS or len(entries) >= _EVIDENCE
        probe_at, step = trouble.probe_at, trouble.step_seconds
        if is_away and now >= probe_at:
            # The first failure, or that of a probe. Entries under way at the beginning fail before the first
            # probe is due.
            step = min(
                step * 2 if trouble.is_away else self._limits.backoff_min_seconds, self._limits.probe_seconds
            )
            probe_at = now + step
        self._troubles[service] = Trouble(
            entries=entries, why=why, is_away=is_away, probe_at=probe_at, step_seconds=step
        )
        # The delay is longer than one turn of each entry that failed, so that the next probe is another
        # entry. If one of them is the cause and were tried again and again, it would keep all other mail
        # waiting.
        return min(step * (len(entries) + 0.5), self._limits.backoff_max_seconds) if is_away else None
