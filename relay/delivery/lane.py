"""The queue of slow mails for the slow lane of the workers (docs/flow.md, "Workers").

Owns which of them goes next: networks of peers in turn, and in each network the mail that has waited
longest. So a flood of slow mails delays the slow mails of its own network. A mail that waits here has begun
no attempt. Never does I/O: instants are arguments, in seconds of a clock that nobody can set.
"""

from __future__ import annotations

import math
from collections import deque

from relay.domains import normalise_domain
from relay.envelope import Envelope
from relay.networks import find_network
from relay.spool.model import Entry

#: Seconds between two calls: a mail that was called has to be claimed and opened before it takes its place.
_CALL_SECONDS = 0.2
#: Seconds after which a mail is due by itself, in case it was never called, and one more for each that waits:
#: so those that come too early are about one a second.
_LEAST_SECONDS = 30.0
_MOST_SECONDS = 600.0
#: Mails that are remembered. Others are due by themselves, and are put off again while the lane is taken.
_REMEMBERED = 10_000


class LaneQueue:
    """The slow mails of one runner that wait for the lane."""

    def __init__(self) -> None:
        self._groups: dict[str, deque[str]] = {}
        self._waiting: set[str] = set()
        #: The entries that were called and have not begun their attempt yet, or were put off in it.
        self._called: dict[str, None] = {}
        self._called_at = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def may_begin(self, entry: Entry) -> bool:
        """Returns whether an attempt of this entry may begin: it waits for no lane, or was called."""
        return entry.reference not in self._waiting

    def put_off(self, entry: Entry) -> float:
        """Let an entry wait for its turn. One that was called before is the next of its network.

        Returns the seconds after which the entry is due even if it was not called.
        """
        reference = entry.reference
        if reference not in self._waiting and len(self._waiting) < _REMEMBERED:
            group = self._groups.setdefault(_group_of(entry.envelope), deque())
            (group.appendleft if reference in self._called else group.append)(reference)
            self._waiting.add(reference)
        self._called.pop(reference, None)
        return min(_LEAST_SECONDS + len(self._waiting), _MOST_SECONDS)

    def end(self, entry: Entry) -> None:
        """Forget an entry whose attempt has ended."""
        self._called.pop(entry.reference, None)

    def call(self, *, now: float) -> str | None:
        """The entry whose turn it is, for a lane that has a place. Returns None if none is to be called."""
        if not self._groups or now < self._called_at + _CALL_SECONDS:
            return None
        name = next(iter(self._groups))
        group = self._groups.pop(name)
        reference = group.popleft()
        if group:  # behind all other networks
            self._groups[name] = group
        self._waiting.discard(reference)
        if len(self._called) >= _REMEMBERED:  # those that an operator dropped or held never came
            del self._called[next(iter(self._called))]
        self._called[reference] = None
        self._called_at = now
        return reference


def _group_of(envelope: Envelope) -> str:
    """The network of the peer; behind a trusted listener, where all mail comes from one relay, the domain of
    the reverse-path.
    """
    if envelope.peer.role == "trusted":
        return normalise_domain((envelope.reverse_path or "").rpartition("@")[2])
    return find_network(envelope.peer.address)
