"""Places: the choice of sessions when more want to be served than `limits.connections`.

Owns the stress (four fifths of the places are taken), under which a peer may be silent for seconds only; the
order in which sessions make way for a newcomer, the idlest first; and the tenth of the places that is kept
for trusted listeners and for peers that delivered mail lately. Sessions are counted over all receivers that
share counters; each receiver ends sessions of its own. Never touches a socket: a session that is to make way
is told so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

from relay.config.model import Limits
from relay.smtp.limits import Limiter, most_sessions

#: A session that is idle for less time makes way for nobody: it has hardly begun.
_GRACE_SECONDS = 1.0
#: The time from the last session that found no free place until the relay no longer counts as full, once the
#: stress is over.
_CALM_SECONDS = 2.0


class Sitting(Protocol):
    """A session, as far as places are concerned with it."""

    #: True if the session may have one of the places that are kept.
    known: bool

    def idle_since(self) -> float:
        """The time since which the peer is waited for. Infinity while it is not, or cannot make way."""

    def hurry(self) -> None:
        """Look again how long the peer may be silent: the stress has begun."""

    def make_way(self) -> None:
        """End now, and free the place."""


class Places:
    """The places as one process gives them."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        #: True if a peer may be silent for seconds only.
        self.stressed = False
        #: True if newcomers find no free place.
        self.full = False
        self._full_at = -math.inf
        #: The sessions that may make way, the idlest first, as they were at the last look; one look a tick.
        self._idle: dict[bool, deque[tuple[float, Sitting]]] = {False: deque(), True: deque()}
        self._looked = False

    def command_seconds(self, limits: Limits) -> float:
        """The seconds for which a command is waited for now."""
        if self.stressed:
            return min(limits.command_seconds, limits.stressed_command_seconds)
        return limits.command_seconds

    def handshake_seconds(self, limits: Limits) -> float:
        """The seconds that a TLS handshake may take now."""
        if self.stressed:
            return min(limits.handshake_seconds, limits.stressed_command_seconds)
        return limits.handshake_seconds

    def tick(self, sessions: Iterable[Sitting], limits: Limits, *, now: float) -> None:
        """Look how many places are taken. Called a few times a second."""
        self._looked = False
        taken = self._limiter.sessions()
        stressed = taken * 5 >= limits.connections * 4
        if stressed and not self.stressed:
            self.stressed = True
            for session in tuple(sessions):
                session.hurry()
        self.stressed = stressed
        if taken >= most_sessions(limits, known=False):
            self._fill(now)
        elif not stressed and now - self._full_at > _CALM_SECONDS:
            self.full = False

    def make_room(self, sessions: Collection[Sitting], *, known: bool, now: float) -> bool:
        """Have the idlest session make way for a newcomer that found no free place. Returns whether there is
        one now.

        A stranger takes the place of a stranger only.
        """
        self._fill(now)
        for group in (False, True)[: 1 + known]:
            if (found := self._idlest(sessions, group, now=now)) is not None:
                found.make_way()
                return True
        return False

    def _fill(self, now: float) -> None:
        self.full, self._full_at = True, now

    def _idlest(self, sessions: Collection[Sitting], group: bool, *, now: float) -> Sitting | None:
        waiting = self._idle[group]
        while waiting or not self._looked:
            if not waiting:
                self._look(sessions)
                continue
            since, session = waiting[0]
            if now - since < _GRACE_SECONDS:
                return None
            waiting.popleft()
            # Since the look it has neither ended nor said anything. Nothing is asked of a session that has
            # ended.
            if session in sessions and session.idle_since() == since:
                return session
        return None

    def _look(self, sessions: Iterable[Sitting]) -> None:
        self._looked = True
        found = [(since, each) for each in sessions if (since := each.idle_since()) < math.inf]
        found.sort(key=lambda pair: pair[0])
        for group, waiting in self._idle.items():
            waiting.clear()
            waiting.extend(pair for pair in found if pair[1].known is group)
