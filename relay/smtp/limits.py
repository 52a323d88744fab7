"""Limits: how many sessions, mails and wrong guesses one peer may have.

Owns the counting by address (of IPv6 the /64) and by network (/24 and /48, which is what one customer is given), over
all receivers of a machine where they share a tally. Time is an argument. A limit at its default is meant for the internet, and lets
this machine's own loopback address and trusted listeners pass (a local proxy or test is many peers at one address); a
limit that the configuration writes down holds for everybody.
"""

from __future__ import annotations

from functools import lru_cache

from relay import replies
from relay.config.model import Limits
from relay.networks import find_host, find_network
from relay.smtp.counters import SharedCounters
from relay.vocabulary import Reply

SELF = frozenset({"127.0.0.1", "::1"})
_WINDOW_SECONDS = 60.0
#: How long a peer that delivered mail is known: most that write at all write within a day.
_LATELY_SECONDS = 86_400.0
_EVERYONE = "*"  # a name that no network has
_BY_MINUTE = ("mails", "recipients", "guesses")


def holds(limits: Limits, key: str, address: str, *, trusted: bool) -> bool:
    """Whether a limit by address concerns this peer."""
    return not (trusted or address in SELF) or key in limits.model_fields_set


@lru_cache(maxsize=8_192)
def _deliverer(address: str) -> str:
    """The name under which it is kept that mail of a network was accepted."""
    return f"mail {find_network(address)}"


def most_sessions(limits: Limits, *, known: bool) -> int:
    """The sessions among which a newcomer finds a free place: a tenth is kept for those that are known."""
    return limits.connections if known else limits.connections - limits.connections // 10


class Limiter:
    """The limits as one process keeps them."""

    def __init__(self, tally: SharedCounters) -> None:
        self.tally = tally
        self._window_ends_at = 0.0

    def enter(self, address: str, limits: Limits, *, trusted: bool, known: bool = False) -> Reply | None:
        """Count a session; the reply that refuses it when it is one too many (it is counted all the same).

        That all places are taken is said only to a peer that has not too many itself: for it others may make way.
        """
        in_all = self.tally.add("network", _EVERYONE, 1)
        by_address = self.tally.add("address", find_host(address), 1)
        by_network = self.tally.add("network", find_network(address), 1)
        if (
            by_address > limits.connections_per_address
            and holds(limits, "connections_per_address", address, trusted=trusted)
        ) or (
            by_network > limits.connections_per_network
            and holds(limits, "connections_per_network", address, trusted=trusted)
        ):
            return replies.TOO_MANY_FROM_YOU
        return replies.TOO_MANY_SESSIONS if in_all > most_sessions(limits, known=known) else None

    def sessions(self) -> int:
        """The sessions that are open, in all receivers."""
        return self.tally.add("network", _EVERYONE, 0)

    def delivered(self, address: str, *, now: float) -> None:
        """Remember that a peer's mail was accepted."""
        self.tally.mark("marks", _deliverer(address), int(now) + 1)

    def has_delivered(self, address: str, *, now: float) -> bool:
        """Return whether mail of the peer's network was accepted lately."""
        at = self.tally.latest("marks", _deliverer(address))
        # An instant to come is one from before the machine was started.
        return 0 < at <= now + 1 and now - at < _LATELY_SECONDS

    def leave(self, address: str) -> None:
        """A counted session has ended."""
        self.tally.add("network", _EVERYONE, -1)
        self.tally.add("address", find_host(address), -1)
        self.tally.add("network", find_network(address), -1)

    def may_send(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Whether one more mail may begin this minute."""
        if not holds(limits, "messages_per_minute", address, trusted=trusted):
            return True
        return self._count("mails", address, now=now) <= limits.messages_per_minute

    def may_name(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Count a recipient that we have; whether the address may have so many this minute.

        Each recipient may be a contact, and those are what is short. Never a limit for trusted listeners: a mail server
        of ours that passes on everybody's mail is one address.
        """
        if trusted or not holds(limits, "recipients_per_minute", address, trusted=False):
            return True
        return self._count("recipients", address, now=now) <= limits.recipients_per_minute

    def may_guess(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Whether one more unknown recipient may be named this minute."""
        if not holds(limits, "unknown_recipients_per_minute", address, trusted=trusted):
            return True
        return self._count("guesses", address, now=now) <= limits.unknown_recipients_per_minute

    def forgive_guess(self, address: str) -> None:
        """A mail was accepted that had an unknown recipient among its own: one of those is no guess."""
        self.tally.add("guesses", find_host(address), -1)

    def _count(self, table: str, address: str, *, now: float) -> int:
        """How often an address was counted within the minute, this time included."""
        if now >= self._window_ends_at:
            for each in _BY_MINUTE:
                self.tally.clear(each)
            self._window_ends_at = now + _WINDOW_SECONDS
        return self.tally.add(table, find_host(address), 1)
