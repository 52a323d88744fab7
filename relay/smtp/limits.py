"""Limits: how many sessions, mails and wrong guesses one peer may have.

Owns the counting by address and by network (/24 and /64, which is what one customer is given). Rules are values in,
values out, with `now` as an argument. A limit at its default is meant for the internet and lets this machine's own
loopback address pass (a local proxy or test is many peers at one address); a limit that the configuration writes
down holds for everybody.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from functools import lru_cache

from relay import replies
from relay.config.model import Limits
from relay.verdict import Reply

_SELF = frozenset({"127.0.0.1", "::1"})
_WINDOW_SECONDS = 60.0


@lru_cache(maxsize=8_192)
def network_of(address: str) -> str:
    """The /24 or /64 that an address lies in; what is no address is its own network."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 64), strict=False))


def holds(limits: Limits, key: str, address: str, *, trusted: bool) -> bool:
    """Whether a limit by address concerns this peer."""
    if key in limits.model_fields_set:
        return True
    return not trusted and address not in _SELF


class Window:
    """Counts by key within the current minute."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._counts: Counter[str] = Counter()

    def count(self, key: str, *, now: float) -> int:
        """How often the key was counted in this window, this time included."""
        if now >= self._ends_at:
            self._counts.clear()
            self._ends_at = now + _WINDOW_SECONDS
        self._counts[key] += 1
        return self._counts[key]


class Limiter:
    """The limits of one process."""

    def __init__(self) -> None:
        self._open = 0
        self._by_address: Counter[str] = Counter()
        self._by_network: Counter[str] = Counter()
        self._mails = Window()
        self._guesses = Window()

    def enter(self, address: str, limits: Limits, *, trusted: bool) -> Reply | None:
        """Count a session; the reply that refuses it when it is one too many (it is counted all the same)."""
        network = network_of(address)
        self._open += 1
        self._by_address[address] += 1
        self._by_network[network] += 1
        if self._open > limits.connections:
            return replies.TOO_MANY_SESSIONS
        for key, count, most in (
            ("connections_per_address", self._by_address[address], limits.connections_per_address),
            ("connections_per_network", self._by_network[network], limits.connections_per_network),
        ):
            if count > most and holds(limits, key, address, trusted=trusted):
                return replies.TOO_MANY_FROM_YOU
        return None

    def leave(self, address: str) -> None:
        """A counted session has ended."""
        self._open -= 1
        for counter, key in ((self._by_address, address), (self._by_network, network_of(address))):
            counter[key] -= 1
            if counter[key] <= 0:
                del counter[key]

    def may_send(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Whether one more mail may begin this minute."""
        if not holds(limits, "messages_per_minute", address, trusted=trusted):
            return True
        return self._mails.count(address, now=now) <= limits.messages_per_minute

    def may_guess(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Whether one more unknown recipient may be named this minute."""
        if not holds(limits, "unknown_recipients_per_minute", address, trusted=trusted):
            return True
        return self._guesses.count(address, now=now) <= limits.unknown_recipients_per_minute
