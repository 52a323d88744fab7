"""The form of filters, whose fields are the state of the list's address.

Owns the names of the fields, their reading and their writing. Never does I/O. A field that says nothing known
is a mistake with a sentence, so that nobody takes the whole list for what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, Protocol
from urllib.parse import urlencode

from relay.contact.risk.codes import RiskCode
from relay.spool.model import State
from relay.vocabulary import Classification
from relay.web.view import SEARCH_CHARACTERS, Query, Verdict

#: The groups of states that the strip leads to, in the words of its figures.
GROUPS: Final[Mapping[str, tuple[State, ...]]] = {
    "waiting": (State.QUEUED, State.LEASED),
    "held": (State.HELD,),
    "dead": (State.DEAD,),
    "done": (State.DONE,),
}
#: Words of results that are worth a filter (RFC 8601 §2.7, and those of scanners in docs/scanners.md).
WORDS: Final[Mapping[Verdict, tuple[str, ...]]] = {
    Verdict.SPF: ("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"),
    Verdict.DKIM: ("pass", "fail", "neutral", "none", "policy", "temperror", "permerror"),
    Verdict.DMARC: ("pass", "fail", "none", "temperror", "permerror"),
    Verdict.ARC: ("pass", "fail", "none"),
    Verdict.SPAM: ("clean", "spam", "unavailable"),
    Verdict.VIRUS: ("clean", "virus", "too_big", "unavailable"),
}
#: Characters of a route's name, a reason or a cursor that count; more is nobody's.
_FIELD_CHARACTERS = 300


class Fields(Protocol):
    """The fields of an address, each as often as it stands there."""

    def get(self, key: str, default: str, /) -> str:
        """The first value of a field."""

    def getall(self, key: str, default: Sequence[str], /) -> Iterable[str]:
        """All values of a field."""


def read_query(fields: Fields) -> Query:
    """The question that the fields of an address ask; unknown fields are left alone.

    Raises:
        ValueError: a field names no state, class, verdict, risk or day; the sentence says which.
    """
    classification = _field(fields, "class")
    if classification and classification not in set(Classification):
        raise ValueError(f"class is one of {', '.join(Classification)}, not {classification[:40]!r}.")
    risk = _field(fields, "risk")
    if risk and risk not in set(RiskCode):
        raise ValueError(f"risk is a code of docs/risk.md, not {risk[:40]!r}.")
    return Query(
        text=" ".join(fields.get("q", "")[:SEARCH_CHARACTERS].split()),
        states=_states(fields.getall("state", ())),
        route=_field(fields, "route"),
        tenant=_field(fields, "tenant"),
        reason=_field(fields, "reason"),
        classification=classification,
        verdicts=tuple(_verdict(value) for value in fields.getall("verdict", ()) if value),
        risk=risk,
        since=_day(_field(fields, "since")),
        before=_field(fields, "before"),
    )


def write_query(query: Query, **changes: str) -> str:
    """The fields of an address that ask the question, without the place in the list; "" for everything.

    A change gives a field another value; "" leaves it out.
    """
    fields: dict[str, Sequence[str]] = {
        "q": (query.text,),
        "state": _groups(query.states),
        "route": (query.route,),
        "tenant": (query.tenant,),
        "reason": (query.reason,),
        "class": (query.classification,),
        "verdict": tuple(f"{kind}:{word}" for kind, word in query.verdicts),
        "risk": (query.risk,),
        "since": (query.since.isoformat() if query.since else "",),
    }
    fields |= {name: (value,) for name, value in changes.items()}
    given = [(name, value) for name, values in fields.items() for value in values if value]
    return urlencode(given, errors="replace")


def _field(fields: Fields, name: str) -> str:
    value = fields.get(name, "").strip()
    if len(value) > _FIELD_CHARACTERS:
        raise ValueError(f"{name} is longer than {_FIELD_CHARACTERS} characters.")
    return value


def _day(value: str) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise ValueError(f'since is a day such as "2026-11-29", not {value[:40]!r}.') from None


def _states(values: Iterable[str]) -> tuple[State, ...]:
    found: dict[State, None] = {}
    for value in values:
        if value in GROUPS:
            found |= dict.fromkeys(GROUPS[value])
        elif value in set(State):
            found[State(value)] = None
        elif value:
            known = ", ".join(dict.fromkeys([*GROUPS, *State]))
            raise ValueError(f"state is one of {known}, not {value[:40]!r}.")
    return tuple(found)


def _groups(states: Sequence[State]) -> tuple[str, ...]:
    """The words for states: that of a group where the whole group stands there."""
    left, words = list(states), []
    for word, group in GROUPS.items():
        if set(group) <= set(left):
            words.append(word)
            left = [state for state in left if state not in group]
    return (*words, *left)


def _verdict(value: str) -> tuple[Verdict, str]:
    kind, _, word = value[:_FIELD_CHARACTERS].partition(":")
    if kind not in set(Verdict) or not word:
        raise ValueError(f'verdict is a kind and a word such as "dmarc:fail", not {value[:40]!r}.')
    return Verdict(kind), word
