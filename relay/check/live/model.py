"""The words of `relay check --live`: an answer, and names as a report shows them.

Owns these values, and how names are made short in a report that others read. Never does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The beginning of the name of each contact that is started here.
NAME = "relay-live-"
#: Forms that a report makes short: ids and keys keep a beginning, addresses and the query of a URL go.
_SHORT = (
    (re.compile(r"\barn:[a-z-]+:([a-z0-9-]+):[a-z0-9-]*:[0-9]*:[^\s\"',;)]*"), r"arn:\1:…"),
    (re.compile(r"\b([0-9a-fA-F]{8})(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), r"\1…"),
    (re.compile(r"\b((?:AKIA|ASIA)[A-Z0-9]{2})[A-Z0-9]{8,}\b"), r"\1…"),
    (re.compile(r"\bhttps?://[^\s\"']+"), "URL"),
    (re.compile(r"[^\s\"'<>(),;:@]+@[^\s\"'<>(),;:@]+\.[^\s\"'<>(),;:@]+"), "ADDRESS"),
    (re.compile(r"\b[0-9]{12}\b"), "ACCOUNT"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a question."""

    #: One sentence.
    sentence: str
    #: The particulars, in the types of JSON.
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: False where the question could not be asked, or its answer did not come.
    is_known: bool = True


def shorten(value: Any) -> Any:
    """A value of JSON in which ids, ARNs, accounts, keys, URLs and addresses are short, or gone."""
    if isinstance(value, str):
        for pattern, instead in _SHORT:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, Mapping):
        return {shorten(key): shorten(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shorten(each) for each in value]
    return value
