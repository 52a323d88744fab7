"""The table of policy: which results of a mail's checks mean what, for a listener or a route.

Owns the names of rules and actions, and the presets (docs/policy.md). A preset is written out when it is
read, so that nobody else knows of presets. Never judges a mail.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from relay.config.section import Section
from relay.config.words import LIST_NAME
from relay.contact.limits import FLOW_ID_CHARACTERS
from relay.contact.risk.codes import RiskCode

#: Rules for the results that stand before the 250.
ORIGIN_RULES = (
    "spf.fail", "spf.softfail", "spf.temperror", "spf.permerror", "dkim.fail", "dmarc.reject", "dmarc.quarantine",
    "arc.fail", "iprev.fail", "listed", "virus", "spam", "scan.unavailable",
)  # fmt: skip
#: Rules for what is found out when the mail is delivered: its class, and its risks for the reader.
CLASS_RULES = ("class.human", "class.auto-reply", "class.bounce", "class.list", "class.bulk")
RISK_RULES = tuple(f"risk.{code}" for code in RiskCode)
RULES = ORIGIN_RULES + CLASS_RULES + RISK_RULES
#: The beginning of a rule for a list of the configuration; its name follows.
LIST = "list."
#: The rules of each preset; mail that meets none of them is accepted.
PRESETS: Mapping[str, Mapping[str, str]] = {
    "inform": {},
    "protect": {"dmarc.reject": "reject", "dmarc.quarantine": "tag", "virus": "reject", "spam": "tag"},
}
#: Words of actions that stand alone; "flow:" is followed by a contact flow's id.
WORDS = ("accept", "tag", "hold", "drop", "defer", "reject")
FLOW = "flow:"
_TOO_LATE = ("defer", "reject")
_LIST_RULE = re.compile(rf"list\.{LIST_NAME}")
_RULE_KEYS = {"action", "observe"}
#: "risk.name.other_address" is three tables deep where TOML has it without quotes.
_DEEPEST = 2
_FLOW = re.compile(rf"flow:[^\s]{{1,{FLOW_ID_CHARACTERS}}}")


def check_rule(value: str) -> str:
    """The name of a rule. That a list of this name exists is a rule between keys."""
    if value in RULES or _LIST_RULE.fullmatch(value):
        return value
    near = difflib.get_close_matches(value, RULES, n=1, cutoff=0.6)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'is no rule; docs/policy.md has them, and "list." begins one for a list of yours{hint}')


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


def _flatten(table: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if name == "preset":
            yield name, value
        elif isinstance(value, str):
            yield name, {"action": value}
        elif isinstance(value, Mapping) and value and depth < _DEEPEST and not value.keys() & _RULE_KEYS:
            yield from _flatten(value, f"{name}.", depth + 1)
        else:
            yield name, value


def check_policy(policy: dict[str, Rule]) -> dict[str, Rule]:
    """The policy, whose rules ask for nothing that comes too late."""
    for name, rule in policy.items():
        if is_late(name) and rule.action in _TOO_LATE:
            raise ValueError(
                f'{name} = "{rule.action}" comes too late, because it is known only after the 250; '
                'write "accept", "tag", "hold", "drop" or "flow:" with the id of a flow'
            )
    return policy


Policy = Annotated[
    dict[Annotated[str, AfterValidator(check_rule)], Rule],
    BeforeValidator(read_policy),
    AfterValidator(check_policy),
]


def is_late(rule: str) -> bool:
    """Returns whether a rule is about what is found out only when the mail is delivered."""
    return rule.startswith(("class.", "risk.", "sensitive."))


def read_classes(on: Mapping[Any, str], flows: Mapping[Any, str]) -> dict[str, Rule]:
    """The rules that the keys `on` and `flows` of a route, older names of the same, stand for."""
    led = {f"class.{word}": f"{FLOW}{flow}" for word, flow in flows.items()}
    stopped = {f"class.{word}": action for word, action in on.items() if action != "deliver"}
    taken = {f"class.{word}": "accept" for word, action in on.items() if action == "deliver"}
    return {name: Rule(action=action) for name, action in (taken | led | stopped).items()}
