"""The policy of a route when one of its mails is delivered: held, dropped, led to another flow, or tagged.

Owns how the decisions of `relay.policy` become outcomes of an attempt. An entry that a person has released is
judged no more.
"""

from __future__ import annotations

from dataclasses import replace

from relay import telemetry
from relay.config import Config, Route
from relay.contact.plan import Plan
from relay.delivery.outcome import Dropped, Held
from relay.domains import normalise_domain
from relay.policy.lists import find_favours
from relay.policy.origin import (
    TAGS,
    Handling,
    Rules,
    choose_handling,
    decide_handling,
    find_rules,
    list_late,
    name_reason,
    tell_rule,
)
from relay.spool.model import Entry


def find_entry_rules(entry: Entry, route: Route, config: Config) -> Rules:
    """The rules for an entry; none for one that a person has released."""
    return {} if entry.released else find_rules(config, route, listener=entry.envelope.peer.listener)


def find_handling(entry: Entry, rules: Rules) -> Handling:
    """The handling that the stored results of an entry ask for."""
    return decide_handling(entry.results, rules)


def add_late(handling: Handling, plan: Plan, rules: Rules) -> Handling:
    """The handling with that of the mail's class and risks, which are known now. A flow that the results
    chose stays.
    """
    late = choose_handling(list_late(plan.classification, plan.risks, rules, sensitive=plan.sensitive))
    return replace(late, flow=handling.flow or late.flow)


def tell_late(entry: Entry, route: Route, plan: Plan, rules: Rules) -> None:
    """Tell which rules for classes and risks a mail meets, those that are only observed among them."""
    for step in list_late(plan.classification, plan.risks, rules, sensitive=plan.sensitive):
        telemetry.policy_met(
            spool_id=entry.spool_id,
            route=route.name,
            rule=step.rule,
            action=step.action,
            observe=step.observe,
            domain=normalise_domain(plan.from_address.rpartition("@")[2]),
        )


def stop_for(handling: Handling) -> Held | Dropped | None:
    """The outcome for a mail that a rule keeps from an agent. Returns None for others."""
    if handling.action == "accept":
        return None
    kind = Held if handling.action == "hold" else Dropped
    return kind(reason=name_reason(handling.rule), detail=tell_rule(handling.rule))


def mark(entry: Entry, route: Route, handling: Handling) -> Entry:
    """The entry with the attributes of its contact that rules and lists give; none once it was released."""
    given = {} if entry.released else find_favours(entry.results, route)
    given |= {TAGS: " ".join(handling.tags)} if handling.tags else {}
    return replace(entry, results={**entry.results, **given}) if given else entry


def lead(plan: Plan, handling: Handling) -> Plan:
    """The plan with the flow that a rule chose."""
    return plan if handling.flow is None else replace(plan, contact_flow_id=handling.flow)
