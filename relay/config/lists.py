"""The keys of lists of senders: where each lies, and what it means for a route.

Owns `[lists.NAME]` and `lists` of a route (docs/lists.md). Never reads a list: `relay.lists` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from relay.config.policy import FLOW, LIST, Rule, check_action
from relay.config.section import Section
from relay.config.words import WholePath, check_list_name, check_table
from relay.contact.limits import FLOW_ID_CHARACTERS

ListName = Annotated[str, AfterValidator(check_list_name)]


class ListSource(Section):
    """The place of one list."""

    file: WholePath | None = None
    dynamodb: Annotated[str, AfterValidator(check_table)] | None = None

    @model_validator(mode="after")
    def _place(self) -> Self:
        if (self.file is None) == (self.dynamodb is None):
            raise ValueError('needs a place, and only one: give file = "..." or dynamodb = "..."')
        return self


class ListUse(Section):
    """The meaning of one list for a route."""

    action: Annotated[str, AfterValidator(check_action)] = "accept"
    observe: bool = False
    #: True where the contact's attribute `relay_lists` names the list.
    attribute: bool = False
    #: Connect's routing priority of the contact: 1 is the first, and 5 is Connect's default.
    priority: int | None = Field(default=None, ge=1, le=10)
    flow: Annotated[str, Field(min_length=1, max_length=FLOW_ID_CHARACTERS)] | None = None

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        if self.flow is not None and self.action != "accept":
            raise ValueError(f'has action = "{self.action}" and a flow; give one of them')
        return self

    @property
    def rule(self) -> Rule | None:
        """The rule of the policy that this stands for. Returns None where it only favours by attributes."""
        action = self.action if self.flow is None else f"{FLOW}{self.flow}"
        return None if action == "accept" else Rule(action=action, observe=self.observe)


def _read_use(value: Any) -> Any:
    return {"action": value} if isinstance(value, str) else value


ListUses = dict[ListName, Annotated[ListUse, BeforeValidator(_read_use)]]
ListSources = dict[ListName, ListSource]


def read_list_rules(uses: Mapping[str, ListUse]) -> dict[str, Rule]:
    """The rules of the policy that the `lists` of a route stand for."""
    return {f"{LIST}{name}": use.rule for name, use in uses.items() if use.rule is not None}
