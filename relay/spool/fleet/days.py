"""The counts of days in a fleet's table: how many mails met each rule of the policy, and what happened.

Owns their items, one for each day, name and label. They are added to without a condition, so a lost answer
may count something twice: they are for people, and nothing is decided by them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from relay.aws.database import Condition, Delete, Update
from relay.aws.values import Item
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader
from relay.spool.fleet.store import Store
from relay.spool.model import DayCount, PolicyCount
from relay.spool.records import to_microseconds

_DAY_KEY: Final = "D#"
#: Seconds for which a day's counts are kept: a year and a day.
_KEPT_SECONDS = 366 * 86_400
#: The domain of senders that are not counted by name.
_OTHER = "other"
#: Items that are written at the same time.
_AT_ONCE = 10
#: Items of one day that are read: a thousand labels of each name, and a thousand domains of each rule.
_MOST_ITEMS = 100_000


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


def _days_between(since: str, until: str, *, today: date) -> list[str]:
    """The days from one to another, both included: no later than tomorrow, and a year of them at most."""
    last = date.fromisoformat(min(until, (today + timedelta(days=1)).isoformat()))
    first = max(date.fromisoformat(since), last - timedelta(days=366))
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


async def _read(store: Store, *, since: str, until: str) -> list[Item]:
    """The items of the counts of these days."""
    items: list[Item] = []
    async with store.asked() as (database, _):
        for day in _days_between(since, until, today=store.clock.now().date()):
            wanted = Condition(text="#pk = :pk", values={"pk": f"{_DAY_KEY}{day}"})
            items += await database.query_all(wanted, limit=_MOST_ITEMS)
    return items


async def forget_domain(store: Store, domain: str) -> int:
    """Count all that was counted for a domain of senders as that of others. Returns the number of items."""
    found = [
        item
        for item in await _read(store, since="0001-01-01", until="9999-12-31")
        if domain in (item.get("domain"), item.get("label") if item.get("name") == "received" else None)
    ]
    moved: list[PolicyCount | DayCount] = []
    for item in found:
        day = str(item[tables.PARTITION]).removeprefix(_DAY_KEY)
        with Reader(item) as read:
            if "number" in item:
                moved.append(DayCount(day, "received", _OTHER, read.number("number"), read.number("most")))
            else:
                moved.append(
                    PolicyCount(
                        day,
                        read.text("rule"),
                        read.text("action"),
                        bool(item.get("observe")),
                        read.text("route"),
                        _OTHER,
                        read.number("mails"),
                    )
                )
        await store.change(Delete(key=(str(item[tables.PARTITION]), str(item[tables.SORT]))))
    await add_counts(store, moved)
    return len(found)


async def read_days(store: Store, *, since: str, until: str) -> list[DayCount]:
    """The counts of what happened on these days, added up over them; by name, the largest first."""
    numbers: Counter[tuple[str, str]] = Counter()
    most: dict[tuple[str, str], int] = {}
    for item in await _read(store, since=since, until=until):
        if "number" not in item:
            continue
        with Reader(item) as read:
            key = (read.text("name"), read.text("label"))
            numbers[key] += read.number("number")
            most[key] = max(most.get(key, 0), read.number("most"))
    ordered = sorted(numbers.items(), key=lambda each: (each[0][0], -each[1], each[0][1]))
    return [DayCount("", *key, number, most[key]) for key, number in ordered]


async def read_policy(store: Store, *, since: str, until: str) -> list[PolicyCount]:
    """The counts of mails that met a rule on these days, added up over them, the largest first."""
    numbers: Counter[tuple[str, str, bool, str, str]] = Counter()
    for item in await _read(store, since=since, until=until):
        if "mails" not in item:
            continue
        with Reader(item) as read:
            way = (read.text("rule"), read.text("action"), read.flag("observe"), read.text("route"))
            numbers[*way, read.text("domain")] += read.number("mails")
    ordered = sorted(numbers.items(), key=lambda each: (-each[1], each[0][0], each[0][3], each[0][4]))
    return [PolicyCount("", *key, mails) for key, mails in ordered]
