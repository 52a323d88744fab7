"""The decision over a whole mail before it is accepted: taken, held for a person, or refused with a reply.

Owns the order of the reasons. The wire (`relay.smtp`) and the dry run (`relay.explain`) both ask here, so
that they cannot disagree. Values in, a frozen verdict out: no socket, no file, no clock. Recipients are
decided before, at RCPT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from relay import replies
from relay.config.listener import Listener
from relay.config.model import Config
from relay.config.sensitive import CARD
from relay.contact.refusal import TYPE_HOLD, tell_refused
from relay.message.hops import Hops
from relay.policy.octets import Octets
from relay.vocabulary import Disposition, Reply

#: Received fields of ours that a mail may carry: a desk forwards it, and back, but not for ever.
_OWN_HOPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The limits of a configuration and the role of a listener, as far as they decide over a mail."""

    max_bytes: int
    line_bytes: int
    hops: int
    #: The line ends that are taken besides CRLF, and made CRLF: none, a bare LF that looks like no smuggling,
    #: or any, for a mail that comes over no wire.
    line_ends: Literal["crlf", "lf", "any"] = "crlf"
    #: LMTP has a reply for each recipient (RFC 2033 §4.2), SMTP one for all.
    replies_each: bool = False

    @property
    def hard_limit(self) -> int:
        """Octets past which the session closes, and reads no further."""
        return 2 * self.max_bytes


def build_terms(config: Config, listener: Listener | None = None, *, lmtp: bool = False) -> Terms:
    """The terms of a listener, or of one that has the defaults."""
    limits, listener = config.limits, listener or Listener()
    rejects = listener.strict or listener.bare_lf == "reject"
    return Terms(
        max_bytes=config.max_message_bytes,
        line_bytes=limits.line_bytes,
        hops=limits.hops,
        line_ends="crlf" if rejects else "lf",
        replies_each=lmtp or listener.protocol == "lmtp",
    )


_NO_FILES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


class Facts(NamedTuple):
    """A whole mail, as far as policy looks at it."""

    octets: Octets
    hops: Hops
    #: The names of the routes that the mail goes to.
    routes: tuple[str, ...] = ()
    #: By the name of a route, the files whose types it refuses; no route without files.
    refused_files: Mapping[str, tuple[str, ...]] = _NO_FILES
    #: The names of the routes that refuse the mail for a card number in its words.
    refused_words: frozenset[str] = frozenset()


class Objection(NamedTuple):
    """The reason why one route refuses a mail for what is inside it."""

    reply: Reply
    #: The reason of an entry that is held instead.
    hold: str
    #: In words, for an operator.
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict on a mail for one of its routes."""

    disposition: Disposition
    #: The reply that refuses the mail; None when it is taken.
    reply: Reply | None = None
    #: The reason in words for an operator; "" when the mail just goes on.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision over a mail, for all of its routes."""

    #: The reply that refuses the mail for everybody; None when somebody gets it.
    reply: Reply | None = None
    reason: str = ""
    #: By the name of a route, the objection for which its entry is held for a person while the mail is taken.
    held: Mapping[str, Objection] = field(default_factory=dict)
    #: By the name of a route, the objection for which its recipients are refused.
    refused: Mapping[str, Objection] = field(default_factory=dict)

    def rule(self, route: str) -> Ruling:
        """The verdict for one route of the mail."""
        if (objection := self.refused.get(route)) is not None:
            reply = objection.reply
            return Ruling(disposition=disposition_of(reply), reply=reply, reason=objection.told)
        if self.reply is not None:
            return Ruling(disposition=disposition_of(self.reply), reply=self.reply, reason=self.reason)
        if (objection := self.held.get(route)) is not None:
            told = f"held for a person ({objection.hold}), because other recipients get it: {objection.told}"
            return Ruling(disposition=Disposition.QUARANTINE, reason=told)
        return Ruling(disposition=Disposition.ACCEPT)


_TAKEN = Verdict()
_CARD_OBJECTION: Final = Objection(
    replies.CARD_REFUSED, f"policy.{CARD}", "it has a card number in its words (routes[].sensitive)"
)


def disposition_of(reply: Reply) -> Disposition:
    """The disposition of a mail whose data got this reply."""
    if reply.positive:
        return Disposition.ACCEPT
    return Disposition.DEFER if reply.code < 500 else Disposition.REJECT


def decide(facts: Facts, terms: Terms) -> Verdict:
    """The verdict on a whole mail."""
    refusal = (
        decide_size(facts.octets, terms)
        or decide_hops(facts.hops, terms)
        or decide_line_ends(facts.octets, terms)
    )
    if refusal is not None:
        return refusal
    return decide_inside(facts.routes, facts.refused_files, facts.refused_words, terms)


def decide_octets(octets: Octets, terms: Terms) -> Verdict | None:
    """The refusal of a mail that is still arriving, for its octets so far. Returns None while there is no
    reason for one.
    """
    return decide_size(octets, terms) or decide_line_ends(octets, terms)


def decide_size(octets: Octets, terms: Terms) -> Verdict | None:
    """The refusal of a mail for its size or the length of a line. Returns None when there is no reason for
    one.
    """
    over = octets.received > terms.hard_limit
    if over and octets.unfinished_line:
        told = f"a line without end in the first {terms.hard_limit:,} octets; the session is closed"
        return Verdict(reply=replies.ENDLESS_LINE, reason=told)
    if octets.long_line:
        told = f"a line of more than {terms.line_bytes:,} octets (limits.line_bytes)"
        return Verdict(reply=replies.LONG_LINE, reason=told)
    if over or octets.size > terms.max_bytes:
        told = f"{max(octets.size, octets.received if over else 0):,} octets, max_message_bytes is {terms.max_bytes:,}"
        return Verdict(reply=replies.fill(replies.TOO_BIG, octets=terms.max_bytes), reason=told)
    return None


def decide_hops(hops: Hops, terms: Terms) -> Verdict | None:
    """The refusal of a mail that goes round in circles (RFC 5321 §6.3). Returns None when it does not."""
    if hops.received > terms.hops:
        told = f"{hops.received} Received headers, limits.hops is {terms.hops}: a loop"
        return Verdict(reply=replies.LOOP, reason=told)
    if hops.ours > _OWN_HOPS:
        told = f"{hops.ours} Received headers of our own hostname, {_OWN_HOPS} are the most: a loop"
        return Verdict(reply=replies.LOOP, reason=told)
    return None


def decide_line_ends(octets: Octets, terms: Terms) -> Verdict | None:
    """The refusal of a mail for bare CR or LF. Returns None for a mail whose line ends are taken.

    Other servers may read a dot between such line ends as an end of data, and what follows as commands.
    """
    if terms.line_ends == "any":
        return None
    if octets.smuggled:
        told = "a dot stands alone between line ends that are not both CRLF, as in SMTP smuggling (RFC 5321 §4.1.1.4)"
    elif octets.bare_cr:
        told = "CR stands alone where lines end with CRLF (RFC 5321 §2.3.8)"
    elif octets.bare_lf and terms.line_ends == "crlf":
        told = (
            'LF stands alone where lines end with CRLF (RFC 5321 §2.3.8); bare_lf = "repair" would take that'
        )
    else:
        return None
    return Verdict(reply=replies.BARE_LINE_END, reason=told)


def decide_inside(
    routes: tuple[str, ...],
    refused_files: Mapping[str, tuple[str, ...]],
    refused_words: frozenset[str],
    terms: Terms,
) -> Verdict:
    """The verdict on a mail of which some routes refuse file types, or words.

    SMTP has one reply for all recipients: it is 250 when any route takes the mail, and the entry of a route
    that refuses is held for a person. A mail that every route refuses is refused. LMTP has a reply for each
    recipient, so that nothing is held.
    """
    found = dict.fromkeys(refused_words, _CARD_OBJECTION)
    found |= {
        name: Objection(replies.TYPE_REFUSED, TYPE_HOLD, tell_refused(files))
        for name, files in refused_files.items()
    }
    if not found:
        return _TAKEN
    if all(route in found for route in routes):
        first = found[routes[0]] if routes else next(iter(found.values()))
        return Verdict(reply=first.reply, reason=first.told, refused=found)
    if terms.replies_each:
        return Verdict(refused=found)
    return Verdict(held=found)
