"""The way to Connect as attempts show it: any answer proves that it is reached, a refusal, too.

Owns what an outcome says of that way. Instants are those of a clock that nobody can set, in seconds. Never
asks Connect itself.
"""

from __future__ import annotations

from relay.delivery.outcome import Delivered, Failed, Outcome
from relay.spool.nodes import Reach

#: Seconds for which an answer says how things are. While nothing is asked, nothing is known.
_FRESH_SECONDS = 60.0
#: Seconds after which a failure is no proof that connections fail still: the mail may wait for an hour.
_DOUBTED_SECONDS = 25.0


class Reached:
    """The last word on the way to Connect."""

    def __init__(self) -> None:
        self._answered_at: float | None = None
        #: The beginning of the first attempt of those that failed since the last answer.
        self._failing_since: float | None = None
        self._failed_at = 0.0

    def judge(self, outcome: Outcome, *, begun_at: float, now: float) -> None:
        """Learn from an attempt."""
        if isinstance(outcome, Delivered):
            self.answered(now=now)
        elif isinstance(outcome, Failed) and outcome.error.service == "connect":
            if outcome.error.is_cut_off:
                self.failed(begun_at=begun_at, now=now)
            else:
                self.answered(now=now)

    def answered(self, *, now: float) -> None:
        """Note an answer of Connect."""
        self._answered_at, self._failing_since = now, None

    def failed(self, *, begun_at: float, now: float) -> None:
        """Note that a connection failed. One that began before the last answer says nothing."""
        if self._answered_at is not None and begun_at < self._answered_at:
            return
        self._failed_at = now
        if self._failing_since is None:
            self._failing_since = begun_at

    def is_doubted(self, *, now: float) -> bool:
        """Returns whether connections failed, and nobody has tried one lately."""
        return self._failing_since is not None and now - self._failed_at > _DOUBTED_SECONDS

    def tell(self, *, now: float) -> Reach:
        """The way to Connect as it is now."""
        if self._failing_since is not None:
            return Reach(is_reached=False, failing_seconds=now - self._failing_since)
        if self._answered_at is None or now - self._answered_at > _FRESH_SECONDS:
            return Reach()
        return Reach(is_reached=True)
