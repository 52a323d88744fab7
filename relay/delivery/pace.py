"""The pace to Connect: a token bucket that slows when the service says so, and finds its way back.

Owns the rate of StartEmailContact calls. `Bucket` is arithmetic over a clock that is passed in; `Pace` is its
asyncio shell. The service allows 2 requests a second with a burst of 5 per account and Region by default
(Amazon Connect service quotas), shared with every other caller of the account.

The law, and why it keeps its promise:

- The service counts in a bucket, and so do we: the same rate, one token less of burst, and one token at the
  start. Over any stretch of time we then ask for at least one call less than its bucket holds, so calls that
  arrive late, early or in a bunch still find a token. Alone on an account we are never told 429; under a
  backlog the rate is the configured one, for a token that comes while we are late is kept and not lost.
- Additive increase by *time*, multiplicative decrease: a 429 takes a fifth of the rate, once a second at
  most; each second in which calls pass gives back a tenth of the configured rate. Were the increase counted
  by calls that pass, the faster of two callers would also grow faster, and the slower one be pushed aside;
  and a rate configured far too high would feed itself.
- Where a share of all calls is refused whatever we do, slowing down is of no use, and nobody can tell this
  from a crowd of other callers. The rate settles at the root of what is given back over what is taken: with
  half of the calls refused at four fifths of the configured rate, with four in five at two fifths of it. It
  never falls under an eighth, so the way back is always found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: A 429 leaves this share of the rate. Several within a second count once: they answer the same burst.
_DECREASE = 4 / 5
_DECREASE_INTERVAL_SECONDS = 1.0
#: Share of the configured rate that is given back for each second since the call before that passed, up to
#: this many seconds: a call after an idle night proves little about the night.
_INCREASE_PER_SECOND = 1 / 10
_INCREASE_SECONDS = 5.0
_FLOOR = 1 / 8
#: A token that lacks less than this is whole: otherwise a wait for a rounding error would end before the
#: clock has moved.
_ROUNDING = 1e-6


class Bucket:
    """A bucket of tokens that come at a rate, up to a burst. `now` is a monotonic clock in seconds."""

    def __init__(self, *, rate: float, burst: int, now: float) -> None:
        self._full_rate = rate
        #: The service counts in a bucket of its own. This one holds one token less, so that a call which
        #: arrives a little early still finds a token there.
        self._capacity = float(max(burst - 1, 1))
        self.rate = rate
        # After a restart the service may still remember our last burst: begin with one token.
        self._tokens = 1.0
        self._filled_at = now
        self._slowed_at = now - _DECREASE_INTERVAL_SECONDS
        self._passed_at = now

    def take(self, now: float) -> float:
        """Take a token. Returns 0.0, or the seconds until a token is there, in which case none is taken."""
        self._tokens = min(self._tokens + (now - self._filled_at) * self.rate, self._capacity)
        self._filled_at = now
        if self._tokens >= 1.0 - _ROUNDING:
            self._tokens = max(self._tokens - 1.0, 0.0)
            return 0.0
        return (1.0 - self._tokens) / self.rate

    def slow_down(self, now: float) -> None:
        """Apply a 429: multiplicative decrease, and no burst until tokens have come again."""
        self._tokens = min(self._tokens, 0.0)
        if now - self._slowed_at >= _DECREASE_INTERVAL_SECONDS:
            self.rate = max(self.rate * _DECREASE, self._full_rate * _FLOOR)
            self._slowed_at = now

    def speed_up(self, now: float) -> None:
        """Apply a call that passed: additive increase by the time since the call before, up to the configured
        rate.
        """
        seconds = min(now - self._passed_at, _INCREASE_SECONDS)
        self.rate = min(self.rate + self._full_rate * _INCREASE_PER_SECOND * seconds, self._full_rate)
        self._passed_at = now


class Pace:
    """A bucket to wait at. Requests are let through in the order in which they came."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bucket = Bucket(rate=rate, burst=burst, now=clock())
        self._gate = asyncio.Lock()  # asyncio's lock is fair, which keeps the order

    @property
    def rate(self) -> float:
        """The present rate in requests a second, as slowed down by 429s."""
        return self._bucket.rate

    async def turn(self) -> None:
        """Wait until a request may go out."""
        async with self._gate:
            while (seconds := self._bucket.take(self._clock())) > 0:  # noqa: ASYNC110 - waits for time
                await asyncio.sleep(seconds)

    def throttled(self) -> None:
        """Record a 429."""
        self._bucket.slow_down(self._clock())

    def passed(self) -> None:
        """Record a call that was not throttled."""
        self._bucket.speed_up(self._clock())
