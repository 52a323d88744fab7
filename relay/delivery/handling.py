"""The policy of a route when one of its mails is delivered: held, dropped, led to another flow, or tagged.

Owns how the decisions of `relay.policy` become outcomes of an attempt. An entry that a person has released is
judged no more.
"""

from __future__ import annotations

from dataclasses import replace

from relay.config import Config, Route
from relay.contact.plan import Plan
from relay.delivery.outcome import Dropped, Held
from relay.policy.decide import decide_class
from relay.policy.origin import TAGS, Handling, decide_handling, find_rules, tell_rule
from relay.spool.model import Entry


def find_handling(entry: Entry, route: Route, config: Config) -> Handling:
    """The handling that the stored results of an entry ask for; none for one that a person has released."""
    if entry.released:
        return Handling()
    return decide_handling(entry.results, find_rules(config, route, listener=entry.envelope.peer.listener))


def stop_for(handling: Handling) -> Held | Dropped | None:
    """The outcome for a mail that its results keep from an agent. Returns None for others."""
    if handling.action == "accept":
        return None
    kind = Held if handling.action == "hold" else Dropped
    return kind(reason=f"policy.{handling.rule}", detail=tell_rule(handling.rule))


def stop_for_class(entry: Entry, route: Route, plan: Plan) -> Held | Dropped | None:
    """The outcome that the route asks for by the class of a mail. Returns None where it wants a contact."""
    action = "deliver" if entry.released else decide_class(route, plan.classification)
    reason = f"class.{plan.classification}"
    detail = f"the route {route.name} says {action} for mail of the class {plan.classification}"
    match action:
        case "hold":
            return Held(reason=reason, detail=detail)
        case "drop":
            return Dropped(reason=reason, detail=detail)
    return None


def tag(entry: Entry, handling: Handling) -> Entry:
    """The entry with the rules by which its contact is tagged."""
    return (
        replace(entry, results={**entry.results, TAGS: " ".join(handling.tags)}) if handling.tags else entry
    )


def lead(plan: Plan, handling: Handling) -> Plan:
    """The plan with the flow that a rule chose."""
    return plan if handling.flow is None else replace(plan, contact_flow_id=handling.flow)
