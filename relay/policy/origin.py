"""The decision over a mail by the results of the checks of its origin and of its scanners: at the wire, and
when it is delivered.

Owns which rules a mail meets, which action of several counts, and the reply of each refusal (RFC 7372,
RFC 8617 §5.2.2; DMARC's is X.7.1; X.7.26 where several checks of authentication refuse). The wire, the dry
run and the delivering half all ask here. Values in, values out. A mail without results meets no rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from relay import replies
from relay.config.model import Config, Route
from relay.config.policy import FLOW, LIST, ORIGIN_RULES, Rule, is_late
from relay.config.sensitive import CARD
from relay.policy.decide import Ruling, disposition_of
from relay.policy.lists import is_favour, list_names
from relay.scan.model import ScannerKind, ScanWord
from relay.vocabulary import Disposition, Reply

Rules = Mapping[Any, Rule]
#: The strictest first. A peer that may come again loses nothing, so one reply for all prefers it (451).
_REFUSALS: Final = ("reject", "defer")
_DELIVERIES: Final = ("drop", "hold", FLOW)
#: The attribute of a contact that names the rules by which it was tagged.
TAGS = "relay_policy"

#: The replies of each kind of check: for good, and for now.
_REPLIES: Final[Mapping[str, tuple[Reply, Reply]]] = {
    "spf.fail": (replies.SPF_REFUSED, replies.SPF_DEFERRED),
    "spf.softfail": (replies.SPF_REFUSED, replies.SPF_DEFERRED),
    "spf.temperror": (replies.SPF_UNKNOWN_REFUSED, replies.SPF_UNKNOWN_DEFERRED),
    "spf.permerror": (replies.SPF_UNKNOWN_REFUSED, replies.SPF_UNKNOWN_DEFERRED),
    "dkim.fail": (replies.DKIM_REFUSED, replies.DKIM_DEFERRED),
    "dmarc.reject": (replies.DMARC_REFUSED, replies.DMARC_DEFERRED),
    "dmarc.quarantine": (replies.DMARC_REFUSED, replies.DMARC_DEFERRED),
    "arc.fail": (replies.ARC_REFUSED, replies.ARC_DEFERRED),
    "iprev.fail": (replies.IPREV_REFUSED, replies.IPREV_DEFERRED),
    "listed": (replies.LISTED_REFUSED, replies.LISTED_DEFERRED),
    "virus": (replies.VIRUS_REFUSED, replies.VIRUS_DEFERRED),
    "spam": (replies.SPAM_REFUSED, replies.SPAM_DEFERRED),
    "scan.unavailable": (replies.NOT_SCANNED_REFUSED, replies.NOT_SCANNED_DEFERRED),
    LIST: (replies.SENDER_REFUSED, replies.SENDER_DEFERRED),
}

#: The checks of authentication (RFC 8601 §2.7), by the beginning of their rules.
_AUTHENTICATION: Final = frozenset({"spf", "dkim", "dmarc", "arc", "iprev"})

#: The words of the gateway in front (`relay.auth.upstream`) for mail that nobody wants.
_UPSTREAM_SPAM: Final = frozenset({"spam", "phish"})


class Met(NamedTuple):
    """A rule that a mail meets, and what is done about it."""

    rule: str
    action: str
    observe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginVerdict:
    """The decision at the wire, for all routes of a mail."""

    #: The reply that refuses the mail; None when somebody gets it.
    reply: Reply | None = None
    #: By the name of a route, the rule by which it would refuse: held for a person, because others take it.
    held: Mapping[str, str] = field(default_factory=dict)
    #: By the name of a route, the reply to its recipients: all of them, or over LMTP some.
    refused: Mapping[str, Reply] = field(default_factory=dict)
    #: By the name of a route, the rule by which it refuses, whatever becomes of the mail.
    rules: Mapping[str, str] = field(default_factory=dict)

    def rule(self, route: str) -> Ruling | None:
        """The verdict for one route of the mail. Returns None where it has nothing against the mail."""
        if self.reply is not None or route in self.refused:
            reply = self.refused.get(route) if self.reply is None else self.reply
            assert reply is not None
            rule = self.rules.get(route)
            told = f"{tell_rule(rule)}: {reply}" if rule else f"the policy refuses such mail: {reply}"
            return Ruling(disposition=disposition_of(reply), reply=reply, reason=told)
        if (rule := self.held.get(route)) is not None:
            told = f"held for a person (policy.{rule}), because other recipients get it: {tell_rule(rule)}"
            return Ruling(disposition=Disposition.QUARANTINE, reason=told)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """The decision at delivery, for one entry."""

    #: "accept", "hold" or "drop", and the rule that says so.
    action: str = "accept"
    rule: str = ""
    #: The contact flow that a rule chose; None leaves it to the route.
    flow: str | None = None
    #: The rules by which the contact is tagged.
    tags: tuple[str, ...] = ()


def find_rules(config: Config, route: Route | None, *, listener: str) -> Rules:
    """The rules for mail of a route that came by a listener at a bind; those of the route go first, and
    `scan.on_unavailable` last.
    """
    found: dict[Any, Rule] = {}
    if config.scan.on_unavailable != "accept":
        found["scan.unavailable"] = Rule(action=config.scan.on_unavailable)
    for each in config.listeners:
        if listener in each.bind:
            found |= each.policy
    return found | ({**route.policy, **route.sensitive.rules()} if route is not None else {})


def list_met(results: Mapping[str, str], rules: Rules) -> tuple[Met, ...]:
    """The rules that a mail meets by the results of its checks, among those that there are."""
    return tuple(
        Met(name, rules[name].action, rules[name].observe)
        for name, proved in _list_names(results)
        if name in rules and (proved or not is_favour(rules[name].action))
    )


def list_late(
    classification: str, risks: Collection[str], rules: Rules, *, sensitive: Collection[str] = ()
) -> tuple[Met, ...]:
    """The rules that a mail meets by what is found out when it is delivered: its class, its risks, and
    sensitive words in it.
    """
    names = (
        f"class.{classification}",
        *(f"risk.{code}" for code in risks),
        *(f"sensitive.{kind}" for kind in sensitive),
    )
    return tuple(Met(name, rules[name].action, rules[name].observe) for name in names if name in rules)


def list_late_tags(rules: Rules) -> tuple[str, ...]:
    """The rules of that kind that tag a mail which meets them."""
    return tuple(
        name for name, rule in rules.items() if is_late(name) and rule.action == "tag" and not rule.observe
    )


def _list_names(results: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """The names of all rules that results meet, each with the word whether a favour counts."""
    scans = {kind: results.get(f"relay_{kind}") for kind in ScannerKind}
    if scans[ScannerKind.VIRUS] == ScanWord.VIRUS:
        yield "virus", True
    if scans[ScannerKind.SPAM] == ScanWord.SPAM or results.get("relay_upstream") in _UPSTREAM_SPAM:
        yield "spam", True
    if ScanWord.UNAVAILABLE in scans.values():
        yield "scan.unavailable", True
    for check in ("spf", "dkim", "arc", "iprev"):
        name = f"{check}.{results.get(f'relay_{check}', 'none')}"
        if name in ORIGIN_RULES:
            yield name, True
    if results.get("relay_dmarc") == "fail":
        name = f"dmarc.{results.get('relay_dmarc_policy', 'none')}"
        if name in ORIGIN_RULES:
            yield name, True
    if results.get("relay_dnsbl") == "fail":
        yield "listed", True
    for listed, proved in list_names(results):
        yield f"{LIST}{listed}", proved


def refuses(action: str) -> bool:
    """Returns whether an action refuses a mail at the wire."""
    return action in _REFUSALS


def _strictest(met: Sequence[Met], actions: Sequence[str]) -> Met | None:
    """The rule whose action stands first in a list of actions, of those that are not only observed."""
    for action in actions:
        for each in met:
            if not each.observe and (
                each.action == action or (action == FLOW and each.action.startswith(FLOW))
            ):
                return each
    return None


def decide_wire(
    met: Mapping[str, Sequence[Met]], *, refusing: Collection[str] = (), replies_each: bool = False
) -> OriginVerdict:
    """The verdict on a whole mail before its commit; `met` has the rules that it meets, by the name of
    each of its routes.

    One reply answers for all recipients: it refuses only when every route refuses, those that refuse for
    another reason (`refusing`) included. Where some would refuse for good and some for now, it is for now.
    """
    found = {route: step for route, each in met.items() if (step := _strictest(each, _REFUSALS)) is not None}
    if not found:
        return OriginVerdict()
    refused = {route: _find_reply(step, met[route]) for route, step in found.items()}
    rules = {route: step.rule for route, step in found.items()}
    if all(route in found or route in refusing for route in met):
        reply = next((each for each in refused.values() if each.code < 500), next(iter(refused.values())))
        return OriginVerdict(reply=reply, refused=refused, rules=rules)
    if replies_each:
        return OriginVerdict(refused=refused, rules=rules)
    return OriginVerdict(held=rules, rules=rules)


def _find_reply(step: Met, met: Sequence[Met]) -> Reply:
    """The reply of the rule that refuses, of all rules that a mail meets for a route. Where rules for several
    checks of authentication refuse, the reply names none of them (RFC 7372 §4).
    """
    is_deferred = step.action == "defer"
    checks = {
        each.rule.partition(".")[0] for each in met if refuses(each.action) and not each.observe
    } & _AUTHENTICATION
    if step.rule.partition(".")[0] in checks and len(checks) > 1:
        return replies.SEVERAL_DEFERRED if is_deferred else replies.SEVERAL_REFUSED
    return _REPLIES[LIST if step.rule.startswith(LIST) else step.rule][is_deferred]


def decide_handling(results: Mapping[str, str], rules: Rules) -> Handling:
    """The handling of an accepted mail for one route, by its stored results. Refusals come too late here."""
    return choose_handling(list_met(results, rules))


def choose_handling(met: Sequence[Met]) -> Handling:
    """The handling of an accepted mail that meets these rules."""
    tags = tuple(each.rule for each in met if each.action == "tag" and not each.observe)
    step = _strictest(met, _DELIVERIES)
    if step is None:
        return Handling(tags=tags)
    if step.action.startswith(FLOW):
        return Handling(flow=step.action.removeprefix(FLOW), rule=step.rule, tags=tags)
    return Handling(action=step.action, rule=step.rule, tags=tags)


def name_reason(rule: str) -> str:
    """The reason of an entry that a rule holds or drops; those of classes are older than the policy."""
    return rule if rule.startswith("class.") else f"policy.{rule}"


def tell_rule(rule: str) -> str:
    """The sentence that says why a route holds or drops a mail."""
    if rule == CARD:
        return "it has a card number in its words (routes[].sensitive)"
    if rule.startswith(LIST):
        return f"its sender is on the list {rule.removeprefix(LIST)}"
    return f"the policy has a rule for {rule}, which this mail meets"
