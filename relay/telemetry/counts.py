"""The counts of this process, until the spool takes them: rules of the policy that mails met, and whatever
`relay report` tells.

Owns them between two writes, a minute apart, and the names of the latter. A process that is killed loses
those of its last minute.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from datetime import UTC, datetime
from enum import StrEnum

from relay.policy.lists import find_sender_domain
from relay.spool.feed import Refusal
from relay.spool.model import DayCount

#: Day, rule, action, whether it is observed, route, domain.
Key = tuple[str, str, str, bool, str, str]
#: Keys that are kept; past that all domains are one.
_MOST = 5_000
#: The upper ends of the ranges in which delays are counted, in milliseconds: ten to a power of ten, up to 11
#: days. A quantile that is read from them is at most a quarter too long.
DELAYS = tuple(round(100 * 10 ** (step / 10)) for step in range(71))
_counts: Counter[Key] = Counter()
_day_counts: dict[tuple[Counted, str], list[int]] = {}
_refusals: deque[Refusal] = deque(maxlen=_MOST)
#: Accepted mails by domain as it was written, and their octets.
_received: Counter[str] = Counter()
_octets = [0]


class Counted(StrEnum):
    """The names of what is counted by day. They stand in the spool: names are added, and none is renamed."""

    RECEIVED = "received"  # mails accepted, by domain of the sender
    OCTETS = "octets"  # of them
    DUPLICATE = "duplicate"  # retransmissions of mail that was there
    QUARANTINED = "quarantined"  # mails accepted, of which some route holds its entry for a person
    REFUSED_MAIL = "refused.mail"  # by reply, as the next three
    REFUSED_RECIPIENT = "refused.recipient"
    REFUSED_SENDER = "refused.sender"
    REFUSED_SESSION = "refused.session"
    CONTACT = "contact"  # entries that became contacts, by route
    CLASS = "class"  # the same by class; "" where it is not known any more
    DELAY = "delay"  # the same by range of the time from acceptance, with the longest
    ADAPTED = "adapted"  # by code of the adaptation
    ADAPTED_MAIL = "adapted.mail"  # contacts with any
    ALREADY = "already_there"  # entries of which Connect had a contact
    DROPPED = "dropped"  # by reason, as the next three
    DEFERRED = "deferred"  # attempts
    HELD = "held"
    DEAD = "dead"


def add_count(*, rule: str, action: str, observe: bool, route: str, domain: str) -> None:
    """Count a mail that meets a rule."""
    key = (_today(), rule, action, observe, route, domain)
    if len(_counts) >= _MOST and key not in _counts:
        key = (*key[:5], "other")
    _counts[key] += 1


def count_day(name: Counted, label: str = "", *, number: int = 1, most: int = 0) -> None:
    """Count what happened; `most` is what was measured with it. Labels are words of ours or of AWS's."""
    found = _day_counts.setdefault((name, label), [0, 0])
    found[0] += number
    found[1] = max(found[1], most)


def count_received(sender: str, octets: int) -> None:
    """Count a mail that was accepted. All mail comes by here, so its domain is put in order later."""
    domain = sender.rpartition("@")[2]
    if domain not in _received and len(_received) >= _MOST:
        domain = "other"
    _received[domain] += 1
    _octets[0] += octets


def count_delay(seconds: float) -> None:
    """Count the time from the acceptance of a mail to its contact."""
    milliseconds = max(0, round(seconds * 1_000))
    end = DELAYS[min(bisect_left(DELAYS, milliseconds), len(DELAYS) - 1)]
    count_day(Counted.DELAY, str(end), most=milliseconds)


def note_refusal(refusal: Refusal) -> None:
    """Keep a mail that the policy refused, for the feed of events; of too many the oldest are forgotten."""
    _refusals.append(refusal)


def take_refusals() -> list[Refusal]:
    """The refusals since the last call."""
    taken = list(_refusals)
    _refusals.clear()
    return taken


def take_counts() -> list[tuple[Key, int]]:
    """The counts of rules since the last call."""
    taken = list(_counts.items())
    _counts.clear()
    return taken


def take_day_counts() -> list[DayCount]:
    """The counts of what happened since the last call, as those of today."""
    for domain, number in _received.items():
        count_day(Counted.RECEIVED, find_sender_domain(f"@{domain}", None), number=number)
    if _octets[0]:
        count_day(Counted.OCTETS, number=_octets[0])
    _received.clear()
    _octets[0] = 0
    today = _today()
    taken = [DayCount(today, str(name), label, *found) for (name, label), found in _day_counts.items()]
    _day_counts.clear()
    return taken


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
