"""Logins: the order of tries of a password; some wait, some are put off before their password is looked at.

Owns the counts of wrong passwords over ten minutes, over all receivers that share counters, and the turns of
those who try. A login is refused to a network that has failed at it too often. By the login alone, or by the
network alone, only pairs that never passed are slowed: a guesser elsewhere locks nobody out of a network from
which he logs in. Of one network, one password at a time is looked at in each receiver, because a hash takes
the processor for as long as it was made to. Logins that passed before have a lane of their own, however many
networks guess.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from relay.config.model import Limits
from relay.networks import find_network

_WINDOW_SECONDS = 600.0
#: Seconds that a slowed try waits.
_SLOW_SECONDS = 3.0
#: A network is slowed after so many times `limits.failed_logins` wrong passwords, whatever the logins.
_LOGINS_OF_A_NETWORK = 3
#: Slowed tries of one network that may wait for their turn; more are put off.
_MOST_WAITING = 10

#: The look at a password, in the lane of logins that passed before (True) or in the other. It gives None when
#: the peer is gone.
Verify = Callable[[bool], Awaitable[bool | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of a login from a network, as the names of its counts."""

    network: str
    login: str
    pair: str


class Counters(Protocol):
    """Counts by table and name: "logins" of the present window, and "marks", which stay."""

    def add(self, table: str, name: str, step: int, /) -> int:
        """Count up by `step`. Returns the count."""

    def mark(self, table: str, name: str, value: int, /) -> None:
        """Set the count of a name."""

    def forget(self, table: str, name: str, /) -> None:
        """Set the count of a name to nothing."""

    def latest(self, table: str, name: str, /) -> int:
        """The largest count of a name in any process."""

    def clear(self, table: str, /) -> None:
        """Set all counts of a table to nothing."""


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


def name_try(login: str, address: str) -> Try:
    """The names of a try's counts. They hold a digest of the login, which may be as long as a peer likes."""
    digest = hashlib.blake2b(login.encode("utf-8", "replace"), digest_size=16).hexdigest()
    network = find_network(address)
    return Try(network=f"* {network}", login=f"{digest} *", pair=f"{digest} {network}")


class Logins:
    """The tries of one process, counted with those of its siblings."""

    def __init__(
        self,
        tally: Counters,
        *,
        uncounted: frozenset[str] = frozenset(),
        slow_seconds: float = _SLOW_SECONDS,
    ) -> None:
        """The tries from addresses in `uncounted` are looked at at once."""
        self._tally = tally
        self._uncounted = uncounted
        self._slow_seconds = slow_seconds
        self._window_ends_at = 0.0
        #: The turns that somebody has or waits for: never more than there are sessions.
        self._turns: dict[str, _Turn] = {}

    def decide(self, tried: Try, limits: Limits, *, now: float) -> float | None:
        """The seconds that a try waits before its password is looked at. Returns None when the try is put
        off.
        """
        if now >= self._window_ends_at:
            self._tally.clear("logins")
            self._window_ends_at = now + _WINDOW_SECONDS
        most = limits.failed_logins
        if self._failures(tried.pair) >= most:
            return None
        if self.has_passed(tried):
            return 0.0
        slowed = (
            self._failures(tried.login) >= most
            or self._failures(tried.network) >= most * _LOGINS_OF_A_NETWORK
        )
        return self._slow_seconds if slowed else 0.0

    def has_passed(self, tried: Try) -> bool:
        """Returns whether the login's password was once given from this network."""
        return self._tally.latest("marks", tried.pair) > 0

    def note(self, tried: Try, *, good: bool, now: float) -> None:
        """Count a password that was looked at."""
        if good:
            self._tally.mark("marks", tried.pair, int(now) + 1)
            self._tally.forget("logins", tried.pair)
        else:
            for name in (tried.pair, tried.login, tried.network):
                self._tally.add("logins", name, 1)

    async def check(
        self, login: str, address: str, limits: Limits, *, verify: Verify, now: Callable[[], float]
    ) -> bool | None:
        """The answer of `verify`, asked in turn. Returns None when it was not asked.

        Raises:
            OSError: from `verify`; nothing is counted.
        """
        if address in self._uncounted:
            return await verify(True)
        tried = name_try(login, address)
        # A login that passed before waits for no neighbour in its network.
        key = tried.pair if self.has_passed(tried) else tried.network
        turn = self._turns.setdefault(key, _Turn())
        if turn.waiting >= _MOST_WAITING and self.decide(tried, limits, now=now()):
            return None
        turn.waiting += 1
        try:
            async with turn.lock:
                # Many may have come before the first of them failed: they do not wait seconds for each other.
                if turn.waiting > _MOST_WAITING and self.decide(tried, limits, now=now()):
                    return None
                return await self._check(tried, limits, verify=verify, now=now)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[key]

    async def _check(
        self, tried: Try, limits: Limits, *, verify: Verify, now: Callable[[], float]
    ) -> bool | None:
        """The answer of `verify`, now that the turn has come. Other tries of the network may have failed
        meanwhile.
        """
        seconds = self.decide(tried, limits, now=now())
        if seconds is None:
            return None
        if seconds:
            await asyncio.sleep(seconds)
        good = await verify(self.has_passed(tried))
        if good is not None:
            self.note(tried, good=good, now=now())
        return good

    def _failures(self, name: str) -> int:
        return self._tally.add("logins", name, 0)
