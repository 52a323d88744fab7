"""The table of policy: which results of a mail's checks mean what, for a listener or a route.

Owns the names of rules and actions, and the presets (docs/policy.md). A preset is written out when it is
read, so that nobody else knows of presets. Never judges a mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from relay.config.section import Section
from relay.contact.limits import FLOW_ID_CHARACTERS

OriginRule = Literal[
    "spf.fail", "spf.softfail", "spf.temperror", "spf.permerror", "dkim.fail", "dmarc.reject", "dmarc.quarantine",
    "arc.fail", "iprev.fail", "listed", "virus", "spam", "scan.unavailable",
]  # fmt: skip
RouteRule = Literal[
    "spf.fail", "spf.softfail", "spf.temperror", "spf.permerror", "dkim.fail", "dmarc.reject", "dmarc.quarantine",
    "arc.fail", "iprev.fail", "listed", "virus", "spam", "scan.unavailable",
    "class.human", "class.auto-reply", "class.bounce", "class.list", "class.bulk",
]  # fmt: skip
#: What each preset asks for; what it does not name is accepted.
PRESETS: Mapping[str, Mapping[str, str]] = {
    "inform": {},
    "protect": {"dmarc.reject": "reject", "dmarc.quarantine": "tag", "virus": "reject", "spam": "tag"},
}
#: Words of actions that stand alone; "flow:" is followed by a contact flow's id.
WORDS = ("accept", "tag", "hold", "drop", "defer", "reject")
FLOW = "flow:"
#: The class of a mail is known when it is delivered.
_CLASS_WORDS = ("accept", "hold", "drop")
_FLOW = re.compile(rf"flow:[^\s]{{1,{FLOW_ID_CHARACTERS}}}")


def check_action(value: str) -> str:
    """The action of a rule."""
    if value not in WORDS and not _FLOW.fullmatch(value):
        raise ValueError(
            'must be "accept", "tag", "hold", "drop", "defer", "reject" or "flow:" with the id of a flow'
        )
    return value


class Rule(Section):
    """The action of one rule; one that is observed is only reported."""

    action: Annotated[str, AfterValidator(check_action)]
    observe: bool = False


def read_policy(value: Any) -> Any:
    """The table with its preset written out, each rule under its whole name.

    `spf.fail = "tag"` in TOML is a table in a table; both ways of writing are the same here.
    """
    if isinstance(value, str):
        value = {"preset": value}
    if not isinstance(value, Mapping):
        return value
    rules = dict(_flatten(value))
    preset = rules.pop("preset", None)
    if preset is None:
        return rules
    if preset not in PRESETS:
        raise ValueError(f"preset must be {' or '.join(f'{chr(34)}{name}{chr(34)}' for name in PRESETS)}")
    known = {name: "accept" for each in PRESETS.values() for name in each}
    return {
        name: {"action": action}
        for name, action in (known | dict(PRESETS[preset])).items()
        if name not in rules
    } | rules


def _flatten(table: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if name == "preset":
            yield name, value
        elif isinstance(value, str):
            yield name, {"action": value}
        elif isinstance(value, Mapping) and "action" not in value and not prefix and value:
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


ListenerPolicy = Annotated[dict[OriginRule, Rule], BeforeValidator(read_policy)]
RoutePolicy = Annotated[dict[RouteRule, Rule], BeforeValidator(read_policy)]


def check_class_rules(policy: dict[Any, Rule]) -> dict[Any, Rule]:
    """The policy of a route, whose rules for classes ask for nothing that comes too late."""
    for name, rule in policy.items():
        if name.startswith("class.") and rule.action not in _CLASS_WORDS and not rule.action.startswith(FLOW):
            raise ValueError(
                f'{name} = "{rule.action}" comes too late, because the class is known only after the 250; '
                'write "accept", "hold", "drop" or "flow:" with the id of a flow'
            )
    return policy


def split_class_rules(policy: Mapping[Any, Rule]) -> tuple[dict[str, str], dict[str, str]]:
    """The rules for classes as the tables `on` and `flows` of a route have them."""
    actions, flows = {}, {}
    for name, rule in policy.items():
        kind, _, word = name.partition(".")
        if kind != "class" or rule.observe:
            continue
        if rule.action.startswith(FLOW):
            flows[word] = rule.action.removeprefix(FLOW)
        else:
            actions[word] = "deliver" if rule.action == "accept" else rule.action
    return actions, flows
