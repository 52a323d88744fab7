"""The counts of days in a fleet's table: how many mails met each rule of the policy, and what happened.

Owns their items, one for each day, name and label. They are added to without a condition, so a lost answer
may count something twice: they are for people, and nothing is decided by them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from relay.aws.database import Update
from relay.spool.fleet import tables
from relay.spool.fleet.store import Store
from relay.spool.model import DayCount, PolicyCount
from relay.spool.records import to_microseconds

_DAY_KEY: Final = "D#"
#: Seconds for which a day's counts are kept: a year and a day.
_KEPT_SECONDS = 366 * 86_400
#: Items that are written at the same time.
_AT_ONCE = 10


def _key(count: PolicyCount | DayCount) -> tables.Key:
    if isinstance(count, DayCount):
        parts: list[object] = ["d", count.name, count.label]
    else:
        parts = ["p", count.rule, count.action, count.observe, count.route, count.domain]
    return f"{_DAY_KEY}{count.day}", tables.fit_key(json.dumps(parts, ensure_ascii=False))


def _change(count: PolicyCount | DayCount, *, expires: int) -> Update:
    if isinstance(count, DayCount):
        return Update(
            key=_key(count),
            text="SET #name = :name, #label = :label, #most = :most, #ttl = :ttl ADD #number :number",
            values={
                "name": count.name,
                "label": count.label,
                "most": count.most,
                "ttl": expires,
                "number": count.number,
            },
        )
    return Update(
        key=_key(count),
        text="SET #rule = :rule, #action = :action, #observe = :observe, #route = :route, #domain = :domain, "
        "#ttl = :ttl ADD #mails :mails",
        values={
            "rule": count.rule,
            "action": count.action,
            "observe": count.observe,
            "route": count.route,
            "domain": count.domain,
            "ttl": expires,
            "mails": count.mails,
        },
    )


async def add_counts(store: Store, counts: Sequence[PolicyCount | DayCount]) -> None:
    """Add to the counts; those of days over a year ago expire."""
    expires = to_microseconds(store.clock.now()) // 1_000_000 + _KEPT_SECONDS
    places = asyncio.Semaphore(_AT_ONCE)

    async def add(count: PolicyCount | DayCount) -> None:
        async with places:
            await store.change(_change(count, expires=expires))

    async with asyncio.TaskGroup() as group:
        for count in counts:
            group.create_task(add(count))
