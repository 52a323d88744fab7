"""The pace to Connect: a token bucket that slows when the service says so, and finds its way back.

Owns the rate of StartEmailContact calls. `Bucket` is arithmetic over a clock that is passed in; `Pace` is its
asyncio shell. The service allows 2 requests a second with a burst of 5 per account and Region by default
(Amazon Connect service quotas), shared with every other caller of the account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: One 429 takes a fifth of the rate; two successes give it back. Where half of all calls are refused whatever
#: we do, this settles at half the rate instead of at the floor. Several 429s within a second count once: they
#: are answers to the same burst.
_DECREASE = 4 / 5
_INCREASE = 1 / 10
_FLOOR = 1 / 8
_DECREASE_INTERVAL_SECONDS = 1.0


class Bucket:
    """Tokens that come at a rate, up to a burst; `now` is a monotonic clock in seconds."""

    def __init__(self, *, rate: float, burst: int, now: float) -> None:
        self._full_rate = rate
        #: The service counts in a bucket of its own. Ours holds one less, so that a call which arrives a little
        #: early still finds a token there.
        self._capacity = float(max(burst - 1, 1))
        self.rate = rate
        # After a restart the service may still remember our last burst: begin with one token, not with all.
        self._tokens = 1.0
        self._filled_at = now
        self._slowed_at = now - _DECREASE_INTERVAL_SECONDS

    def take(self, now: float) -> float:
        """Take a token and get 0.0, or take none and get the seconds until one is there."""
        self._tokens = min(self._tokens + (now - self._filled_at) * self.rate, self._capacity)
        self._filled_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate

    def slow_down(self, now: float) -> None:
        """The service answered 429: multiplicative decrease, and no burst until tokens have come again."""
        self._tokens = min(self._tokens, 0.0)
        if now - self._slowed_at >= _DECREASE_INTERVAL_SECONDS:
            self.rate = max(self.rate * _DECREASE, self._full_rate * _FLOOR)
            self._slowed_at = now

    def speed_up(self) -> None:
        """A call went through: additive increase up to the configured rate."""
        self.rate = min(self.rate + self._full_rate * _INCREASE, self._full_rate)


class Pace:
    """A bucket to wait at; those who wait are let through in the order in which they came."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bucket = Bucket(rate=rate, burst=burst, now=clock())
        self._gate = asyncio.Lock()  # asyncio's lock is fair, which keeps the order

    @property
    def rate(self) -> float:
        """Requests a second, as slowed down at the moment."""
        return self._bucket.rate

    async def turn(self) -> None:
        """Wait until a request may go out."""
        async with self._gate:
            while (seconds := self._bucket.take(self._clock())) > 0:  # noqa: ASYNC110 - it waits for time, not for an event
                await asyncio.sleep(seconds)

    def throttled(self) -> None:
        """Tell of a 429."""
        self._bucket.slow_down(self._clock())

    def passed(self) -> None:
        """Tell of a call that was not throttled."""
        self._bucket.speed_up()
