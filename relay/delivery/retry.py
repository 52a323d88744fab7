"""The decision about an entry whose delivery failed: again later, wait for the route, or give up.

Owns the treatment of each class of failure, from 429 and 404 to a refused payload (docs/flow.md, "Delivery"),
and the arithmetic of backoff. Never does I/O: the age, the attempt and the chance are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from relay.config.model import Deliver
from relay.errors import FailureClass
from relay.vocabulary import Rung

#: 2**_MAX_DOUBLINGS seconds is longer than any limit; larger exponents would overflow a float at attempt
#: 1,024.
_MAX_DOUBLINGS = 40
_THROTTLED_STEPS = 6

_LADDER = (Rung.FULL, Rung.TRIMMED, Rung.TEXT, Rung.ORIGINAL)


def next_rung(rung: Rung) -> Rung | None:
    """The rung below one whose payload Connect refuses. Returns None after the last."""
    position = _LADDER.index(rung) + 1
    return _LADDER[position] if position < len(_LADDER) else None


def rung_number(rung: Rung) -> int:
    """The place of a rung on the ladder, from 0."""
    return _LADDER.index(rung)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The entry is due again after so many seconds, with the same payload."""

    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRoute:
    """The route is held: an error of configuration stops all its mail. The entry waits for a probe."""

    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bury:
    """The entry is a dead letter, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyThere:
    """The contact exists: this relay has sent its token before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEntry:
    """The entry waits for a person, for this reason."""

    reason: str


Decision = Retry | HoldRoute | Bury | AlreadyThere | HoldEntry


def backoff_seconds(attempt: int, *, limits: Deliver, chance: float) -> float:
    """The seconds before the next attempt: doubling from the least to the most, spread by a quarter either
    way.

    `attempt` counts from 1; `chance` lies in [0, 1). Before the spread, the result never falls as attempts
    rise.
    """
    doublings = min(max(attempt, 1) - 1, _MAX_DOUBLINGS)
    plain = min(limits.backoff_min_seconds * 2.0**doublings, limits.backoff_max_seconds)
    return plain * (0.75 + 0.5 * chance)


def decide_failure(
    failure: FailureClass,
    *,
    attempt: int,
    age_seconds: float,
    limits: Deliver,
    chance: float,
    explained: bool = False,
) -> Decision:
    """Decide what becomes of an entry after a failure of this class (docs/flow.md, "Delivery").

    `explained` is for a conflict: True if this entry has sent the token before, or the ledger remembers it.
    """
    too_old = age_seconds > limits.max_age_hours * 3_600
    match failure:
        case FailureClass.CONFLICT:
            # Two MX hosts without a common spool, or a spool restored from a copy: a person must look.
            return AlreadyThere() if explained else HoldEntry(reason="conflict_unexplained")
        case FailureClass.CONFIGURATION:
            # The mail is good and the configuration is not, so the entry is not given up here for its age.
            return HoldRoute(delay_seconds=limits.probe_seconds)
        case FailureClass.PAYLOAD:
            # The delivery has gone down the whole ladder before it reports this class.
            return Bury(reason="payload_refused")
        case FailureClass.CAPACITY:
            # Minutes, not seconds: agents have to end contacts first.
            return (
                Bury(reason="too_old")
                if too_old
                else Retry(delay_seconds=limits.capacity_seconds * (0.75 + 0.5 * chance))
            )
        case FailureClass.THROTTLED:
            # The pace already slows all requests; doubling besides would punish a mail for its neighbours.
            steps = min(max(attempt, 1), _THROTTLED_STEPS)
            delay = limits.backoff_min_seconds * steps * (0.75 + 0.5 * chance)
            return Bury(reason="too_old") if too_old else Retry(delay_seconds=delay)
        case FailureClass.TEMPORARY:
            if too_old:
                return Bury(reason="too_old")
            return Retry(delay_seconds=backoff_seconds(attempt, limits=limits, chance=chance))
        case _:
            assert_never(failure)
