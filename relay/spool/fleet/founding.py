"""The making of a fleet's table: what lacks is made, and what is there is left as it is.

Owns the order of the steps and what a table must be (`tables.build_definition`). Each step can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from relay.aws.database import SECONDS, Condition, Database, Update
from relay.aws.provisioning import Provision
from relay.config.model import Config
from relay.errors import RemoteError, SpoolError
from relay.spool.fleet import tables
from relay.spool.fleet.store import failures_told
from relay.spool.founded import Step

#: Told of each step as soon as it is done.
Tell = Callable[[Step], None]


async def found(config: Config, *, tell: Tell) -> None:
    """Make what lacks of the table.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
        SpoolError: the table is none of a fleet, or a step failed; those before it are done.
    """
    from relay.aws.clients import open_fleet  # noqa: PLC0415 - 40 MB that only a fleet needs

    async with open_fleet(config) as (client, _):
        with failures_told():
            await _found(Provision(client, config.fleet.table), config.fleet.table, tell=tell)
            database = Database(client, config.fleet.table, keys=(tables.PARTITION, tables.SORT))
            if newer := await mark_format(database):
                raise SpoolError(f"the table {config.fleet.table} {newer}")


async def _found(provision: Provision, table: str, *, tell: Tell) -> None:
    definition = tables.build_definition(table)
    described = await provision.describe()
    subject, is_new = f"table {table}", described is None
    if described is None:
        await provision.create(definition)
        tell(Step(subject=subject, is_new=True, detail="on demand, protected from deletion"))
        described = await provision.describe() or {}
    else:
        if wrong := list(compare_table(definition, described)):
            raise SpoolError(
                f"the table {table} is none of a fleet: {'; '.join(wrong)}; name another in fleet.table"
            )
        await provision.wait()
        tell(Step(subject=subject, is_new=False, detail="its keys are those of a fleet"))
    await _add_indexes(provision, definition, {} if is_new else described, tell=tell)
    protected = described.get("DeletionProtectionEnabled") is True
    if not protected:
        await provision.protect()
    tell(Step(subject="deletion protection", is_new=is_new or not protected, detail="on"))
    await _set_expiry(provision, tell=tell)
    recoverable = await provision.is_recoverable()
    if not recoverable:
        await provision.make_recoverable()
    tell(Step(subject="point-in-time recovery", is_new=not recoverable, detail="on"))


async def _add_indexes(
    provision: Provision, definition: Mapping[str, Any], described: Mapping[str, Any], *, tell: Tell
) -> None:
    """Make the indexes that lack; with a table that was made now, where `described` is empty, they came."""
    there = {each.get("IndexName"): each for each in described.get("GlobalSecondaryIndexes") or ()}
    kinds = {each["AttributeName"]: each for each in definition["AttributeDefinitions"]}
    for index in definition["GlobalSecondaryIndexes"]:
        name = index["IndexName"]
        if name in there and (wrong := list(compare_index(index, there[name]))):
            raise SpoolError(
                f"the index {name} cannot be used: {'; '.join(wrong)}; remove it, and have it made again by this command"
            )
        if name not in there and described:
            await provision.add_index(index, [kinds[each["AttributeName"]] for each in index["KeySchema"]])
        tell(Step(subject=f"index {name}", is_new=name not in there, detail=_tell_keys(index)))


async def _set_expiry(provision: Provision, *, tell: Tell) -> None:
    attribute = await provision.find_expiry()
    if attribute not in {"", tables.EXPIRES}:
        raise SpoolError(
            f'items expire by the attribute "{attribute}", and a fleet\'s by "{tables.EXPIRES}"; turn that off first'
        )
    if not attribute:
        await provision.set_expiry(tables.EXPIRES)
    tell(Step(subject="expiry", is_new=not attribute, detail=f'by the attribute "{tables.EXPIRES}"'))


def _tell_keys(description: Mapping[str, Any]) -> str:
    return ", ".join(str(each["AttributeName"]) for each in description.get("KeySchema") or ())


def compare_table(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """The parts of a sentence about what keeps a table, as AWS describes it, from being one of a fleet."""
    yield from _compare_keys(wanted, found)
    known = {each.get("AttributeName"): each for each in found.get("AttributeDefinitions") or ()}
    keys = {each["AttributeName"] for each in wanted["KeySchema"]}
    for each in wanted["AttributeDefinitions"]:
        name = each["AttributeName"]
        if name in keys and name in known and known[name].get("AttributeType") != each["AttributeType"]:
            yield f"its key {name} is no text"


def compare_index(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """The same about an index of it."""
    yield from _compare_keys(wanted, found)
    projection = found.get("Projection") or {}
    if projection.get("ProjectionType") == "ALL":
        return
    lacking = set(wanted["Projection"].get("NonKeyAttributes", ())) - set(
        projection.get("NonKeyAttributes") or ()
    )
    if lacking:
        yield f"it lacks the attributes {', '.join(sorted(lacking))}"


def _compare_keys(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    if _tell_keys(wanted) != _tell_keys(found):
        yield f"its keys are {_tell_keys(found) or 'unknown'}, and should be {_tell_keys(wanted)}"


async def announce(config: Config, *, seconds: float) -> str:
    """Note in the table that items of our version are in it from now on. Returns why this relay must not use
    it, as a part of a sentence; "" if it may, or if AWS does not say.
    """
    from relay.aws.clients import open_fleet  # noqa: PLC0415 - 40 MB that only a fleet needs

    async with open_fleet(config) as (client, _):
        database = Database(client, config.fleet.table, keys=(tables.PARTITION, tables.SORT))
        try:
            return await mark_format(database, seconds=seconds)
        except RemoteError:
            return ""  # the spool tells of it, and waits for AWS


async def mark_format(database: Database, *, seconds: float = SECONDS) -> str:
    """The same by a table that is open.

    Raises:
        RemoteError: nobody knows whether it is noted.
    """
    mark = Update(
        key=(tables.CONTROL, tables.FORMAT),
        text="SET #format = :ours",
        values={"ours": tables.VERSION},
        condition=Condition(text="attribute_not_exists(#format) OR #format < :ours"),
    )
    answer = await database.change(mark, seconds=seconds)
    newest = (answer.item or {}).get("format", 0)
    return tell_newer(newest) if isinstance(newest, int) and newest > tables.VERSION else ""


async def read_format(database: Database, *, seconds: float = SECONDS) -> int:
    """The newest version of items that the table has had. Returns 0 if nobody has noted one."""
    item = await database.get((tables.CONTROL, tables.FORMAT), seconds=seconds)
    found = (item or {}).get("format", 0)
    return found if isinstance(found, int) else 0


def tell_newer(newest: int) -> str:
    """The part of a sentence about a table in which a newer relay writes."""
    return f"is of version {newest}, and this relay knows {tables.VERSION}: a newer relay writes in it; update this one"
