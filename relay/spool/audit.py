"""The values of the audit: who did what (`relay.spool.action`), when, and how it ended.

Owns what a row says. Never does I/O. Rows are appended only, and kept for a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from relay.spool.action import Action, bound
from relay.spool.change import Left, tell_left

#: A year, leap years too.
KEPT = timedelta(days=366)
_DETAIL_CHARACTERS = 500
#: Entries that are named where none was changed.
_NAMED = 3


class Stage(StrEnum):
    """The stage of an action that a row tells."""

    #: It is about to be done, outside of the spool. Without a later row its end is not known.
    BEGUN = "begun"
    #: It was done, in part at least (`Audited.counts`).
    DONE = "done"
    #: It changed nothing: the spool did not take it, or it was so before.
    REFUSED = "refused"
    #: It ended with an error.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A row of the audit."""

    #: Rows are numbered as they are written.
    number: int
    at: datetime
    action: Action
    stage: Stage
    #: So many of each: "changed", "left", "entries", …
    counts: Mapping[str, int] = field(default_factory=dict)
    #: The reason why it was refused, or failed; "" else.
    detail: str = ""
    #: The first row of the same action, where it has several; None on the first.
    begun: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """The rows that are asked for; all of the last year where nothing is named."""

    since: datetime | None = None
    until: datetime | None = None
    #: The whole name of an actor.
    actor: str | None = None
    #: The first words of a command, or all.
    command: str | None = None
    #: The newest so many.
    limit: int = 10_000


def bound_detail(text: str) -> str:
    """The sentence about an end on one line, and as long as it may be."""
    return bound(" ".join(text.split()), _DETAIL_CHARACTERS)


def tell_all_left(left: Sequence[Left]) -> str:
    """The reasons why a change left the first entries as they were."""
    more = f"; and {len(left) - _NAMED:,} more" if len(left) > _NAMED else ""
    return (
        "; ".join(f"{each.id}: {tell_left(each, agree='and nobody agreed')}" for each in left[:_NAMED]) + more
    )


def merge_rows(rows: Iterable[Audited]) -> list[Audited]:
    """One row for each action: the first, with the stage and detail of its last row, and its counts added
    up. Rows whose first is not among them stand for themselves.
    """
    merged: dict[int, Audited] = {}
    for row in rows:
        first = merged.get(row.begun) if row.begun is not None else None
        if first is None or row.begun is None:
            merged[row.number] = row
            continue
        names = dict.fromkeys((*first.counts, *row.counts))
        counts = {name: first.counts.get(name, 0) + row.counts.get(name, 0) for name in names}
        was_done = Stage.DONE in {first.stage, row.stage} and row.stage is not Stage.FAILED
        merged[row.begun] = replace(
            first,
            stage=Stage.DONE if was_done else row.stage,
            counts=counts,
            detail=row.detail or first.detail,
        )
    return list(merged.values())
