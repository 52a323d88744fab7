"""Limits: the number of sessions, mails and wrong guesses that one peer may have.

Owns the counting by address (of IPv6 by /64) and by network (/24 and /48, which is what one customer is
given), over all receivers of a machine where they share counters. Time is an argument. A limit at its default
is meant for the internet: it passes over trusted listeners and this machine's own loopback addresses, where a
local proxy or a test is many peers at one address. A limit that the configuration writes down holds for
everybody.
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
#: The time for which a peer that delivered mail is known: most peers that write again do so within a day.
_LATELY_SECONDS = 86_400.0
_EVERYONE = "*"  # a name that no network has
_BY_MINUTE = ("mails", "recipients", "guesses")


def holds(limits: Limits, key: str, address: str, *, trusted: bool) -> bool:
    """Returns whether a limit by address concerns this peer."""
    return not (trusted or address in SELF) or key in limits.model_fields_set


@lru_cache(maxsize=8_192)
def _deliverer(address: str) -> str:
    """The name under which the acceptance of a mail from a network is remembered."""
    return f"mail {find_network(address)}"


def most_sessions(limits: Limits, *, known: bool) -> int:
    """The number of sessions below which a newcomer finds a free place. A tenth of the places is kept for
    peers that are known.
    """
    return limits.connections if known else limits.connections - limits.connections // 10


class Limiter:
    """The limits as one process keeps them."""

    def __init__(self, tally: SharedCounters) -> None:
        self.tally = tally
        self._window_ends_at = 0.0

    def enter(self, address: str, limits: Limits, *, trusted: bool, known: bool = False) -> Reply | None:
        """Count a session. Returns the reply that refuses it when it is one too many; it is counted all the
        same.

        The refusal for want of places is given only to a peer that has not too many sessions itself, because
        others may make way for it.
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
        """The number of sessions that are open, in all receivers."""
        return self.tally.add("network", _EVERYONE, 0)

    def delivered(self, address: str, *, now: float) -> None:
        """Remember that a peer's mail was accepted."""
        self.tally.mark("marks", _deliverer(address), int(now) + 1)

    def has_delivered(self, address: str, *, now: float) -> bool:
        """Returns whether mail of the peer's network was accepted lately."""
        at = self.tally.latest("marks", _deliverer(address))
        # An instant in the future was written before the machine was last started.
        return 0 < at <= now + 1 and now - at < _LATELY_SECONDS

    def leave(self, address: str) -> None:
        """Take a session that has ended out of the counts."""
        self.tally.add("network", _EVERYONE, -1)
        self.tally.add("address", find_host(address), -1)
        self.tally.add("network", find_network(address), -1)

    def may_send(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Count a mail. Returns whether the address may begin so many this minute."""
        if not holds(limits, "messages_per_minute", address, trusted=trusted):
            return True
        return self._count("mails", address, now=now) <= limits.messages_per_minute

    def may_name(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Count a recipient that we have. Returns whether the address may name so many this minute.

        Each recipient may become a contact, and the rate of contacts is what is short. Trusted listeners have
        no such limit: a mail server of ours that passes on everybody's mail is one address.
        """
        if trusted or not holds(limits, "recipients_per_minute", address, trusted=False):
            return True
        return self._count("recipients", address, now=now) <= limits.recipients_per_minute

    def may_guess(self, address: str, limits: Limits, *, trusted: bool, now: float) -> bool:
        """Count a recipient that we do not have. Returns whether the address may name so many this minute."""
        if not holds(limits, "unknown_recipients_per_minute", address, trusted=trusted):
            return True
        return self._count("guesses", address, now=now) <= limits.unknown_recipients_per_minute

    def forgive_guess(self, address: str) -> None:
        """Take one wrong guess back: a mail was accepted that had an unknown recipient beside its own."""
        self.tally.add("guesses", find_host(address), -1)

    def _count(self, table: str, address: str, *, now: float) -> int:
        """The number of times that an address was counted within the minute, this time included."""
        if now >= self._window_ends_at:
            for each in _BY_MINUTE:
                self.tally.clear(each)
            self._window_ends_at = now + _WINDOW_SECONDS
        return self.tally.add(table, find_host(address), 1)
