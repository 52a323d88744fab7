"""The audit in a fleet's table: who did what.

Owns its rows, which are only appended. A change of entries is no single transaction here, so it has two
rows: one before its first write, and one with its end. A row without an end says that nobody knows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from relay.aws.database import Condition, Put, Update
from relay.aws.values import Item
from relay.errors import SpoolCorruptError, SpoolSickError
from relay.spool.action import Action, Via, bound_action
from relay.spool.audit import KEPT, Audited, AuditFilter, Stage, bound_detail
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader, check_texts
from relay.spool.fleet.store import Store
from relay.spool.records import from_microseconds, to_microseconds

_PARTITION: Final = "AUDIT"
_NUMBER: Final = (tables.MEMORY, "audit#number")
_TOLD: Final = (tables.MEMORY, "audit#told")
_DIGITS = 17
#: Rows that the log is told of in one step.
_STEP = 100
#: Rows that an erasure looks through, and their attributes with words of a person.
_MOST_ROWS = 1_000_000
_WORDS = ("command", "about", "reason", "detail")


async def add(
    store: Store,
    action: Action,
    *,
    at: datetime,
    stage: Stage,
    counts: Mapping[str, int] | None = None,
    detail: str = "",
    begun: int | None = None,
) -> int:
    """Append a row. Returns its number.

    Raises:
        SpoolSickError: nobody knows whether it is there.
    """
    number = await _next_number(store)
    action = bound_action(action)
    item: dict[str, str | int] = {
        tables.PARTITION: _PARTITION,
        tables.SORT: f"{number:0{_DIGITS}}",
        "n": number,
        "at": to_microseconds(at),
        "actor": action.actor,
        "via": str(action.via),
        "command": action.command,
        "about": json.dumps(action.about, ensure_ascii=False),
        "stage": str(stage),
        "counts": json.dumps(dict(counts or {})),
        "reason": action.reason,
        "detail": bound_detail(detail),
        tables.EXPIRES: to_microseconds(at + KEPT + timedelta(days=1)) // 1_000_000,
    }
    if begun is not None:
        item["begun"] = begun
    # Written again, because its answer was lost, it is the same row.
    await store.change(Put(item=check_texts(item)))
    return number


async def _next_number(store: Store) -> int:
    """A number that no other row has; a lost answer leaves one out."""
    answer = await store.change(Update(key=_NUMBER, text="ADD #n :one", values={"one": 1}))
    number = (answer.item or {}).get("n")
    if not isinstance(number, int):
        raise SpoolSickError("fleet: the audit has no number for a row")
    return number


async def find_last(store: Store) -> int:
    """The number of the newest row; 0 if there is none."""
    async with store.asked() as (database, _):
        number = (await database.get(_NUMBER) or {}).get("n", 0)
    return number if isinstance(number, int) else 0


async def read(store: Store, wanted: AuditFilter) -> list[Audited]:
    """The newest rows that are wanted, the newest last."""
    rows: list[Audited] = []
    start = None
    while len(rows) < wanted.limit:
        async with store.asked() as (database, _):
            page = await database.query(
                Condition(text="#pk = :pk", values={"pk": _PARTITION}), start=start, backwards=True
            )
        rows += [row for item in page.items if (row := _read(item)) and _fits(row, wanted)]
        start = page.next
        if not start:
            break
    return rows[: wanted.limit][::-1]


def _fits(row: Audited, wanted: AuditFilter) -> bool:
    # What the actor says beside the kernel follows the name: "ann (login bob)".
    actor, command = row.action.actor, row.action.command
    return (
        (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at <= wanted.until)
        and (wanted.actor is None or actor == wanted.actor or actor.startswith(f"{wanted.actor} ("))
        and (wanted.command is None or command == wanted.command or command.startswith(f"{wanted.command} "))
    )


def _read(item: Item) -> Audited | None:
    """The row of an item. Returns None for one that cannot be read."""
    try:
        with Reader(item) as read:
            return Audited(
                number=read.number("n"),
                at=from_microseconds(read.number("at")),
                action=Action(
                    actor=read.text("actor"),
                    via=Via(read.text("via")),
                    command=read.text("command"),
                    about=tuple(str(each) for each in read.json_list("about")),
                    reason=read.text("reason"),
                ),
                stage=Stage(read.text("stage")),
                counts={name: int(number) for name, number in read.texts("counts").items()},
                detail=read.text("detail"),
                begun=read.maybe_number("begun"),
            )
    except SpoolCorruptError:
        return None


async def _items(store: Store) -> list[Item]:
    async with store.asked() as (database, _):
        return await database.query_all(
            Condition(text="#pk = :pk", values={"pk": _PARTITION}), limit=_MOST_ROWS
        )


async def find_naming(store: Store, names: re.Pattern[str]) -> list[Item]:
    """The items of the rows whose words have an address in them."""
    return [
        item for item in await _items(store) if any(names.search(str(item.get(word, ""))) for word in _WORDS)
    ]


async def rename(store: Store, names: re.Pattern[str], name: str) -> int:
    """Put a name in the place of an address: the one change of what was written, made where a person is
    erased, of which a row of its own tells. Returns the number of rows.
    """
    found = await find_naming(store, names)
    for item in found:
        words = {word: names.sub(name, str(item[word])) for word in _WORDS if word in item}
        await store.change(Put(item={**item, **words}))
    return len(found)


async def read_untold(store: Store) -> list[Audited]:
    """The oldest rows that do not stand in the log yet."""
    async with store.asked() as (database, _):
        told = await database.get(_TOLD)
        last = (told or {}).get("n", 0)
        after = f"{last if isinstance(last, int) else 0:0{_DIGITS}}"
        items = await database.query_all(
            Condition(text="#pk = :pk AND #sk > :after", values={"pk": _PARTITION, "after": after}),
            limit=_STEP,
        )
    return [row for item in items if (row := _read(item))]


async def note_told(store: Store, number: int) -> None:
    """Note that the rows up to this one stand in the log."""
    await store.change(Update(key=_TOLD, text="SET #n = :n", values={"n": number}))
