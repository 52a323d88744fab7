"""The pauses and holds of a fleet, which stand in the table, and the names of routes that have mail.

Owns the items of the partition `CTRL` but the leader's. Every node reads them; whoever changes one needs no
lead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.aws.database import Condition, Delete, Put, Update
from relay.aws.values import Item
from relay.errors import SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.items import Reader, check_texts
from relay.spool.fleet.store import Store, new_op
from relay.spool.model import Hold, Paused
from relay.spool.records import from_microseconds, to_microseconds

#: Pauses, holds and names of routes in all; a configuration has some hundreds of routes at most.
_MOST_ITEMS = 10_000
_PARTITION: Final = Condition(text="#pk = :pk", values={"pk": tables.CONTROL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One look at the partition."""

    paused: Paused
    #: The names of the routes of all mail.
    routes: frozenset[str]
    #: Epoch and version of the leader's record; None if there is none.
    leader: tuple[int, int] | None = None


def parse_subject(subject: str) -> tables.Key:
    """The item that "intake", "delivery" or "route NAME" means.

    Raises:
        SpoolError: it is none of these.
    """
    word, _, name = subject.strip().partition(" ")
    if word == "intake" and not name:
        return tables.CONTROL, tables.INTAKE
    if word == "delivery" and not name:
        return tables.CONTROL, tables.DELIVERY
    if word == "route" and name:
        return tables.pause_key(name.strip())
    raise SpoolError(f'"{subject}" cannot be paused; say "intake", "delivery" or "route NAME"')


def read_control(items: Iterable[Item]) -> Control:
    """The meaning of the items of the partition.

    Raises:
        SpoolCorruptError: an item cannot be read.
    """
    intake = delivery = False
    routes: list[str] = []
    holds: list[Hold] = []
    standby: list[str] = []
    names: frozenset[str] = frozenset()
    leader: tuple[int, int] | None = None
    for item in items:
        sort = item.get(tables.SORT)
        with Reader(item) as read:
            if sort == tables.INTAKE:
                intake = True
            elif sort == tables.DELIVERY:
                delivery = True
            elif sort == tables.ROUTES:
                names = found if isinstance(found := read.value("names"), frozenset) else frozenset()
            elif sort == tables.LEADER:
                leader = read.number("epoch"), read.number("rvn")
            elif read.has("held"):
                since, route = from_microseconds(read.number("since")), read.text("held")
                holds.append(
                    Hold(
                        route=route,
                        reason=read.maybe_text("reason") or "",
                        detail=read.maybe_text("detail") or "",
                        since=since,
                    )
                )
            elif read.has("standby"):
                standby.append(read.text("standby"))
            elif read.has("paused"):
                routes.append(read.text("paused"))
    return Control(
        paused=Paused(
            intake=intake,
            delivery=delivery,
            routes=tuple(sorted(routes)),
            holds=tuple(sorted(holds, key=lambda hold: hold.route)),
            standby=tuple(sorted(standby)),
        ),
        routes=names,
        leader=leader,
    )


async def look(store: Store) -> Control:
    """The pauses, holds and routes as they are now."""
    async with store.asked() as (database, _):
        items = await database.query_all(_PARTITION, limit=_MOST_ITEMS)
    return read_control(items)


async def pause(store: Store, subject: str, *, now: datetime) -> bool:
    """Add an operator's pause. Returns whether it is new."""
    key = parse_subject(subject)
    name = subject.strip().partition(" ")[2].strip()
    item: dict[str, str | int] = {"since": to_microseconds(now), **({"paused": name} if name else {})}
    return await _add(store, key, item)


async def _add(store: Store, key: tables.Key, item: dict[str, str | int]) -> bool:
    op = new_op()
    whole = check_texts({tables.PARTITION: key[0], tables.SORT: key[1], "op": op, **item})
    answer = await store.change(Put(item=whole, condition=Condition(text="attribute_not_exists(#pk)")), op=op)
    return answer.done


async def resume(store: Store, subject: str) -> bool:
    """Remove an operator's pause and, for a route, its hold. Returns whether there was one."""
    found = await _remove(store, parse_subject(subject))
    word, _, name = subject.strip().partition(" ")
    if word == "route":
        found = await resume_route(store, name.strip()) or found
    return found


async def _remove(store: Store, key: tables.Key) -> bool:
    condition = Condition(text="attribute_exists(#pk)")
    return (await store.change(Delete(key=key, condition=condition))).done


async def switch(store: Store, route: str, *, standby: bool, now: datetime) -> bool:
    """Lead a route to its standby, or back; its hold ends. Returns whether it led elsewhere before."""
    key = tables.standby_key(route)
    if standby:
        found = await _add(store, key, {"standby": route, "since": to_microseconds(now)})
    else:
        found = await _remove(store, key)
    if found:
        await resume_route(store, route)
    return found


async def hold_route(store: Store, route: str, *, reason: str, detail: str, now: datetime) -> bool:
    """Add a route's hold; an existing one keeps its beginning and gets the new reason. Returns whether it is
    new.
    """
    since = to_microseconds(now)
    key = tables.hold_key(route)
    if await _add(store, key, {"held": route, "reason": reason, "detail": detail, "since": since}):
        return True
    again = Update(
        key=key,
        text="SET #held = :held, #reason = :reason, #detail = :detail, #since = if_not_exists(#since, :since)",
        values={"held": route, "reason": reason, "detail": detail, "since": since},
    )
    await store.change(again)
    return False


async def resume_route(store: Store, route: str) -> bool:
    """Remove a route's hold. Returns whether there was one."""
    return await _remove(store, tables.hold_key(route))


async def name_routes(store: Store, routes: Iterable[str]) -> None:
    """Add the names of routes, before mail of theirs is accepted: the leader looks where they say."""
    names = frozenset(routes)
    key = (tables.CONTROL, tables.ROUTES)
    await store.change(Update(key=key, text="ADD #names :names", values={"names": names}))
