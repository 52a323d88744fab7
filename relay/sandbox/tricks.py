"""The recipients that make something happen: `support+throttle@example.com` and the like.

Owns what Connect does with the mail of each, and the memory of what it did already. The subaddress of the
recipient is in the request as an attribute. Never does I/O: the service performs it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from enum import StrEnum
from typing import Final

from relay.sandbox.limits import Refusal


class Trick(StrEnum):
    """The subaddresses that mean something."""

    THROTTLE = "throttle"
    SLOW = "slow"
    REJECT = "reject"
    DEAD = "dead"
    LOSE = "lose"


#: Seconds that an answer to `slow` takes.
SLOW_SECONDS: Final = 5.0
#: Requests of a mail to `throttle` that are answered 429.
THROTTLED: Final = 2
#: The fate of the mail to each, in words for a person.
WORDS: Final = {
    Trick.THROTTLE: f"Connect answers 429 {THROTTLED} times, then takes it; the pace slows down for all",
    Trick.SLOW: f"Connect takes {SLOW_SECONDS:g} seconds to answer",
    Trick.REJECT: "Connect refuses the first request (400), so that it is adapted",
    Trick.DEAD: "Connect refuses every request (400), so that it becomes a dead letter",
    Trick.LOSE: "Connect makes the contact, and its reply is lost; the next request finds the same contact",
}
#: Mails that are remembered, the newest.
_MOST: Final = 10_000
# A quote in a string of JSON has a backslash before it, so no word of a mail looks like this.
_TAG = re.compile(rb'[_"]tag": ?"(' + b"|".join(each.encode() for each in Trick) + rb')"')
_MAIL = re.compile(rb'[_"]spool_id": ?"([A-Za-z0-9.]{1,40})"')
_DESTINATION = re.compile(rb'"DestinationEmailAddress": ?"([^"\\]{1,320})"')
_TOKEN = re.compile(rb'"ClientToken": ?"([^"\\]{1,500})"')


def find_trick(body: bytes) -> Trick | None:
    """The trick that a request asks for by its attributes. Returns None for any other request."""
    found = _TAG.search(body)
    return Trick(found[1].decode()) if found else None


class Tricks:
    """The tricks, and the mails that have met them."""

    def __init__(self) -> None:
        #: The trick of each mail, and how many of its requests it has met.
        self._met: OrderedDict[tuple[bytes, ...], tuple[Trick, int]] = OrderedDict()

    def find(self, body: bytes) -> Trick | None:
        """The trick of the mail of a request; a later request of it may lack the attribute, as the last rungs
        do. Returns None for any other mail.
        """
        if found := find_trick(body):
            key = _key(body)
            self._met[key] = found, self._met.get(key, (found, 0))[1]
            if len(self._met) > _MOST:
                self._met.popitem(last=False)
            return found
        return self._met.get(_key(body), (None, 0))[0] if self._met else None

    def refuse(self, body: bytes) -> Refusal | None:
        """The refusal that the recipient of this request asks for. Returns None where it asks for none, or
        has had it.
        """
        match self.find(body):
            case Trick.THROTTLE if self._count(body) <= THROTTLED:
                return Refusal(code="ThrottlingException", message="Rate exceeded (recipient +throttle)")
            case Trick.REJECT if self._count(body) == 1:
                return Refusal(code="InvalidRequestException", message="refused (recipient +reject)")
            case Trick.DEAD:
                return Refusal(code="InvalidRequestException", message="refused (recipient +dead)")
            case _:
                return None

    def loses(self, body: bytes) -> bool:
        """Returns whether the reply to this request, which made a contact, is to be lost: the first of its
        mail.
        """
        return self.find(body) is Trick.LOSE and self._count(body) == 1

    def _count(self, body: bytes) -> int:
        """Count a request of a mail that has a trick. Returns how many there were."""
        trick, before = self._met[_key(body)]
        self._met[_key(body)] = trick, before + 1
        return before + 1


def _key(body: bytes) -> tuple[bytes, ...]:
    mail = _MAIL.search(body) or _TOKEN.search(body)
    destination = _DESTINATION.search(body)
    return tuple(found[1] if found else b"" for found in (mail, destination))
